"""The listening side of the event channel: one Redis connection for all streams of this process."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

import redis.asyncio as redis
import structlog

from longhaul.events import channel, job_of

PING_SECONDS = 1.0
"""A Redis that stopped without a word is noticed after three of these."""
_CHANNELS_AT_ONCE = 1000

_log = structlog.get_logger(__name__)


class Channel:
    """Subscribes and unsubscribes as jobs are followed, and keeps its connection.

    `on_event(job_id, event)` gets every message (the JSON of an EventView); `on_change(is_up)` is called when the
    connection comes and goes. What was published while it was away is lost here: the ledger has it.
    """

    def __init__(
        self,
        url: str,
        *,
        on_event: Callable[[UUID, bytes], None],
        on_change: Callable[[bool], None],
        reconnect_seconds: float,
    ) -> None:
        self.is_up = False
        self._on_event = on_event
        self._on_change = on_change
        self._reconnect_seconds = reconnect_seconds
        # RESP 2: everything that such a connection gets is a plain list. The pings do what TCP's keepalive would.
        self._client = redis.Redis.from_url(
            url, protocol=2, socket_timeout=2 * PING_SECONDS, socket_connect_timeout=2 * PING_SECONDS
        )
        self._connection: Any = None
        self._wanted: set[bytes] = set()
        self._sent: set[bytes] = set()
        self._changed: set[bytes] = set()
        self._flushing: asyncio.Task[None] | None = None
        self._confirmations: dict[bytes, asyncio.Future[None]] = {}
        self._heard_at = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        for task in (self._flushing, self._task):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        await self._client.aclose()

    def subscribe(self, job_id: UUID) -> asyncio.Future[None]:
        """Listen to a job's events. The future is done once Redis has confirmed it, at once where Redis is away."""
        name = channel(job_id)
        self._wanted.add(name)
        future = self._confirmations.get(name)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            if self.is_up and name not in self._sent:
                self._confirmations[name] = future
            else:
                future.set_result(None)
        self._change(name)
        return future

    def unsubscribe(self, job_id: UUID) -> None:
        name = channel(job_id)
        self._wanted.discard(name)
        self._confirm(name)
        self._change(name)

    def _change(self, name: bytes) -> None:
        """Tell Redis soon: all changes of one turn of the loop go in one command."""
        self._changed.add(name)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if self.is_up and self._changed and self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        try:
            while self._changed:
                changed, self._changed = self._changed, set()
                new = changed & self._wanted - self._sent
                old = changed & self._sent - self._wanted
                self._sent |= new
                self._sent -= old
                await self._send(b"SUBSCRIBE", new)
                await self._send(b"UNSUBSCRIBE", old)
        except (redis.RedisError, OSError):
            await self._drop()
        finally:
            self._flushing = None

    async def _send(self, command: bytes, names: Iterable[bytes]) -> None:
        ordered = list(names)
        for start in range(0, len(ordered), _CHANNELS_AT_ONCE):
            await self._connection.send_command(
                command, *ordered[start : start + _CHANNELS_AT_ONCE], check_health=False
            )

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except (redis.RedisError, OSError) as error:
                if self.is_up:
                    _log.warning("event_channel_lost", reason=type(error).__name__)
            except Exception:  # noqa: BLE001 - a fault of our own must not end the listening for good
                _log.exception("event_channel_failed")
            finally:
                self._went_down()
                await self._drop()
            await asyncio.sleep(self._reconnect_seconds)

    async def _listen(self) -> None:
        self._connection = self._client.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py has no types here
        await self._connection.connect()
        self._sent = set(self._wanted)
        self._changed.clear()
        await self._send(b"SUBSCRIBE", self._sent)
        self._heard_at = asyncio.get_running_loop().time()
        pinging = asyncio.create_task(self._ping())
        try:
            while True:
                kind, *rest = await self._connection.read_response(disable_decoding=True, timeout=math.inf)
                self._heard_at = asyncio.get_running_loop().time()
                if kind == b"message":
                    self._on_event(job_of(rest[0]), rest[1])
                elif kind == b"subscribe":
                    self._confirm(rest[0])
                elif not self.is_up:
                    # The answer to the first ping: what was subscribed before it is in force.
                    self.is_up = True
                    self._flush_soon()
                    self._on_change(True)
        finally:
            pinging.cancel()

    async def _ping(self) -> None:
        """Close the connection where nothing was heard for two pings: the reader sees that as an error."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(redis.RedisError, OSError):
            while loop.time() - self._heard_at < 2.5 * PING_SECONDS:
                await self._connection.send_command(b"PING", check_health=False)
                await asyncio.sleep(PING_SECONDS)
        await self._drop()

    async def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(redis.RedisError, OSError):
                await self._connection.disconnect(nowait=True)

    def _went_down(self) -> None:
        was_up, self.is_up = self.is_up, False
        for name in list(self._confirmations):
            self._confirm(name)
        if was_up:
            self._on_change(False)

    def _confirm(self, name: bytes) -> None:
        future = self._confirmations.pop(name, None)
        if future is not None and not future.done():
            future.set_result(None)
