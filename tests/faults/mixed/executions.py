"""What tasks really did, recorded outside of any database: one line for each begin, beat and end of an execution.

A line is one `write` to a file of the process' own that only ever grows, so that no kill can tear or undo it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Protocol

from tests.faults.mixed.history import Execution

FOLDER_VARIABLE = "FAULTS_EXECUTIONS"
BEAT_SECONDS = 0.2
"""How exactly the end of an execution is known whose process was killed."""


class Running(Protocol):
    """An execution that goes on."""

    def sleep(self, seconds: float) -> None: ...


@contextmanager
def executing(key: str, job_id: str, epoch: int) -> Iterator[Running]:
    """Record an execution: its begin, beats while it sleeps, and its end, as `end` or, where it raises, as `left`."""
    execution = _Recorded(f"{key} {job_id} {epoch} {os.getpid()}")
    execution.write("begin")
    try:
        yield execution
    except BaseException:
        execution.write("left")
        raise
    execution.write("end")


class _Recorded:
    def __init__(self, names: str) -> None:
        self._names = names
        self._file = _open(os.environ[FOLDER_VARIABLE], os.getpid())

    def write(self, what: str) -> None:
        os.write(self._file, f"{what} {self._names} {time.monotonic():.6f}\n".encode())

    def sleep(self, seconds: float) -> None:
        """Work, as far as the platform can tell."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, BEAT_SECONDS))
            if left > BEAT_SECONDS:
                self.write("beat")


@cache
def _open(folder: str, pid: int) -> int:
    """Of this process: a forked child, which inherits the cache, opens a file of its own."""
    return os.open(Path(folder) / f"{pid}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def read(folder: Path) -> list[Execution]:
    """All executions, in the order in which they began. Times are CLOCK_MONOTONIC, which all processes share."""
    executions = []
    for file in folder.iterdir():
        # A pid is used again after some tens of thousands: each `begin` is an execution of its own.
        running: dict[str, Execution] = {}
        for line in file.read_text("ascii").splitlines():
            what, key, job_id, epoch, pid, at = line.split()
            if what == "begin":
                one = running[key] = Execution(key, job_id, int(epoch), int(pid), float(at), float(at), "killed")
                executions.append(one)
            elif key in running:
                running[key].seen_at = float(at)
                if what != "beat":
                    running.pop(key).ending = {"end": "completed", "left": "left"}[what]
    return sorted(executions, key=lambda one: one.began_at)
