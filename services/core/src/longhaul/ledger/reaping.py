"""Reap: end the attempts of workers that were not heard of for a whole lease."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from longhaul.errors import LedgerRefuses
from longhaul.ledger.claims import budget_of
from longhaul.ledger.connection import Connection
from longhaul.ledger.leases import SWALLOWED, AttemptEnd, Lease, Written, end
from longhaul.states import Ending, decide

# As of a time that was read before: a statement that lay in a server that hung must not find every lease old when it
# goes on. The row stays locked until its attempt is ended, so that no renewal comes in between.
_EXPIRED = """
SELECT id, epoch, worker_id, retries, retries_max, interruptions, max_interruptions, backoff_seconds, backoff_max_seconds,
    extract(epoch FROM now() - lease_expires_at)::float8 AS overdue_seconds
FROM jobs WHERE state = 'running' AND lease_expires_at < coalesce(%(as_of)s::timestamptz, now())
ORDER BY lease_expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""


# Keeps: nothing changes. The write is that of a renewal, so whatever refuses or swallows renewals does so to this.
_TOUCH = """
WITH late AS (
    SELECT id, lease_expires_at < %(as_of)s AS is_lost FROM jobs
    WHERE state = 'running' AND lease_expires_at < %(as_of)s + make_interval(secs => %(late_seconds)s)
    ORDER BY lease_expires_at LIMIT 1 FOR UPDATE SKIP LOCKED
), touched AS (
    UPDATE jobs SET lease_expires_at = lease_expires_at WHERE id = (SELECT id FROM late) RETURNING id
)
SELECT coalesce((SELECT is_lost FROM late), false) AS is_lost, EXISTS (SELECT FROM late) AS is_found,
    EXISTS (SELECT FROM touched) AS is_written, row_security_active('jobs') AND NOT EXISTS (SELECT FROM jobs) AS are_hidden
"""


async def touch_late_lease(connection: Connection, *, as_of: datetime, late_seconds: float) -> bool:
    """Write the oldest of the leases that run out within `late_seconds`, as it is; whether it had run out. Raises if
    renewals are refused, LedgerRefuses if they are swallowed, or if row-level security hides all jobs."""
    query = {"as_of": as_of, "late_seconds": late_seconds}
    row = await (await connection.execute(_TOUCH, query)).fetchone()
    assert row is not None
    if row["are_hidden"] or (row["is_found"] and not row["is_written"]):
        raise LedgerRefuses(SWALLOWED)
    return bool(row["is_lost"])


@dataclass(frozen=True, kw_only=True)
class LostOwner:
    """A worker that was not heard of for a whole lease."""

    worker_id: UUID
    worker: str
    """Its name: that of its pod."""
    registered_at: datetime


_LOST_OWNERS = """
SELECT id AS worker_id, name AS worker, started_at AS registered_at FROM workers
WHERE id IN (SELECT worker_id FROM jobs WHERE state = 'running' AND lease_expires_at < %(as_of)s)
"""


async def read_lost_owners(connection: Connection, *, as_of: datetime) -> list[LostOwner]:
    """The workers that hold leases which had run out."""
    cursor = await connection.execute(_LOST_OWNERS, {"as_of": as_of})
    return [LostOwner(**row) for row in await cursor.fetchall()]


_NOT_HEARD_OF = "The worker that ran this job was not heard of for a whole lease."


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What someone who saw a worker go knows of it."""

    code: str = "lease_lost"
    message: str = _NOT_HEARD_OF
    evidence: dict[str, Any] = field(default_factory=dict)


async def reap(
    connection: Connection,
    *,
    as_of: datetime | None = None,
    losses: Mapping[UUID, Loss] | None = None,
    limit: int = 200,
) -> list[Written]:
    """End the attempts whose leases had run out `as_of` a time of `read_clock` (now, where none is given), as
    `lease_lost`, with what is known of their workers' `losses`. Safe to run twice at once: each is ended once."""
    known = losses or {}
    async with connection.transaction():
        cursor = await connection.execute(_EXPIRED, {"as_of": as_of, "limit": limit})
        ends = [_lost(row, known.get(row["worker_id"], Loss())) for row in await cursor.fetchall()]
        written = await end(connection, ends, expired_only=True) if ends else []
    return [one for one in written if one]


def _lost(row: dict[str, Any], loss: Loss) -> AttemptEnd:
    return AttemptEnd(
        lease=Lease(job_id=row["id"], epoch=row["epoch"]),
        ending=Ending.LEASE_LOST,
        transition=decide(Ending.LEASE_LOST, budget_of(row), jitter=0.0),
        error={"code": loss.code, "message": loss.message},
        evidence={"overdue_seconds": round(row["overdue_seconds"], 3), **loss.evidence},
    )
