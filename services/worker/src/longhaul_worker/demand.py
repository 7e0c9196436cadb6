"""Tells the scaler at once what runs here. The controller corrects it from the ledger: without one, demand still holds."""

from __future__ import annotations

import asyncio

import redis.asyncio as redis

from longhaul import doorbell
from longhaul_worker.recorder import Recorder

PAUSE_SECONDS = 0.2
"""Between two writes: jobs that are over sooner count for nothing."""


class Demand:
    """Adds to the pool's set what started on this pod, and takes from it what ended or is about to go elsewhere."""

    def __init__(self, client: redis.Redis, recorder: Recorder, pool: str) -> None:
        self._client = client
        self._recorder = recorder
        self._key = doorbell.running_key(pool)
        self._told: set[str] = set()

    async def run(self) -> None:
        """Write each change until cancelled. While Redis is away it is tried again, and nothing waits for it."""
        while True:
            await self._recorder.occupancy_changed.wait()
            self._recorder.occupancy_changed.clear()
            try:
                await self._tell()
            except (redis.RedisError, OSError):
                self._recorder.occupancy_changed.set()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _tell(self) -> None:
        recorder = self._recorder
        running = set() if recorder.is_draining else {str(attempt.claim.job_id) for attempt in recorder.attempts}
        async with self._client.pipeline(transaction=False) as pipeline:
            if started := running - self._told:
                pipeline.sadd(self._key, *started)
            if ended := self._told - running:
                pipeline.srem(self._key, *ended)
            if started or ended:
                await pipeline.execute()
        self._told = running
