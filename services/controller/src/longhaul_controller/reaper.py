"""The reaper: gives back the jobs of owners that were not heard of for a whole lease."""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis.asyncio as redis
import structlog

from longhaul import doorbell, events
from longhaul.ledger import leases
from longhaul.ledger.connection import Connection, read_clock
from longhaul_controller import metrics
from longhaul_controller.leader import Leader

if TYPE_CHECKING:  # it imports the Kubernetes client, which is not for every controller
    from longhaul_controller.losses import Losses

_log = structlog.get_logger(__name__)


async def reap(
    connection: Connection,
    leader: Leader,
    *,
    doorbells: redis.Redis,
    channel: redis.Redis,
    lease_seconds: float,
    losses: Losses | None = None,
) -> None:
    """End what expired, with what `losses` can tell of its owners, and ring for it at once.

    Silent until this process has itself seen the ledger up for one full lease: after an outage every lease is old, and
    the owners need that long to renew.
    """
    # In this order: should the ledger hang from here on, the reap that comes through at last goes by the time before.
    as_of = await read_clock(connection)
    if leader.ledger_up_seconds() < lease_seconds:
        return
    known = {}
    if losses is not None and (owners := await leases.read_lost_owners(connection, as_of=as_of)):
        known = await losses.tell(owners)
    written = await leases.reap(connection, as_of=as_of, losses=known)
    if not written:
        return
    metrics.LEASES_REAPED.inc(len(written))
    for one in written:
        _log.warning("lease_reaped", job_id=str(one.job_id), epoch=one.epoch, queue=one.queue, state=one.state)
    rings: dict[str, int] = {}
    for one in written:
        if one.queue and one.state == "queued":
            rings[one.queue] = rings.get(one.queue, 0) + 1
    try:
        await doorbell.ring(doorbells, rings)
        await events.publish(channel, written)
    except (redis.RedisError, OSError):
        pass  # the re-ring looks again within a second, and streams find the gap
