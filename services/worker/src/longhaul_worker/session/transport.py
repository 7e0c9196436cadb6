"""The socket of a pool child, and the two threads that use it.

Python runs signal handlers in the main thread, between any two instructions, and one that raises (a soft limit, somebody's
`signal.alarm`) would cut a frame in half there. So no other thread than the sender writes, and none but the listener reads.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from contextlib import suppress
from typing import Any, Final, NoReturn

from longhaul.errors import ConfigurationError
from longhaul_worker.process_tree import end_descendants
from longhaul_worker.session import frames
from longhaul_worker.session.child import EXIT_KEEPER_GONE, ChildSession
from longhaul_worker.session.frames import Answer

PROGRESS_INTERVAL_SECONDS: Final = 0.05
"""Progress goes to the keeper at most this often: a task may call it in its innermost loop."""


class SocketWire:
    """Two threads around a connected socket. If the keeper is gone the process ends at once: nobody renews its lease."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._identity = _identity(connection)
        self._outbox: queue.SimpleQueue[tuple[bytes, queue.SimpleQueue[None]] | None] = queue.SimpleQueue()
        """Frames, each with where its sender waits; None: look whether a latest frame waits."""
        self._latest: list[bytes] = []
        self._is_latest_announced = False
        self._sent_latest_at = 0.0
        threading.Thread(target=self._send_all, name="keeper-sender", daemon=True).start()

    def listen(self, session: ChildSession) -> None:
        """Hand what comes to a session, from a thread of its own."""
        threading.Thread(target=self._receive_all, args=(session,), name="keeper-listener", daemon=True).start()

    def send(self, frame: bytes) -> None:
        sent: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._outbox.put((frame, sent))
        sent.get()  # it is with the kernel then, and reaches the keeper even if this process dies now

    def send_latest(self, frame: bytes) -> None:
        self._latest[:] = [frame]
        if not self._is_latest_announced:
            self._is_latest_announced = True
            self._outbox.put(None)

    def close(self) -> None:
        """In a forked process: leave the connection to the one that it belongs to."""
        self._socket.close()

    def _send_all(self) -> None:
        try:
            due_at: float | None = None
            while True:
                item = self._next(due_at)
                now = time.monotonic()
                if item is not None or (due_at := self._sent_latest_at + PROGRESS_INTERVAL_SECONDS) <= now:
                    due_at = None
                    self._send_latest(now)
                if item is not None:
                    frame, sent = item
                    self._send(frame)
                    sent.put(None)
        except BaseException:  # noqa: BLE001 - whatever it is, this process can't speak to its keeper any more
            _exit_alone()

    def _next(self, due_at: float | None) -> tuple[bytes, queue.SimpleQueue[None]] | None:
        try:
            return self._outbox.get(timeout=None if due_at is None else max(0.0, due_at - time.monotonic()))
        except queue.Empty:
            return None

    def _send_latest(self, now: float) -> None:
        self._is_latest_announced = False  # first: what comes from now on is announced again
        if self._latest:
            self._sent_latest_at = now
            self._send(self._latest.pop())

    def _send(self, frame: bytes) -> None:
        if _identity(self._socket) != self._identity:
            # The task closed this descriptor, by a number that it held for too long, and another file has that now.
            _exit_alone()
        self._socket.sendall(frame)

    def _receive_all(self, session: ChildSession) -> None:
        with suppress(BaseException), self._socket.makefile("rb") as stream:
            while header := stream.read(frames.HEADER.size):
                head_bytes, _ = frames.HEADER.unpack(header)
                session.receive(frames.parse_from_keeper(stream.read(head_bytes)))
        _exit_alone()  # a keeper that can't be understood is as good as none


def _identity(connection: socket.socket) -> tuple[int, int]:
    status = os.fstat(connection.fileno())
    return status.st_dev, status.st_ino


def connect() -> ChildSession:
    """The session of this process with the keeper that started it."""
    path = os.environ.get(frames.SOCKET_VARIABLE)
    if not path:
        raise ConfigurationError(
            "A Longhaul pool is started by its keeper: run `longhaul-worker`, not `celery worker`."
        )
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    wire = SocketWire(connection)
    session = ChildSession(wire, new_reply=_new_reply)
    wire.listen(session)
    os.register_at_fork(after_in_child=wire.close)
    return session


def _new_reply() -> Any:
    replies: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
    return replies


def _exit_alone() -> NoReturn:
    """End this process with all that its task started."""
    end_descendants(os.getpid(), seconds=1.0)
    os._exit(EXIT_KEEPER_GONE)
