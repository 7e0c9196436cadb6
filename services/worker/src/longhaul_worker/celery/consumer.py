"""Celery's consumer, which tells that it lives while Redis is away, and hears again a second after it is back.

Celery's own waits in a loop outside of its event loop, up to 30 s at a time: without a pulse its keeper would take it for
dead, and the pod would be restarted for an outage that no restart mends. When the keeper rings by itself, it listens to that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.state import maybe_shutdown
from redis.exceptions import ResponseError

from longhaul_worker.celery import transport

_log = structlog.get_logger(__name__)

on_wait: Callable[[], None] | None = None
"""Called at each try and each second between two; set by `app` in Celery's main process."""


class _KeeperRings(Exception):
    """Redis is away, and the keeper offers its own doorbells."""


class Consumer(CeleryConsumer):
    """`worker_consumer = "longhaul_worker.celery.consumer:Consumer"`."""

    is_refused = False
    """Redis last answered with an error: that it can be connected to means nothing."""

    def ensure_connected(self, conn: Any) -> Any:
        """The connection, once there is one: tried once a second, for ever, and told once."""
        while True:
            try:
                if self.is_refused:
                    _turn_to_keeper()
                conn.ensure_connection(self._away, interval_start=1, interval_step=0, interval_max=1, callback=_wait)
                break
            except _KeeperRings:
                conn = self.app.connection_for_read(transport.KEEPER_URL)
                with suppress(OSError):  # Redis is back: try that again
                    conn.connect()
                    break
                self.is_refused = False
                conn = self.app.connection_for_read()
        self.first_connection_attempt = False
        self.broker_connection_retry_attempt = 0
        return conn

    def _away(self, error: Exception, _interval: float) -> None:
        if self.broker_connection_retry_attempt == 0:
            _log.warning("redis_away", error=str(error))
        self.broker_connection_retry_attempt += 1
        _turn_to_keeper()

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        super().on_connection_error_after_connected(exc)
        self.is_refused = isinstance(exc, ResponseError)
        if self.is_refused:  # it answers, and would be asked again at once, for ever
            time.sleep(1)
            _wait()

    # Messages that are no doorbells. Celery's own methods answer them, and their logs quote the whole message.

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        transport.drop(exc)
        message.ack()

    def on_unknown_message(self, _body: Any, message: Any) -> None:
        transport.drop("it names no task")
        message.ack()

    def on_unknown_task(self, _body: Any, message: Any, exc: Exception) -> None:
        transport.drop(f"there is no such task: {exc}")
        message.ack()

    def on_invalid_task(self, _body: Any, message: Any, exc: Exception) -> None:
        transport.drop(exc)
        message.ack()


def _turn_to_keeper() -> None:
    """Raises _KeeperRings if the keeper rings by itself."""
    if transport.socket_path().exists():
        raise _KeeperRings


def _wait() -> None:
    maybe_shutdown()
    if on_wait is not None:
        on_wait()
