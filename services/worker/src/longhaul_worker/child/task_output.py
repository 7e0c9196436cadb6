"""What a task prints and logs, in its job's log and in the pod's output.

`print`, `logging` and structlog of a running task go to the job's log, from `LONGHAUL_TASK_LOG_LEVEL` on, and to the pod's
output with the job's id. A line belongs to the attempt that runs if the main thread wrote it, and otherwise to the attempt
that started its thread: a thread that outlived its attempt writes to the pod's output only.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import structlog

from longhaul import telemetry
from longhaul.errors import AttemptOver
from longhaul.values import clean_text, log_fields
from longhaul_worker.session.child import AttemptChannel, ChildSession

_MAX_LINE_CHARACTERS: Final = 8192
"""A line that is longer is logged before it ends."""
_ORIGIN: Final = "_longhaul_attempt"
_OURS: Final = ("event", "level", "timestamp", "service", "job_id", "epoch", "queue", "trace_id")
"""What a log event has from the platform."""


class TaskOutput:
    """Captures the output of one pool child. Made once, before its first job."""

    def __init__(self, session: ChildSession, *, level: str) -> None:
        self._session = session
        self._level: int = logging.getLevelNamesMapping()[level.upper()]
        self._inside = threading.local()
        self._log = structlog.get_logger("longhaul.task")

    def install(self) -> None:
        """From now on."""
        _remember_starters(self.current)
        sys.stdout, sys.stderr = _Lines(self, "stdout", sys.stdout), _Lines(self, "stderr", sys.stderr)
        root = logging.getLogger()
        for handler in root.handlers:  # what is no task's stays as it is: from warnings on
            handler.addFilter(lambda record: record.levelno >= logging.WARNING or self.current() is not None)
            handler.handleError = _ignore  # type: ignore[method-assign, assignment]  # it would print into the job's log
        root.addHandler(_Handler(self))
        root.setLevel(min(root.level, self._level))
        telemetry.add_processors(every=self._name_job, own=self._capture_event)

    def current(self) -> AttemptChannel | None:
        """The attempt whose code runs in this thread."""
        if os.getpid() != self._session.pid:
            return None
        thread = threading.current_thread()
        if thread is threading.main_thread():
            channel = self._session.channel
            return channel if channel is not None and channel.in_task and not channel.is_over else None
        origin: AttemptChannel | None = getattr(thread, _ORIGIN, None)
        return origin if origin is not None and not origin.is_over else None

    def end_attempt(self, channel: AttemptChannel) -> None:
        """Log what the main thread printed without an end of line."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, _Lines):
                stream.end(channel)

    def log(self, channel: AttemptChannel, level: int, message: str, fields: dict[str, Any]) -> None:
        """A line for the job's log. Raises nothing: output must not change what a task does."""
        if level < self._level or getattr(self._inside, "now", False):
            return
        self._inside.now = True  # a line about a line would never end
        try:
            name = clean_text(logging.getLevelName(level).lower(), max_bytes=16)
            write = channel.log_last if channel.is_over else channel.log
            with suppress(AttemptOver):  # a thread's attempt ended between the look and the line
                write(name, clean_text(message), log_fields(fields))
        finally:
            self._inside.now = False

    def log_line(self, channel: AttemptChannel, stream: str, line: str) -> None:
        """A printed line, also for the pod's output."""
        line = line.rpartition("\r")[2]  # a progress bar draws over itself
        if line.strip():
            self.log(channel, logging.INFO, line, {"stream": stream})
            with suppress(OSError, ValueError):  # the task closed the pod's output
                self._log.info("task_output", text=line, stream=stream, **_ids(channel))

    def _name_job(self, _logger: Any, _method: str, event: Any) -> Any:
        if (channel := self.current()) is not None:
            event.update(_ids(channel))
        return event

    def _capture_event(self, _logger: Any, method: str, event: Any) -> Any:
        channel = self.current()
        if channel is not None and event.get("event") != "task_output":
            level = logging.getLevelNamesMapping().get(method.upper(), logging.INFO)
            fields = {name: value for name, value in event.items() if name not in _OURS}
            self.log(channel, level, clean_text(event.get("event", "")), fields)
        return event


def _ignore(_record: logging.LogRecord) -> None:
    """The pod's output is closed."""


def _ids(channel: AttemptChannel) -> dict[str, Any]:
    return {"job_id": str(channel.job_id), "epoch": channel.epoch, "queue": channel.queue}


class _Handler(logging.Handler):
    """`logging`'s way into the job's log."""

    def __init__(self, output: TaskOutput) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        if (channel := self._output.current()) is None:
            return
        fields: dict[str, Any] = {"logger": record.name}
        try:
            message = record.getMessage()
            if record.exc_info:
                fields["traceback"] = logging.Formatter().formatException(record.exc_info)
        except Exception:  # noqa: BLE001 - arguments that do not fit the format, or whose __str__ raises
            message = clean_text(record.msg)
        self._output.log(channel, record.levelno, message, fields)


class _Lines(io.TextIOBase):
    """A standard stream that logs each line of a task once it ends, and passes on what is no task's."""

    def __init__(self, output: TaskOutput, name: str, stream: Any) -> None:
        self._output = output
        self._name = name
        self._stream = stream
        self._rest = threading.local()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        number: int = self._stream.fileno()
        return number

    def flush(self) -> None:
        self._stream.flush()

    def write(self, text: str, /) -> int:
        channel = self._output.current()
        if channel is None:
            self._stream.write(text)
            return len(text)
        *lines, rest = (self._take_rest(channel) + text).split("\n")
        if len(rest) > _MAX_LINE_CHARACTERS:
            lines.append(rest)
            rest = ""
        self._rest.of_attempt = (channel, rest)
        for line in lines:
            self._output.log_line(channel, self._name, line)
        return len(text)

    def end(self, channel: AttemptChannel) -> None:
        """Log what this thread wrote without an end of line."""
        self._output.log_line(channel, self._name, self._take_rest(channel))

    def _take_rest(self, channel: AttemptChannel) -> str:
        owner, rest = getattr(self._rest, "of_attempt", (None, ""))
        self._rest.of_attempt = (None, "")
        return rest if owner is channel else ""


def _remember_starters(current: Callable[[], AttemptChannel | None]) -> None:
    start = threading.Thread.start

    def remember_and_start(thread: threading.Thread) -> None:
        setattr(thread, _ORIGIN, current())
        start(thread)

    threading.Thread.start = remember_and_start  # type: ignore[method-assign, assignment]  # where alone its starter is known
