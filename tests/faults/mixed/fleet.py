"""Processes that are kept running, as Kubernetes would: what ends is started again under the same name."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from tests.faults.mixed.history import Exit
from tests.pods import Process
from tests.waiting import wait_dead

WATCH_SECONDS = 0.1
RESTART_SECONDS = 1.0
"""Between an end and the next start."""
END_SECONDS = 10.0
Starter = Callable[[str, Path], Process]
"""Gets a name and a log; returns the process, started. It waits for nothing."""


class Seat:
    """A place in the fleet, whose process changes. `lock` is held by the fault that works on it."""

    def __init__(self, name: str, start: Starter, is_ready: Callable[[Process], bool], folder: Path) -> None:
        self.name = name
        self.generation = 0
        self.lock = threading.Lock()
        self.was_told = False
        """Whether a fault has ended the process that runs, or is about to."""
        self._start = start
        self._is_ready = is_ready
        self._folder = folder
        self.process = self._next()

    @property
    def process_name(self) -> str:
        """Of the process that sits here now, such as `worker-1.4`."""
        return f"{self.name}.{self.generation}"

    @property
    def is_ready(self) -> bool:
        return psutil.pid_exists(self.process.pid) and self._is_ready(self.process)

    def replace(self) -> Process:
        """Start the next process here; returns the one before, which goes its own way."""
        before = self.process
        self.process = self._next()
        return before

    def _next(self) -> Process:
        self.generation += 1
        self.was_told = False
        return self._start(self.process_name, self._folder / f"{self.process_name}.log")


class Fleet:
    """All seats, and the thread that fills them again."""

    def __init__(self, folder: Path, *, on_exit: Callable[[str], None]) -> None:
        """`on_exit` gets the name of each process that has ended, such as `worker-1.4`."""
        self.seats: dict[str, Seat] = {}
        self.exits: list[Exit] = []
        self._on_exit = on_exit
        self._folder = folder
        self._seen: set[psutil.Process] = set()
        self._leaving: list[tuple[str, Process]] = []
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="fleet")
        self._lock = threading.RLock()

    def add(self, name: str, start: Starter, is_ready: Callable[[Process], bool]) -> None:
        self.seats[name] = Seat(name, start, is_ready, self._folder)

    def watch(self) -> None:
        """From here on, what ends is started again."""
        self._watcher.start()

    def of(self, kind: str) -> list[Seat]:
        """The seats `kind-0`, `kind-1`, ..."""
        return [seat for name, seat in self.seats.items() if name.rpartition("-")[0] == kind]

    def signal(self, seat: Seat, number: signal.Signals, *, below: bool = True) -> list[int]:
        """Send a signal to a seat's process and, with `below`, to all of its descendants; their pids."""
        family = self.family(seat)
        for process in family if below else family[:1]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        return [process.pid for process in family]

    def family(self, seat: Seat) -> list[psutil.Process]:
        """A seat's process and all below it, the parent first; empty where it has ended."""
        try:
            main = psutil.Process(seat.process.pid)
            family = [main, *main.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []
        self._seen.update(family)
        return family

    def kill(self, seat: Seat, *, below: bool = True) -> list[int]:
        """SIGKILL, which the seat is told of."""
        seat.was_told = True
        return self.signal(seat, signal.SIGKILL, below=below)

    def drain(self, seat: Seat) -> tuple[str, Process]:
        """SIGTERM, and a replacement at once; the process that leaves, with its name."""
        self.family(seat)  # so that `end` finds whatever it leaves behind
        leaving = seat.process_name, seat.process
        with self._lock:
            seat.process.send(signal.SIGTERM)
            seat.replace()
            self._leaving.append(leaving)
        return leaving

    def end(self) -> None:
        """Leave nothing running, whatever state it is in."""
        self._ended.set()
        if self._watcher.is_alive():
            self._watcher.join()
        for seat in self.seats.values():
            self.family(seat)
            seat.process.end()
        for _, process in self._leaving:
            process.end()
        for one in self._seen:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        wait_dead(self._seen, timeout_seconds=END_SECONDS)

    def _watch(self) -> None:
        due: dict[str, float] = {}
        while not self._ended.wait(WATCH_SECONDS):
            with self._lock:
                for seat in self.seats.values():
                    if seat.name in due:
                        if time.monotonic() >= due[seat.name]:
                            del due[seat.name]
                            seat.replace()
                    elif (code := _exit_code(seat.process)) is not None:
                        self.exits.append(Exit(seat.process_name, time.monotonic(), code, seat.was_told))
                        self._on_exit(seat.process_name)
                        due[seat.name] = time.monotonic() + RESTART_SECONDS
                for leaving in list(self._leaving):
                    if (code := _exit_code(leaving[1])) is not None:
                        self.exits.append(Exit(leaving[0], time.monotonic(), code, was_told=True))
                        self._on_exit(leaving[0])
                        self._leaving.remove(leaving)


def _exit_code(process: Process) -> int | None:
    """None while it runs."""
    try:
        return process.wait_exit(0)
    except subprocess.TimeoutExpired:
        return None
