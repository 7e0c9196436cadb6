"""Webhooks: the outbox of ended jobs. A trigger fills it in the transaction that ends a job; see migration 0002."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from longhaul.ledger.connection import Connection, dumps

DeliveryState = Literal["waiting", "delivered", "failed"]


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One try to tell the end of a job, claimed: the job as it ended, and where to."""

    job_id: UUID
    url: str
    host: str
    tries: int
    """With this one."""
    tenant: str
    task: str
    queue: str
    state: str
    attempt: int
    metadata: Any
    """None where it is larger than `TOLD_BYTES_AT_MOST`; `error` too."""
    error: Any
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a try."""

    job_id: UUID
    tries: int
    """The try's number: a newer try's state is not touched."""
    state: DeliveryState
    delay_seconds: float = 0.0
    """Until the next try, where the state is `waiting`."""
    last_status: int | None = None
    last_error: str | None = None
    """A sentence for the job's owner."""


TOLD_BYTES_AT_MOST = 16 * 1024
"""Larger metadata and errors are left out: dozens of messages are in the leader's memory at once."""

# Keeps: a try has one owner (SKIP LOCKED), and is due again where its owner is not heard of while it holds it.
_CLAIM = f"""
WITH due AS (
    SELECT job_id FROM webhook_deliveries
    WHERE state = 'waiting' AND due_at <= now() AND host <> ALL(%(busy_hosts)s::text[])
    ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE webhook_deliveries SET tries = tries + 1, due_at = now() + make_interval(secs => %(hold_seconds)s)
    WHERE job_id IN (SELECT job_id FROM due) RETURNING job_id, host, tries
)
SELECT job_id, webhook_url AS url, host, tries, tenant, task, queue, state, epoch AS attempt,
    CASE WHEN octet_length(metadata::text) <= {TOLD_BYTES_AT_MOST} THEN metadata END AS metadata,
    CASE WHEN octet_length(error::text) <= {TOLD_BYTES_AT_MOST} THEN error END AS error,
    created_at, started_at, finished_at
FROM claimed JOIN jobs ON jobs.id = job_id
"""  # noqa: S608 - only constants of this module are interpolated


async def claim(
    connection: Connection, *, limit: int, hold_seconds: float, busy_hosts: Collection[str] = ()
) -> list[Delivery]:
    """Claim at most `limit` due tries for `hold_seconds`, the longest due first, none to these hosts."""
    query = {"limit": limit, "hold_seconds": hold_seconds, "busy_hosts": list(busy_hosts)}
    cursor = await connection.execute(_CLAIM, query)
    return [Delivery(**row) for row in await cursor.fetchall()]


# Keeps: only the newest try says how a delivery stands, and only while it waits.
_SETTLE = """
UPDATE webhook_deliveries AS delivery SET state = outcome.state,
    due_at = now() + make_interval(secs => outcome.delay_seconds),
    last_status = outcome.last_status, last_error = outcome.last_error,
    finished_at = CASE WHEN outcome.state = 'waiting' THEN NULL ELSE now() END
FROM json_to_recordset(%(outcomes)s::json) AS outcome (job_id uuid, tries integer, state text,
    delay_seconds double precision, last_status integer, last_error text)
WHERE delivery.job_id = outcome.job_id AND delivery.tries = outcome.tries AND delivery.state = 'waiting'
"""


async def settle(connection: Connection, outcomes: Sequence[Outcome]) -> None:
    """Write what became of tries. Those that were claimed anew meanwhile stay as they are."""
    await connection.execute(_SETTLE, {"outcomes": dumps([vars(one) for one in outcomes])})


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """How many deliveries wait for their first try, and how many for another."""

    first: int
    another: int


_COUNT = """
SELECT count(*) FILTER (WHERE tries = 0) AS first, count(*) FILTER (WHERE tries > 0) AS another
FROM webhook_deliveries WHERE state = 'waiting'
"""


async def count_waiting(connection: Connection) -> Waiting:
    """Deliveries that have a try before them; also those whose try is under way."""
    cursor = await connection.execute(_COUNT)
    row = await cursor.fetchone()
    assert row is not None
    return Waiting(**row)


_READ = """
SELECT webhook_url AS url, coalesce(delivery.state, 'pending') AS state, coalesce(tries, 0) AS tries, last_status,
    last_error, CASE WHEN delivery.state = 'waiting' THEN due_at END AS next_try_at, delivery.finished_at
FROM jobs LEFT JOIN webhook_deliveries AS delivery ON job_id = id WHERE id = %(job_id)s AND webhook_url IS NOT NULL
"""


async def read(connection: Connection, job_id: UUID) -> dict[str, Any] | None:
    """How a job's webhook stands: the fields of `longhaul.contract.WebhookView`. None where the job has none."""
    cursor = await connection.execute(_READ, {"job_id": job_id})
    return await cursor.fetchone()


# Keeps: the delivery's id, by which receivers drop repeats, is its job's.
_REDELIVER = """
UPDATE webhook_deliveries SET state = 'waiting', tries = 0, due_at = now(), finished_at = NULL WHERE job_id = %(job_id)s
"""


async def redeliver(connection: Connection, job_id: UUID) -> bool:
    """Begin again with the first try, now. False where nothing is to be told: no webhook, or the job has not ended."""
    cursor = await connection.execute(_REDELIVER, {"job_id": job_id})
    return cursor.rowcount == 1
