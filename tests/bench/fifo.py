"""A named pipe between the bench and tasks, the same for both sides: a task writes its clock, or waits for a word."""

from __future__ import annotations

import os
import select
from pathlib import Path


class FifoError(Exception):
    """No task wrote in time."""


class Fifo:
    """A context manager. Writes of a line are atomic (shorter than PIPE_BUF)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._received = b""

    def __enter__(self) -> Fifo:
        os.mkfifo(self.path, 0o600)
        # Open for both, so that a task that closes its end does not close the pipe.
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        self.path.unlink()

    def write(self, line: str) -> None:
        os.write(self._descriptor, f"{line}\n".encode())

    def read(self, *, timeout_seconds: float = 30.0) -> str:
        """The next line. Raises FifoError where none comes."""
        while b"\n" not in self._received:
            if not select.select([self._descriptor], [], [], timeout_seconds)[0]:
                raise FifoError(f"No task wrote its clock within {timeout_seconds:g} s.")
            self._received += os.read(self._descriptor, 65536)
        line, _, self._received = self._received.partition(b"\n")
        return line.decode()

    def read_clock(self, *, timeout_seconds: float = 30.0) -> float:
        """The next line as seconds since the epoch."""
        return float(self.read(timeout_seconds=timeout_seconds))
