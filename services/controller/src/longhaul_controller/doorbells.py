"""Doorbells, running jobs and events as the controller uses them: `ports` on Redis."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import redis.asyncio as redis
import structlog

from longhaul import doorbell, events
from longhaul.ledger.leases import Written

_log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class RedisDoorbells:
    """The functions of `longhaul.doorbell` on one client, and the sets of running jobs."""

    client: redis.Redis

    async def ring(self, counts: Mapping[str, int]) -> None:
        await doorbell.ring(self.client, counts)

    async def count(self, queues: Iterable[str]) -> dict[str, int]:
        names = list(queues)
        return await self._mending("list", map(doorbell.key, names), lambda: doorbell.count(self.client, names))

    async def trim(self, counts: Mapping[str, int]) -> None:
        await doorbell.trim(self.client, counts)

    async def count_running(self) -> dict[str, int]:
        names = await self._mending("set", [doorbell.POOLS_KEY], self._read_pools)
        pools = [name.decode() for name in names if isinstance(name, bytes)]
        return await self._mending("set", map(doorbell.running_key, pools), lambda: self._count_running(pools))

    async def _read_pools(self) -> Any:
        return await self.client.smembers(doorbell.POOLS_KEY)

    async def _count_running(self, pools: list[str]) -> dict[str, int]:
        async with self.client.pipeline(transaction=False) as pipeline:
            for pool in pools:
                pipeline.scard(doorbell.running_key(pool))
            return dict(zip(pools, await pipeline.execute(), strict=True))

    async def _mending(self, type: str, keys: Iterable[str], ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """What `ask` answers. Keys that hold something else than a `type` are deleted: what they should hold is written
        anew, and until then one of them would fail everything that is asked together."""
        try:
            return await ask()
        except redis.ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
        for key in keys:
            found = await self.client.type(key)
            found = found.decode() if isinstance(found, bytes) else found
            if found not in (type, "none"):
                _log.warning("redis_key_deleted", key=key, type=found, expected=type)
                await self.client.delete(key)
        return await ask()

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
