"""A closed-loop HTTP/1.1 load: so many keep-alive connections, each sends its next request when it has its answer.

Fixed request bytes over raw sockets and epoll: a tenth of a core at 3,000 requests/s, so that on two cores the servers are
the bottleneck. It runs in the bench's own process, which does nothing else meanwhile.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any

GRACE_SECONDS = 5.0
"""How long the last answers may take; a request without one by then is an error."""


class LoadError(Exception):
    """The load met answers other than 2xx, or none."""


@dataclass(frozen=True)
class Load:
    """What a load saw."""

    rate: float
    """Answers per second."""
    p50_ms: float
    p99_ms: float
    answers: int
    errors: int
    first_error: str

    def without_errors(self) -> Load:
        """This load. Raises LoadError where any request failed."""
        if self.errors:
            raise LoadError(f"{self.errors} of {self.answers + self.errors} requests failed: {self.first_error}")
        return self


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n".encode()


def post(path: str, body: Any) -> bytes:
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of the values do not pass: the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@contextmanager
def without_gc() -> Iterator[None]:
    """No pause of the client's own in the figures."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def load(
    port: int, requests: Sequence[bytes], *, connections: int = 50, seconds: float = 2.5, lead_in_seconds: float = 0.3
) -> Load:
    """Send `requests` in turn over `connections` for `seconds`, after a lead-in that is not counted."""
    with without_gc():
        return _Loop(port, requests, connections).run(seconds, lead_in_seconds)


def exchange(port: int, request: bytes) -> bytes:
    """One request on its own connection; the answer's body. Raises LoadError where the status is not 2xx."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        received = b""
        while (answer := parse(received)) is None:
            chunk = connection.recv(1 << 20)
            if not chunk:
                raise LoadError("The server closed the connection without an answer.")
            received += chunk
    status, head_size = answer[0], answer[1]
    if not 200 <= status < 300:
        raise LoadError(f"{status}: {received[head_size:][:300]!r}")
    return received[head_size:]


def parse(received: bytes) -> tuple[int, int, int] | None:
    """(status, size of the head, size of the whole) of the answer in `received`, or None while it is incomplete."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    status = int(received[9:12])
    head = received[:end].lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0 and status not in (204, 304):
        raise LoadError(f"The answer has no Content-Length: {received[:200]!r}")
    size = end + 4 + (int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0)
    return (status, end + 4, size) if len(received) >= size else None


class _Connection:
    __slots__ = ("received", "sent_at", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.sent_at = 0.0

    def send(self, request: bytes) -> None:
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)


class _Loop:
    def __init__(self, port: int, requests: Sequence[bytes], connections: int) -> None:
        self.port = port
        self.requests = cycle(requests)
        self.epoll = select.epoll()
        self.connections: dict[int, _Connection] = {}
        for _ in range(connections):
            self.connect()
        self.done: list[tuple[float, float]] = []
        self.errors = 0
        self.first_error = ""

    def connect(self) -> _Connection:
        connection = _Connection(self.port)
        self.connections[connection.socket.fileno()] = connection
        self.epoll.register(connection.socket.fileno(), select.EPOLLIN)
        return connection

    def run(self, seconds: float, lead_in_seconds: float) -> Load:
        began = time.perf_counter()
        count_from, until = began + lead_in_seconds, began + lead_in_seconds + seconds
        for connection in self.connections.values():
            connection.send(next(self.requests))
        waiting = len(self.connections)
        while waiting and (now := time.perf_counter()) < until + GRACE_SECONDS:
            for descriptor, _ in self.epoll.poll(until + GRACE_SECONDS - now):
                connection = self.connections[descriptor]
                if not self.receive(connection):
                    continue
                if time.perf_counter() < until:
                    self.connections.get(descriptor, connection).send(next(self.requests))
                else:
                    waiting -= 1
        for connection in self.connections.values():
            connection.socket.close()
        self.epoll.close()
        if waiting:
            self.fail(f"no answer within {GRACE_SECONDS:g} s", waiting)
        latencies = [at - sent_at for sent_at, at in self.done if sent_at >= count_from] or [float("inf")]
        return Load(
            rate=sum(1 for _, at in self.done if count_from <= at < until) / seconds,
            p50_ms=percentile(latencies, 0.5) * 1000,
            p99_ms=percentile(latencies, 0.99) * 1000,
            answers=len(self.done),
            errors=self.errors,
            first_error=self.first_error,
        )

    def receive(self, connection: _Connection) -> bool:
        """Whether the connection may send again: it has its whole answer, or was replaced by a new one."""
        chunk = connection.socket.recv(1 << 16)
        if not chunk:
            self.fail("the server closed the connection", 1)
            self.epoll.unregister(connection.socket.fileno())
            del self.connections[connection.socket.fileno()]
            connection.socket.close()
            self.connect()
            return True
        connection.received += chunk
        answer = parse(connection.received)
        if answer is None:
            return False
        status, _, size = answer
        if 200 <= status < 300:
            self.done.append((connection.sent_at, time.perf_counter()))
        else:
            self.fail(connection.received[:300].decode("latin-1"), 1)
        connection.received = connection.received[size:]
        return True

    def fail(self, reason: str, count: int) -> None:
        self.errors += count
        self.first_error = self.first_error or reason
