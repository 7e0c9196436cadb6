"""The processes of Celery's pool, as the kernel knows them."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import Protocol

from longhaul_worker import evidence
from longhaul_worker.process_tree import end_descendants, parent_of
from longhaul_worker.supervisor import Supervisor


class PoolProcess(Protocol):
    """One process."""

    def kill(self) -> None:
        """End it now, with all that it started. Nothing if it is dead already."""

    async def wait_dead(self) -> None:
        """Until the process is dead."""

    def read_peak_memory_bytes(self) -> int | None:
        """The largest resident size that it had so far; None if it is dead or the system does not say."""


class Processes(Protocol):
    """Which process is which."""

    def is_main(self, pid: int) -> bool:
        """Whether it is Celery's main process."""

    def is_pool_child(self, pid: int) -> bool:
        """Whether Celery's main process started it."""

    def open(self, pid: int) -> PoolProcess:
        """A pool child."""

    def read_oom_kills(self) -> int:
        """How many processes of this container the kernel has killed for memory."""


class CeleryProcesses:
    """Celery's main process is the one that the supervisor started, and that one's children are the pool."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def is_main(self, pid: int) -> bool:
        # An orphan becomes a child of the guard as well, for up to a second: being one proves nothing.
        return pid == self._supervisor.main_pid

    def is_pool_child(self, pid: int) -> bool:
        parent = parent_of(pid)
        return parent is not None and self.is_main(parent)

    def open(self, pid: int) -> PoolProcess:
        return LinuxProcess(pid)

    def read_oom_kills(self) -> int:
        return evidence.read_oom_kills()


class LinuxProcess:
    """Held by a pidfd, which keeps meaning this process once its number is used again."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._pidfd = os.pidfd_open(pid)
        self._is_dead = False

    def kill(self) -> None:
        if self._is_dead:
            return  # its number may be another process's
        try:
            self._send(signal.SIGSTOP)  # so that it starts nothing any more
            end_descendants(self._pid, seconds=0.0)
        finally:
            self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        with suppress(OSError):  # it is dead, or it became another user
            signal.pidfd_send_signal(self._pidfd, number)

    async def wait_dead(self) -> None:
        loop, dead = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._pidfd, dead.set)
        try:
            await dead.wait()
        finally:
            self._is_dead = True
            loop.remove_reader(self._pidfd)
            os.close(self._pidfd)

    def read_peak_memory_bytes(self) -> int | None:
        return None if self._is_dead else evidence.read_peak_memory_bytes(self._pid)
