"""What a keeper tells through Redis: events that were committed, and what runs here. Nothing waits for either."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

import redis.asyncio as redis

from longhaul import doorbell, events
from longhaul.ledger.leases import Written
from longhaul_worker.recorder import Recorder

MAX_WAITING_EVENTS = 10_000
EVENTS_A_BATCH = 200
RETRY_SECONDS = 0.5
"""Between two tries while Redis is away."""
OCCUPANCY_INTERVAL_SECONDS = 0.2
"""Between two writes of what runs: jobs that are over sooner count for nothing."""


class EventPublisher:
    """A bounded queue of committed events, and one task that empties it. Streams find what was dropped in the ledger."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._waiting: deque[Written] = deque(maxlen=MAX_WAITING_EVENTS)
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
                batch = [self._waiting.popleft() for _ in range(min(EVENTS_A_BATCH, len(self._waiting)))]
                try:
                    await events.publish(self._client, batch)
                except (redis.RedisError, OSError):
                    await asyncio.sleep(RETRY_SECONDS)


class OccupancyPublisher:
    """Adds to the pool's set what started on this pod, and takes from it what ended or is about to go elsewhere. The
    controller corrects it from the ledger: without this, demand still holds."""

    def __init__(self, client: redis.Redis, recorder: Recorder, pool: str) -> None:
        self._client = client
        self._recorder = recorder
        self._pool = pool
        self._key = doorbell.running_key(pool)
        self._published: set[str] = set()

    async def run(self) -> None:
        """Write each change until cancelled. While Redis is away it is tried again."""
        while True:
            await self._recorder.occupancy_changed.wait()
            self._recorder.occupancy_changed.clear()
            try:
                await self._publish()
            except (redis.RedisError, OSError):
                self._recorder.occupancy_changed.set()
            await asyncio.sleep(OCCUPANCY_INTERVAL_SECONDS)

    async def _publish(self) -> None:
        recorder = self._recorder
        running = set() if recorder.is_draining else {str(attempt.claim.job_id) for attempt in recorder.attempts}
        async with self._client.pipeline(transaction=False) as pipeline:
            if started := running - self._published:
                pipeline.sadd(doorbell.POOLS_KEY, self._pool)
                pipeline.sadd(self._key, *started)
            if ended := self._published - running:
                pipeline.srem(self._key, *ended)
            if started or ended:
                await pipeline.execute()
        self._published = running
