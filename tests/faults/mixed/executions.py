"""What tasks really did, recorded outside of any database: a line for each begin, beat and end of an execution.

A line is one `write` of JSON to a file of the process' own that only ever grows, so that no kill can undo it. One that comes
while the kernel goes from one page to the next can tear it: then the line is as good as not written.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from tests.faults.mixed.history import Execution, Ghost

FOLDER_VARIABLE = "FAULTS_EXECUTIONS"
BEAT_SECONDS = 0.2
"""How exactly the end of an execution is known whose process was killed."""


class Running:
    """An execution that goes on. Only the process that began it records it: a fork of it is another one."""

    def __init__(self, key: str, job_id: str, epoch: int) -> None:
        self.lines = 0
        """Log lines that were written."""
        self.progress_step = 0
        """The last step that was reported."""
        self.has_ended = False
        self._names = {"key": key, "job_id": job_id, "epoch": epoch}
        self._pid = os.getpid()
        self._file = _open(os.environ[FOLDER_VARIABLE], self._pid)

    def write(self, what: str, **facts: Any) -> None:
        if os.getpid() == self._pid:
            record = {"what": what, **self._names, **facts, "at": time.monotonic()}
            _append(self._file, record)

    def sleep(self, seconds: float) -> None:
        """Work, as far as the platform can tell."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, BEAT_SECONDS))
            if left > BEAT_SECONDS:
                self.write("beat")

    def end(self, what: str) -> None:
        self.write(what, lines=self.lines, progress_step=self.progress_step)
        self.has_ended = True


@contextmanager
def executing(key: str, job_id: str, epoch: int, *, found: Any = None) -> Iterator[Running]:
    """Record an execution: its begin with the checkpoint that it `found`, beats while it sleeps, and its end, as `end` or,
    if it raises, as `left`."""
    execution = Running(key, job_id, epoch)
    execution.write("begin", found=found)
    try:
        yield execution
    except BaseException:
        execution.end("left")
        raise
    execution.end("end")


def record_ghost(job_id: str, epoch: int, call: str, answer: str | None) -> None:
    """Record a report that something tried after its attempt's end; `answer` is the error that it met. Any process may."""
    record = {"what": "ghost", "job_id": job_id, "epoch": epoch, "call": call, "answer": answer, "at": time.monotonic()}
    _append(_open(os.environ[FOLDER_VARIABLE], os.getpid()), record)


def _append(file: int, record: dict[str, Any]) -> None:
    # On a line of its own, also after one that was torn: a pid is used again.
    os.write(file, b"\n" + json.dumps(record).encode() + b"\n")


@cache
def _open(folder: str, pid: int) -> int:
    """Of this process: a forked child, which inherits the cache, opens a file of its own."""
    return os.open(Path(folder) / f"{pid}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def read(folder: Path) -> tuple[list[Execution], list[Ghost]]:
    """All executions in the order in which they began, and what ghosts tried. Times are CLOCK_MONOTONIC, which all
    processes share."""
    executions: list[Execution] = []
    ghosts: list[Ghost] = []
    for file in folder.iterdir():
        # A pid is used again after some tens of thousands: each `begin` is an execution of its own.
        running: dict[str, Execution] = {}
        for record in _records(file):
            what, job_id, epoch, at = record["what"], record["job_id"], record["epoch"], record["at"]
            if what == "ghost":
                ghosts.append(Ghost(job_id, epoch, at, record["call"], record["answer"]))
            elif what == "begin":
                one = Execution(record["key"], job_id, epoch, int(file.name), at, at, "killed", found=record["found"])
                running[job_id] = one
                executions.append(one)
            elif job_id in running:
                _continue(running, record)
    return sorted(executions, key=lambda one: one.began_at), ghosts


def _records(file: Path) -> Iterator[dict[str, Any]]:
    for line in file.read_text("ascii").splitlines():
        with suppress(json.JSONDecodeError):  # empty, or torn
            yield json.loads(line)


def _continue(running: dict[str, Execution], record: dict[str, Any]) -> None:
    execution = running[record["job_id"]]
    execution.seen_at = record["at"]
    if record["what"] == "saves":
        execution.sent_step = record["step"]
    elif record["what"] != "beat":
        execution.ending = {"end": "completed", "left": "left"}[record["what"]]
        execution.lines, execution.progress_step = record["lines"], record["progress_step"]
        del running[execution.job_id]
