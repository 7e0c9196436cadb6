"""Doorbells, running jobs and events as the controller uses them: `ports` on Redis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import redis.asyncio as redis

from longhaul import doorbell, events
from longhaul.ledger.leases import Written


@dataclass(frozen=True)
class RedisDoorbells:
    """The functions of `longhaul.doorbell` on one client, and the sets of running jobs."""

    client: redis.Redis

    async def ring(self, counts: Mapping[str, int]) -> None:
        await doorbell.ring(self.client, counts)

    async def count(self, queues: Iterable[str]) -> dict[str, int]:
        return await doorbell.count(self.client, queues)

    async def trim(self, counts: Mapping[str, int]) -> None:
        await doorbell.trim(self.client, counts)

    async def count_running(self) -> dict[str, int]:
        names = await self.client.smembers(doorbell.POOLS_KEY)
        pools = [name.decode() for name in names if isinstance(name, bytes)]
        async with self.client.pipeline(transaction=False) as pipeline:
            for pool in pools:
                pipeline.scard(doorbell.running_key(pool))
            return dict(zip(pools, await pipeline.execute(), strict=True))

    async def replace_running(self, pool: str, job_ids: Iterable[str]) -> None:
        key, members = doorbell.running_key(pool), list(job_ids)
        pipeline: Any = self.client.pipeline(transaction=True)
        async with pipeline:
            pipeline.delete(key)
            if members:
                pipeline.sadd(doorbell.POOLS_KEY, pool)
                pipeline.sadd(key, *members)
            await pipeline.execute()


@dataclass(frozen=True)
class RedisEventChannel:
    """`longhaul.events` on one client."""

    client: redis.Redis

    async def publish(self, written: Iterable[Written]) -> None:
        await events.publish(self.client, written)
