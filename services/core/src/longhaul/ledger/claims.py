"""Claim: the one way from `queued` to `running`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from longhaul.ledger.connection import Connection
from longhaul.states import Budget


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A job that was claimed: what its attempt needs to know."""

    job_id: UUID
    epoch: int
    tenant: str
    task: str
    queue: str
    params: Any
    checkpoint: Any
    budget: Budget
    timeout_seconds: float
    soft_timeout_seconds: float | None
    interruptible: bool
    trace_context: str | None
    waited_seconds: float
    """From being due to this claim."""
    event_seq: int
    claimed_at: datetime


# Claimers of a limited task or queue take turns: two could otherwise count the same free place. Free where nothing is
# limited. A statement of its own, so that the claim's snapshot is taken after the wait.
_TAKE_TURNS = """
SELECT pg_advisory_xact_lock(hashtextextended(key, 0)) FROM (
    SELECT 'longhaul:queue:' || name AS key FROM queues WHERE name = %(queue)s AND max_running IS NOT NULL
    UNION ALL
    SELECT 'longhaul:task:' || name FROM tasks WHERE concurrency IS NOT NULL AND name = ANY(%(tasks)s)
    ORDER BY 1
) AS limits
"""

# Keeps: one owner per job (SKIP LOCKED), epoch + 1 at each claim, no claim past a limit or from a paused queue. And
# one suspect on a worker at most: a job that used up more than half of its interruptions may be what kills workers. A
# neighbour that was lost with one would else be lost with it again and again, until both are dead.
_CLAIM = """
WITH open AS (
    SELECT FROM queues WHERE name = %(queue)s AND paused_at IS NULL
    AND (max_running IS NULL OR max_running >
        (SELECT count(*) FROM jobs WHERE state = 'running' AND queue = %(queue)s))
), full_tasks AS (
    SELECT name FROM tasks WHERE concurrency IS NOT NULL AND name = ANY(%(tasks)s)
    AND concurrency <= (SELECT count(*) FROM jobs WHERE state = 'running' AND task = tasks.name)
), suspects AS (
    SELECT FROM jobs WHERE worker_id = %(worker_id)s AND state = 'running' AND interruptions * 2 > max_interruptions
), picked AS (
    SELECT id FROM jobs
    WHERE state = 'queued' AND queue = %(queue)s AND run_after <= now() AND task = ANY(%(tasks)s)
      AND task NOT IN (SELECT name FROM full_tasks) AND EXISTS (SELECT FROM open)
      AND (interruptions * 2 <= max_interruptions OR NOT EXISTS (SELECT FROM suspects))
    ORDER BY rank_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE jobs SET state = 'running', epoch = epoch + 1, worker_id = %(worker_id)s, slot = %(slot)s,
        lease_expires_at = now() + make_interval(secs => %(lease_seconds)s), started_at = now(), updated_at = now(),
        event_seq = event_seq + 1
    FROM picked WHERE jobs.id = picked.id
    RETURNING jobs.*
), event AS (
    INSERT INTO job_events (job_id, seq, type, epoch, data)
    SELECT id, event_seq, 'started', epoch, json_build_object('worker', %(worker)s::text) FROM claimed
)
SELECT id, epoch, tenant, task, queue, params, checkpoint, retries, retries_max, interruptions, max_interruptions,
    backoff_seconds, backoff_max_seconds, timeout_seconds, soft_timeout_seconds, interruptible, trace_context, event_seq,
    started_at, extract(epoch FROM started_at - run_after)::float8 AS waited_seconds
FROM claimed
"""


async def claim(
    connection: Connection,
    *,
    queue: str,
    slots: Sequence[int],
    tasks: Sequence[str],
    worker_id: UUID,
    worker: str,
    lease_seconds: float,
) -> list[Claim]:
    """Claim the best due jobs of a queue, at most one for each of `slots`, of the tasks that this worker has.

    Fewer come back where no more may start now. One round trip, one commit.
    """
    query = {
        "queue": queue,
        "tasks": list(tasks),
        "worker_id": worker_id,
        "worker": worker,
        "lease_seconds": lease_seconds,
    }
    async with connection.pipeline():  # what goes until its end is one transaction, as PostgreSQL has it
        await connection.execute(_TAKE_TURNS, query)
        cursors = [await connection.execute(_CLAIM, {**query, "slot": slot}) for slot in slots]
    rows = [row for cursor in cursors if (row := await cursor.fetchone())]
    return [
        Claim(
            job_id=row["id"],
            epoch=row["epoch"],
            tenant=row["tenant"],
            task=row["task"],
            queue=row["queue"],
            params=row["params"],
            checkpoint=row["checkpoint"],
            budget=budget_of(row),
            timeout_seconds=row["timeout_seconds"],
            soft_timeout_seconds=row["soft_timeout_seconds"],
            interruptible=row["interruptible"],
            trace_context=row["trace_context"],
            waited_seconds=max(0.0, row["waited_seconds"]),
            event_seq=row["event_seq"],
            claimed_at=row["started_at"],
        )
        for row in rows
    ]


def budget_of(row: Mapping[str, Any]) -> Budget:
    """What a row of `jobs` has left of its two budgets."""
    return Budget(
        retries=row["retries"],
        retries_max=row["retries_max"],
        interruptions=row["interruptions"],
        max_interruptions=row["max_interruptions"],
        backoff_seconds=row["backoff_seconds"],
        backoff_max_seconds=row["backoff_max_seconds"],
    )
