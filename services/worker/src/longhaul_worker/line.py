"""The pool child's end of the socket: what `Job` speaks through. Lives in the process that runs user code."""

from __future__ import annotations

import os
import queue
import signal
import socket
import threading
from typing import Any

import orjson
from pydantic import JsonValue

from longhaul.errors import Cancelled, ConfigurationError, HandOver, Permanent, SoftTimeout
from longhaul_worker import protocol

_KEEPER_GONE_EXIT_CODE = 70


class KeeperLine:
    """One connection a process, kept over all its jobs. Its methods may be called from any thread.

    A thread reads what the keeper pushes. Where the keeper is gone the process ends at once: nobody renews its lease.
    """

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._send_lock = threading.Lock()
        self._ask_lock = threading.Lock()
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._epoch: tuple[str, int] | None = None
        self._main_thread = threading.main_thread().ident
        self._soft_timeout = False
        self.on_soft_timeout: Any = None
        """Set by an async task's runner; sync tasks get the exception by a signal in the main thread."""
        self.cancelled = False
        self.draining = False
        # SIGUSR1 is billiard's own soft limit.
        signal.signal(signal.SIGUSR2, self._raise_soft_timeout)
        self._send(protocol.encode("hello", pid=os.getpid()))
        threading.Thread(target=self._listen, name="keeper-line", daemon=True).start()

    # What the process asks for.

    def claim(self, queue_name: str) -> dict[str, Any] | None:
        """A job of this queue to run now, or None."""
        answer = self._ask(protocol.encode("claim", queue=queue_name))
        if answer["op"] == "nothing":
            return None
        claim: dict[str, Any] = answer["claim"]
        self.cancelled = self.draining = self._soft_timeout = False
        self._epoch = (claim["job_id"], claim["epoch"])
        return claim

    def finish(self, ending: str, *, result: str | None, error: dict[str, Any] | None, delay: float | None) -> None:
        """Say how the attempt ended. `result` is JSON text."""
        self._epoch = None
        payload = result.encode() if result is not None else b""
        size = len(payload) if result is not None else None
        frame = protocol.encode("finish", ending=ending, result_bytes=size, error=error, delay_seconds=delay)
        self._send(frame + payload)

    # What the running job says: `longhaul.job.Line`.

    def progress(self, fraction: float, message: str, data: dict[str, JsonValue]) -> None:
        self._send(_encode("progress", fraction=fraction, message=message, data=data))

    def log(self, level: str, message: str, fields: dict[str, JsonValue]) -> None:
        self._send(_encode("log", level=level, message=message, fields=fields))

    def checkpoint(self, state: JsonValue) -> None:
        answer = self._ask(_encode("checkpoint", state=_dumps(state)))
        if answer["op"] == "refused":
            raise Permanent(answer["message"])

    def raise_if_stopped(self) -> None:
        if self.cancelled:
            raise Cancelled
        if self.draining:
            raise HandOver

    def _ask(self, frame: bytes) -> dict[str, Any]:
        with self._ask_lock:
            self._send(frame)
            return self._answers.get()

    def _send(self, frame: bytes) -> None:
        with self._send_lock:
            try:
                self._socket.sendall(frame)
            except OSError:
                os._exit(_KEEPER_GONE_EXIT_CODE)

    def _listen(self) -> None:
        try:
            with self._socket.makefile("rb") as lines:
                for line in lines:
                    frame = protocol.decode(line)
                    if frame["op"] in ("claimed", "nothing", "saved", "refused"):
                        self._answers.put(frame)
                    elif self._epoch == (frame["job_id"], frame["epoch"]):
                        self._obey(frame["op"])
        except OSError:
            pass
        os._exit(_KEEPER_GONE_EXIT_CODE)

    def _obey(self, op: str) -> None:
        if op == "cancel":
            self.cancelled = True
        elif op == "drain":
            self.draining = True
        elif op == "soft_timeout":
            self._soft_timeout = True
            if self.on_soft_timeout is not None:
                self.on_soft_timeout()
            elif self._main_thread is not None:
                signal.pthread_kill(self._main_thread, signal.SIGUSR2)

    def _raise_soft_timeout(self, _signal: int, _frame: object) -> None:
        # Runs in the main thread. Between two jobs there is nothing to raise into.
        if self._soft_timeout and self._epoch is not None:
            self._soft_timeout = False
            raise SoftTimeout


def connect() -> KeeperLine:
    """The line of this process to the keeper that started it."""
    path = os.environ.get(protocol.SOCKET_VARIABLE)
    if not path:
        raise ConfigurationError(
            "A Longhaul pool is started by its keeper: run `longhaul-worker`, not `celery worker`."
        )
    return KeeperLine(path)


def _dumps(value: JsonValue) -> str:
    return orjson.dumps(value).decode()


def _encode(op: str, **fields: Any) -> bytes:
    try:
        return protocol.encode(op, **fields)
    except TypeError as error:
        raise Permanent(f"job.{op}() takes JSON values only: {error}.") from error
