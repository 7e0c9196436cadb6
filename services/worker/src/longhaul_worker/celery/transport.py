"""The two ways in which Celery's main process hears doorbells: from Redis and, while Redis is away, from its keeper.

Registered as kombu transports by `app`, in a worker's Celery only.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import structlog
from kombu import transport
from kombu.transport import redis, virtual
from redis.exceptions import ResponseError

from longhaul import doorbell
from longhaul_worker.session import frames

_log = structlog.get_logger(__name__)

KEEPER_URL = "keeper://"
MALFORMED = (ValueError, TypeError, KeyError, AttributeError)
"""What kombu raises over a message that is not JSON, or not an object of the shape that it expects."""

on_drop: Callable[[], None] | None = None
"""Called for each message that was dropped; set by `app` in Celery's main process."""


def drop(error: object) -> None:
    """Say that a message was thrown away: the ledger knows what waits, so nothing is lost with it."""
    _log.warning("doorbell_dropped", error=str(error)[:200])
    if on_drop is not None:
        on_drop()


class RedisChannel(redis.Channel):
    """kombu's own lets one message that is not JSON end the process, and with it all jobs that run here."""

    ack_emulation = False
    """kombu would note each message in `unacked` until it is acknowledged. A doorbell may be lost, so nothing needs that;
    and a value of another type under that key would let no doorbell through."""
    do_restore = False

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # celery-types leaves it out
        except MALFORMED as error:
            drop(error)
            return True


class RedisTransport(redis.Transport):
    """Redis, less the messages that nobody can read."""

    Channel = RedisChannel

    # A Redis that answers with an error (its disk is full, it became a replica) is as good as away. To Celery that would
    # be unrecoverable: it would wait for its jobs, hear nothing meanwhile, and end.
    connection_errors = (*redis.Transport.connection_errors, ResponseError)


class KeeperChannel(virtual.Channel):
    """Has no queues: what the keeper rings is delivered at once, and a doorbell that is left over is forgotten."""

    do_restore = False

    def _put(self, *_: Any, **__: Any) -> None:
        """Where kombu gives back what it did not start: the keeper asks again anyway."""

    def _purge(self, _queue: str) -> int:
        return 0


class KeeperTransport(virtual.Transport):
    """The keeper asks the ledger while Redis is away, and rings here: a queue's name a line, until Redis is back."""

    Channel = KeeperChannel
    driver_type = "redis"  # Celery applies `worker_disable_prefetch` to no other
    driver_name = "keeper"
    connection_errors = (OSError,)
    implements = virtual.Transport.implements.extend(asynchronous=True)

    def establish_connection(self) -> Any:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(socket_path()))
        self._rest = b""
        return super().establish_connection()

    def register_with_event_loop(self, _connection: Any, loop: Any) -> None:
        self._loop = loop
        loop.add_reader(self._socket, self._read)

    def close_connection(self, connection: Any) -> None:
        self._socket.close()
        super().close_connection(connection)

    def _read(self) -> None:
        received = self._socket.recv(4096)
        if not received:
            self._loop.remove_reader(self._socket)
            raise ConnectionResetError("the keeper reaches Redis again")
        *lines, self._rest = (self._rest + received).split(b"\n")
        for line in lines:
            queue = line.decode()
            self._deliver(orjson.loads(doorbell.messages(queue, 1)[0]), doorbell.key(queue))


def socket_path() -> Path:
    """Where the keeper listens while it rings by itself; nothing is there at other times."""
    return Path(os.environ[frames.SOCKET_VARIABLE]).with_name(frames.DOORBELLS_SOCKET)


def register() -> None:
    """Make them known to kombu, by the schemes of URLs."""
    here = f"{__name__}:"
    transport.TRANSPORT_ALIASES.update(
        redis=f"{here}RedisTransport", rediss=f"{here}RedisTransport", keeper=f"{here}KeeperTransport"
    )
