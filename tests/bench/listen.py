"""Thousands of event streams in the bench's own process: raw sockets and epoll, the clock read at each arrival."""

from __future__ import annotations

import re
import select
import socket
import time
from collections.abc import Sequence

from tests.bench.load import get

SENT = re.compile(rb'"sent": ?([0-9.]+)')
"""How every side's events carry the clock of their sender, seconds since the epoch."""


class ListenError(Exception):
    """Streams did not open, or an event did not arrive."""


class Listeners:
    """One open stream for each of `paths`; a context manager that closes them."""

    def __init__(self, port: int, paths: Sequence[str]) -> None:
        self.port = port
        self.paths = paths
        self.epoll = select.epoll()
        self.sockets: dict[int, socket.socket] = {}

    def __enter__(self) -> Listeners:
        return self.open(self.paths)

    def __exit__(self, *_: object) -> None:
        for one in self.sockets.values():
            one.close()
        self.epoll.close()

    def open(self, paths: Sequence[str], *, at_once: int = 100, timeout_seconds: float = 60.0) -> Listeners:
        """Open these streams too, and return when each has sent its first bytes of body.

        Raises ListenError where one answers other than 200 or none in time.
        """
        for start in range(0, len(paths), at_once):
            opening: dict[int, bytes] = {}
            for path in paths[start : start + at_once]:
                one = socket.create_connection(("127.0.0.1", self.port))
                one.sendall(get(path))
                self.sockets[one.fileno()] = one
                self.epoll.register(one.fileno(), select.EPOLLIN)
                opening[one.fileno()] = b""
            until = time.monotonic() + timeout_seconds
            while opening:
                ready = self.epoll.poll(max(0.0, until - time.monotonic()))
                if not ready:
                    raise ListenError(f"{len(opening)} streams sent nothing within {timeout_seconds:g} s.")
                for descriptor, _ in ready:
                    chunk = self.sockets[descriptor].recv(1 << 16)
                    if descriptor in opening and self._is_open(opening, descriptor, chunk):
                        del opening[descriptor]
        return self

    @staticmethod
    def _is_open(opening: dict[int, bytes], descriptor: int, chunk: bytes) -> bool:
        opening[descriptor] += chunk
        head, _, body = opening[descriptor].partition(b"\r\n\r\n")
        if not chunk or (len(head) > 12 and not head.startswith(b"HTTP/1.1 200")):
            raise ListenError(f"A stream did not open: {opening[descriptor][:300]!r}")
        return bool(body)

    def discard(self) -> None:
        """Read away what has arrived until now."""
        while ready := self.epoll.poll(0):
            for descriptor, _ in ready:
                self.sockets[descriptor].recv(1 << 16)

    def latencies(self, *, timeout_seconds: float = 20.0) -> list[float]:
        """Wait until every stream has got one event with a clock; seconds from its sender to here, one a stream."""
        arrived: dict[int, tuple[float, bytes]] = {}
        until = time.monotonic() + timeout_seconds
        while len(arrived) < len(self.sockets):
            ready = self.epoll.poll(max(0.0, until - time.monotonic()))
            if not ready:
                missing = len(self.sockets) - len(arrived)
                raise ListenError(f"{missing} of {len(self.sockets)} streams got no event in {timeout_seconds:g} s.")
            for descriptor, _ in ready:
                chunk = self.sockets[descriptor].recv(1 << 16)
                if not chunk:
                    raise ListenError("A stream ended early.")
                if b'"sent"' in chunk and descriptor not in arrived:
                    arrived[descriptor] = (time.time(), chunk)
        return [at - self._sent(chunk) for at, chunk in arrived.values()]

    @staticmethod
    def _sent(chunk: bytes) -> float:
        found = SENT.search(chunk)
        if found is None:
            raise ListenError(f"An event carries no clock: {chunk[:300]!r}")
        return float(found[1])
