"""The event channel: events that were committed, published on Redis for the streams that are open now.

Pub/sub, not a stream: the ledger is the history. A message may be lost; who listens sees the gap in the numbers and
reads the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

import redis.asyncio as redis

from longhaul.ledger.events import encode
from longhaul.ledger.leases import Written

_PREFIX = b"events:"


def channel(job_id: UUID) -> bytes:
    """The channel of one job's events."""
    return _PREFIX + job_id.hex.encode()


def job_of(channel_name: bytes) -> UUID:
    """The job whose channel this is."""
    return UUID(channel_name.removeprefix(_PREFIX).decode())


async def publish(client: redis.Redis, written: Iterable[Written]) -> None:
    """Publish committed events. Raises redis.RedisError; whoever publishes may ignore it."""
    async with client.pipeline(transaction=False) as pipeline:
        for one in written:
            pipeline.publish(channel(one.job_id), encode(one.job_id, one.seq, one.type, one.at, one.epoch, one.data))
        await pipeline.execute()
