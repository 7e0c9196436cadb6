"""The census: which processes that tasks started are alive, as /proc tells it, once a second."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

from tests.faults.mixed.history import Started

MARK_VARIABLE = "FAULTS_MARK"
WORKER_VARIABLE = "LONGHAUL_WORKER_NAME"
PAUSE_SECONDS = 1.0
_MARK = re.compile(r"lh[0-9a-f]{12}")


class Census:
    """Counts from a thread of its own, between `start` and `end`.

    A program carries its mark in its environment, a fork in its name. Both inherit the environment of their worker, which
    tells whose they are.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[int, str], Started] = {}
        """By pid and start time: pids are used again."""
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="census")

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Count for the last time, and end whatever is still alive."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        _kill(self.count())

    @property
    def started(self) -> list[Started]:
        with self._lock:
            return list(self._seen.values())

    def bury(self, worker: str) -> None:
        """End what the tasks of a worker started: with its first process a container ends, and all that is in it."""
        _kill([one for one in self.count() if one.worker == worker])

    def count(self) -> list[Started]:
        """Those that are alive."""
        with self._lock:
            pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208 - the names alone
            return [one for pid in pids if (one := self._look(pid)) is not None]

    def _run(self) -> None:
        while not self._over.wait(PAUSE_SECONDS):
            self.count()

    def _look(self, pid: int) -> Started | None:
        folder, now = Path(f"/proc/{pid}"), time.monotonic()
        try:
            name, _, rest = (folder / "stat").read_text("utf-8", "replace").partition(" (")[2].rpartition(") ")
            state, began_at = rest.split()[0], rest.split()[19]
            if state in "ZX":
                return None  # it has ended, and waits for its parent to ask how
            if one := self._seen.get((pid, began_at)):
                one.last_seen_at = now
                return one
            environment = _environment(folder)
            mark = name if _MARK.fullmatch(name) else environment.get(MARK_VARIABLE, "")
            if not mark:
                return None
            command = (folder / "cmdline").read_text("utf-8", "replace").replace("\0", " ").strip()
        except (OSError, ValueError, IndexError):
            return None  # it is gone, or somebody else's
        one = Started(mark, pid, environment.get(WORKER_VARIABLE, ""), command, now, now)
        self._seen[pid, began_at] = one
        return one


def _environment(folder: Path) -> dict[str, str]:
    entries = (folder / "environ").read_text("utf-8", "replace").split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def _kill(alive: list[Started]) -> None:
    for one in alive:
        with suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGKILL)
