"""Demand: the jobs that run on each pool, as sets that KEDA's stock redis trigger measures.

The keys never expire: a number that is old means that nobody knows, and must not read as zero.
"""

from __future__ import annotations

from typing import Any

import redis.asyncio as redis

from longhaul import doorbell
from longhaul.ledger import queues
from longhaul.ledger.connection import Connection
from longhaul_controller import metrics


class Demand:
    """Writes a set only where it changed, or where Redis was emptied."""

    def __init__(self) -> None:
        self._published: dict[str, frozenset[str]] | None = None

    async def run(self, connection: Connection, client: redis.Redis) -> None:
        """Publish once. Raises redis.RedisError."""
        if self._published is None:
            # A pool that went between two leaders would keep its last number for ever.
            self._published = dict.fromkeys(await _pools(client), frozenset())
        running = {pool: frozenset(jobs) for pool, jobs in (await queues.read_running_by_pool(connection)).items()}
        for gone in self._published.keys() - running.keys():
            running[gone] = frozenset()
        sizes = await _sizes(client, list(running))
        for pool, jobs in running.items():
            if jobs != self._published.get(pool) or sizes[pool] != len(jobs):
                await _replace(client, doorbell.running_key(pool), jobs)
            self._published[pool] = jobs
            metrics.JOBS_RUNNING.labels(pool).set(len(jobs))


async def _pools(client: redis.Redis) -> list[str]:
    prefix = doorbell.running_key("")
    return [key.decode().removeprefix(prefix) async for key in client.scan_iter(match=f"{prefix}*", count=1000)]


async def _sizes(client: redis.Redis, pools: list[str]) -> dict[str, int]:
    async with client.pipeline(transaction=False) as pipeline:
        for pool in pools:
            pipeline.scard(doorbell.running_key(pool))
        return dict(zip(pools, await pipeline.execute(), strict=True))


async def _replace(client: redis.Redis, key: str, members: frozenset[str]) -> None:
    # As one transaction: a scaler that looks in between must not see an empty set.
    pipeline: Any = client.pipeline(transaction=True)
    async with pipeline:
        pipeline.delete(key)
        if members:
            pipeline.sadd(key, *members)
        await pipeline.execute()
