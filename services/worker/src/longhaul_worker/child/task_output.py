"""What a task prints and logs, in its job's log and in the pod's output.

`print`, `logging` and structlog of a running task go to the job's log, from `LONGHAUL_TASK_LOG_LEVEL` on, and to the pod's
output with the job's id, once each, also where a task configures logging in its own way. A line belongs to the attempt that
runs if the main thread wrote it, and otherwise to the attempt that started its thread: a thread that outlived its attempt
writes to the pod's output only.
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
from longhaul.errors import AttemptOver, SoftTimeout
from longhaul.values import clean_text, log_fields
from longhaul_worker.session.child import AttemptChannel, ChildSession

_MAX_LINE_CHARACTERS: Final = 8192
"""A line that is longer is logged before it ends."""
_MAX_LOGS_AT_ONCE: Final = 4
"""A text that logs itself would never end."""
_ORIGIN: Final = "_longhaul_attempt"
_OURS: Final = ("event", "level", "timestamp", "service", "job_id", "epoch", "queue", "trace_id")
"""What a log event has from the platform."""


class TaskOutput:
    """Captures the output of one pool child. Made once, before its first job."""

    def __init__(self, session: ChildSession, *, level: str) -> None:
        self._session = session
        self._level: int = logging.getLevelNamesMapping()[level.upper()]
        self._thread = _Thread()
        # The platform's own, since tasks may configure structlog.
        configured = structlog.get_config()
        self._log = structlog.wrap_logger(
            configured["logger_factory"](),
            processors=list(configured["processors"]),
            wrapper_class=configured["wrapper_class"],
        )

    def install(self) -> None:
        """From now on."""
        _remember_starters(self.current)
        _capture_records(self.capture_record)
        sys.stdout, sys.stderr = _Lines(self, "stdout", sys.stdout), _Lines(self, "stderr", sys.stderr)
        root = logging.getLogger()
        for handler in root.handlers:  # what is no task's stays as it is: from warnings on
            handler.addFilter(lambda record: record.levelno >= logging.WARNING or self.current() is not None)
            handler.handleError = _ignore  # type: ignore[method-assign, assignment]  # it would print into the pod's output
        root.setLevel(min(root.level, self._level))
        telemetry.add_processors(every=self._name_job, own=self._capture_event, last=self._note_rendered)
        # A task that gives structlog processors of its own, and no place for what they make, prints it.
        structlog.configure(logger_factory=telemetry.LineLoggerFactory(sys.stderr))

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
        if level < self._level or self._thread.logs_at_once >= _MAX_LOGS_AT_ONCE:
            return
        self._thread.logs_at_once += 1
        try:
            name = clean_text(logging.getLevelName(level).lower(), max_bytes=16)
            write = channel.log_last if channel.is_over else channel.log
            with suppress(AttemptOver):  # a thread's attempt ended between the look and the line
                write(name, clean_text(message), log_fields(fields))
        finally:
            self._thread.logs_at_once -= 1

    def capture_record(self, record: logging.LogRecord, handle: Callable[[], None]) -> None:
        """Log what `logging` lets through, whatever its handlers then do with it."""
        if (channel := self.current()) is None:
            handle()
            return
        fields: dict[str, Any] = {"logger": record.name}
        try:
            message = record.getMessage()
            if record.exc_info:
                fields["traceback"] = logging.Formatter().formatException(record.exc_info)
        except SoftTimeout:
            raise
        except Exception:  # noqa: BLE001 - arguments that do not fit the format, or whose __str__ raises
            message = clean_text(record.msg)
        self.log(channel, record.levelno, message, fields)
        was_handling, self._thread.is_handling = self._thread.is_handling, True
        try:
            with channel.uninterrupted():  # `logging` swallows what its handlers raise
                handle()
        finally:
            self._thread.is_handling = was_handling

    def is_logged(self, text: str) -> bool:
        """Whether this thread prints what is in the job's log already."""
        return self._thread.is_handling or text == self._thread.rendered

    def log_line(self, channel: AttemptChannel, stream: str, line: str) -> None:
        """A printed line, also for the pod's output."""
        line = line.rpartition("\r")[2]  # a progress bar draws over itself
        if line.strip():
            self.log(channel, logging.INFO, line, {"stream": stream})
            self._log.info("task_output", text=line, stream=stream, **_ids(channel))

    def _name_job(self, _logger: Any, _method: str, event: Any) -> Any:
        if (channel := self.current()) is not None:
            event.update(_ids(channel))
        return event

    def _capture_event(self, _logger: Any, method: str, event: Any) -> Any:
        channel = self.current()
        if channel is not None:
            level = logging.getLevelNamesMapping().get(method.upper(), logging.INFO)
            fields = {name: value for name, value in event.items() if name not in _OURS}
            self.log(channel, level, clean_text(event.get("event", "")), fields)
        return event

    def _note_rendered(self, _logger: Any, _method: str, line: Any) -> Any:
        self._thread.rendered = f"{line}\n"
        return line


class _Thread(threading.local):
    """What a thread is doing."""

    logs_at_once = 0
    """Lines that it writes to the job's log: a text that is logged may log itself, and a signal handler may print."""
    is_handling = False
    """It is inside a handler of `logging`."""
    rendered: str | None = None
    """The last line that structlog made from what is in the job's log."""


def _ignore(_record: logging.LogRecord) -> None:
    """Arguments that do not fit their message: `capture_record` has logged it for the job."""


def _ids(channel: AttemptChannel) -> dict[str, Any]:
    return {"job_id": str(channel.job_id), "epoch": channel.epoch, "queue": channel.queue}


class _Lines(io.TextIOBase):
    """A standard stream that logs each line of a task once it ends, and passes on what is no task's."""

    def __init__(self, output: TaskOutput, name: str, stream: Any) -> None:
        self._output = output
        self._name = name
        self._stream = stream
        self._rest = threading.local()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def encoding(self) -> str:  # type: ignore[override]  # the base class has None
        return str(self._stream.encoding)

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        errors: str | None = self._stream.errors
        return errors

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing: the process goes on, with other tasks."""

    def fileno(self) -> int:
        number: int = self._stream.fileno()
        return number

    def flush(self) -> None:
        with suppress(OSError, ValueError, RuntimeError):
            self._stream.flush()

    def write(self, text: str, /) -> int:
        channel = self._output.current()
        if channel is None or self._output.is_logged(text):
            # Nobody reads it, a task closed it, or a signal handler found it in use.
            with suppress(OSError, ValueError, RuntimeError):
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


def _capture_records(capture: Callable[[logging.LogRecord, Callable[[], None]], None]) -> None:
    call_handlers = logging.Logger.callHandlers

    def capture_and_call(logger: logging.Logger, record: logging.LogRecord) -> None:
        capture(record, lambda: call_handlers(logger, record))

    # Not a handler of the root's: loggers need not propagate, and a configuration replaces the root's handlers.
    logging.Logger.callHandlers = capture_and_call  # type: ignore[method-assign, assignment]
