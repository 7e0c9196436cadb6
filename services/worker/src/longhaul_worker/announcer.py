"""Publishes what was committed on the event channel. Never waits, never fails: streams find gaps in the ledger."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

import redis.asyncio as redis

from longhaul import events
from longhaul.ledger.leases import Written

WAITING_AT_MOST = 10_000
BATCH = 200
PAUSE_SECONDS = 0.5
"""Between two tries while Redis is away."""


class Announcer:
    """A bounded queue and one task that empties it."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._waiting: deque[Written] = deque(maxlen=WAITING_AT_MOST)
        self._wake = asyncio.Event()

    def announce(self, written: Iterable[Written]) -> None:
        """Publish soon. Past the bound the oldest are dropped."""
        self._waiting.extend(written)
        self._wake.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                try:
                    await events.publish(self._client, batch)
                except (redis.RedisError, OSError):
                    await asyncio.sleep(PAUSE_SECONDS)
