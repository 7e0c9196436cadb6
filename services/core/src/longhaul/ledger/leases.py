"""Renew, record, end: all that the owner of a job does between its claim and its end.

Every write here is conditional on the epoch and on `state = 'running'`, so a stale owner changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from longhaul.ledger.connection import Connection, Cursor, dumps
from longhaul.ledger.events import REPORTS
from longhaul.results import StoredResult
from longhaul.states import PRIORITY_STEP_SECONDS, Ending, State, Transition

SWALLOWED = "The database takes writes to `jobs` and does not carry them out: see its triggers, rules and policies."


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Who holds a job: enough to renew, to write under, and to end it."""

    job_id: UUID
    epoch: int


@dataclass(frozen=True, kw_only=True)
class Note:
    """One thing that a running job said."""

    type: str
    """`progress`, `log` or `checkpoint`."""
    data: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a running job said since the last write: notes in order, and the newest progress and checkpoint."""

    lease: Lease
    notes: Sequence[Note]
    """At least one."""
    progress: float | None = None
    progress_message: str | None = None
    checkpoint: str | None = None
    """JSON text, so that it is encoded once."""


@dataclass(frozen=True, kw_only=True)
class AttemptEnd:
    """How an attempt ended, with its evidence, and what that makes of the job."""

    lease: Lease
    ending: Ending
    transition: Transition
    result: str | None = None
    """JSON text."""
    stored: StoredResult | None = None
    """Where the result is instead, if it is too large for a row."""
    error: dict[str, Any] | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
    checkpoint: str | None = None
    """A checkpoint that was not written before (the database was away), as JSON text."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """An event that was committed: `longhaul.ledger.events.encode` turns it into what streams carry."""

    job_id: UUID
    seq: int
    type: str
    epoch: int
    at: datetime
    data: Any
    queue: str | None = None
    state: str | None = None


# Keeps: a lease is only prolonged by the owner of the epoch. `IS TRUE` keeps the
# planner from a join: it expects few jobs of a worker, so it loops, which is a million comparisons for 1,000 leases.
_RENEW = """
UPDATE jobs SET lease_expires_at = now() + make_interval(secs => %(lease_seconds)s)
WHERE worker_id = %(worker_id)s AND state = 'running'
  AND ((id, epoch) IN (SELECT * FROM unnest(%(ids)s::uuid[], %(epochs)s::bigint[]))) IS TRUE
RETURNING id, cancel_requested_at IS NOT NULL AS cancel_requested
"""


async def renew(
    connection: Connection, leases: Sequence[Lease], *, worker_id: UUID, lease_seconds: float
) -> dict[UUID, bool]:
    """Renew leases. Returns those that were renewed, each with whether its job was asked to cancel; of the others
    `find_lost` says whether they are lost."""
    query = {
        "ids": [lease.job_id for lease in leases],
        "epochs": [lease.epoch for lease in leases],
        "worker_id": worker_id,
        "lease_seconds": lease_seconds,
    }
    cursor = await connection.execute(_RENEW, query)
    return {row["id"]: row["cancel_requested"] for row in await cursor.fetchall()}


# Keeps: a lease is lost only if its job is seen to be another's, or over. A write that changed no row proves nothing: a
# trigger may have swallowed it. A job that is gone was purged, so it was over, unless row-level security hides it.
_FIND_LOST = """
SELECT lease.job_id, lease.epoch
FROM unnest(%(ids)s::uuid[], %(epochs)s::bigint[]) AS lease (job_id, epoch)
LEFT JOIN jobs ON jobs.id = lease.job_id
WHERE CASE WHEN jobs.id IS NULL THEN NOT row_security_active('jobs')
    ELSE jobs.state <> 'running' OR jobs.epoch <> lease.epoch
        OR jobs.worker_id <> coalesce(%(worker_id)s::uuid, jobs.worker_id) END
"""


async def find_lost(connection: Connection, leases: Sequence[Lease], *, worker_id: UUID | None = None) -> set[Lease]:
    """Which of these leases are lost, by what the ledger says about their jobs; with `worker_id` also those of another
    worker. For leases under which a write changed nothing: one that is not lost belongs to a ledger that takes writes
    and does not carry them out."""
    query = {
        "ids": [lease.job_id for lease in leases],
        "epochs": [lease.epoch for lease in leases],
        "worker_id": worker_id,
    }
    cursor = await connection.execute(_FIND_LOST, query)
    return {Lease(job_id=row["job_id"], epoch=row["epoch"]) for row in await cursor.fetchall()}


# Keeps: notes are numbered without gaps, and only the owner of the epoch writes them. The job's row is what is answered,
# whatever a trigger makes of the events.
_RECORD = """
WITH job AS (
    UPDATE jobs SET progress = coalesce(%(progress)s, progress), updated_at = now(),
        progress_message = coalesce(%(progress_message)s, progress_message),
        checkpoint = coalesce(%(checkpoint)s::json, checkpoint),
        checkpointed_at = CASE WHEN %(checkpoint)s::json IS NULL THEN checkpointed_at ELSE now() END,
        event_seq = event_seq + %(count)s
    WHERE id = %(job_id)s AND epoch = %(epoch)s AND state = 'running'
    RETURNING id, event_seq, epoch, updated_at
), event AS (
    INSERT INTO job_events (job_id, seq, type, epoch, data)
    SELECT job.id, job.event_seq - %(count)s + note.number, note.type, job.epoch, note.data::json
    FROM job, unnest(%(types)s::text[], %(data)s::text[]) WITH ORDINALITY AS note (type, data, number)
)
SELECT event_seq, updated_at AS at FROM job
"""


async def record(connection: Connection, records: Sequence[Record]) -> list[list[Written] | None]:
    """Write what running jobs said, each job's notes as one; None for a job that was not written: see `find_lost`."""
    cursors = await _execute_each(connection, _RECORD, [_record_query(one) for one in records])
    answers: list[list[Written] | None] = []
    for one, cursor in zip(records, cursors, strict=True):
        row = await cursor.fetchone()
        if row is None:
            answers.append(None)
            continue
        answers.append(
            [
                Written(
                    job_id=one.lease.job_id,
                    seq=seq,
                    type=note.type,
                    epoch=one.lease.epoch,
                    at=row["at"],
                    data=note.data,
                )
                for seq, note in enumerate(one.notes, row["event_seq"] - len(one.notes) + 1)
            ]
        )
    return answers


_COUNT_REPORTS = """
SELECT lease.job_id, lease.epoch, count(event.seq) AS reports
FROM unnest(%(ids)s::uuid[], %(epochs)s::bigint[]) AS lease (job_id, epoch)
JOIN job_events AS event ON event.job_id = lease.job_id AND event.epoch = lease.epoch AND event.type = ANY(%(types)s)
GROUP BY lease.job_id, lease.epoch
"""


async def count_reports(connection: Connection, leases: Sequence[Lease]) -> dict[Lease, int]:
    """How many events these attempts have reported so far; those that reported nothing are left out."""
    query = {
        "ids": [lease.job_id for lease in leases],
        "epochs": [lease.epoch for lease in leases],
        "types": sorted(REPORTS),
    }
    cursor = await connection.execute(_COUNT_REPORTS, query)
    return {Lease(job_id=row["job_id"], epoch=row["epoch"]): row["reports"] for row in await cursor.fetchall()}


async def _execute_each(connection: Connection, statement: str, queries: Sequence[dict[str, Any]]) -> list[Cursor]:
    """All in one round trip and one transaction."""
    if len(queries) == 1:
        return [await connection.execute(statement, queries[0])]  # the common case, at two thirds of a pipeline's cost
    async with connection.pipeline():
        return [await connection.execute(statement, query) for query in queries]


def _record_query(one: Record) -> dict[str, Any]:
    return {
        "job_id": one.lease.job_id,
        "epoch": one.lease.epoch,
        "progress": one.progress,
        "progress_message": one.progress_message,
        "checkpoint": one.checkpoint,
        "count": len(one.notes),
        "types": [note.type for note in one.notes],
        "data": [dumps(note.data) for note in one.notes],
    }


# Keeps: one end per attempt, only under its epoch; a job that someone cancelled meanwhile is not queued again. One that
# the platform interrupted is due anew, and keeps the place in the queue that its age gave it.
_END = f"""
WITH ended AS (
    UPDATE jobs SET
        state = CASE WHEN %(state)s = 'queued' AND cancel_requested_at IS NOT NULL THEN 'cancelled' ELSE %(state)s END,
        worker_id = NULL, slot = NULL, lease_expires_at = NULL,
        retries = retries + %(retries_used)s, interruptions = interruptions + %(interruptions_used)s,
        run_after = CASE WHEN %(state)s = 'queued' THEN now() + make_interval(secs => %(delay_seconds)s)
            ELSE run_after END,
        rank_at = CASE WHEN %(delay_seconds)s > 0 AND %(retries_used)s > 0
            THEN now() + make_interval(secs => %(delay_seconds)s) - priority * interval '{PRIORITY_STEP_SECONDS} seconds' ELSE rank_at END,
        result = %(result)s::json, result_key = %(result_key)s, result_size = %(result_size)s,
        result_sha256 = decode(%(result_sha256)s, 'hex'), error = coalesce(%(error)s::json, CASE WHEN %(state)s = 'succeeded' THEN NULL ELSE error END),
        progress = CASE WHEN %(state)s = 'succeeded' THEN 1 ELSE progress END,
        checkpoint = coalesce(%(checkpoint)s::json, checkpoint),
        checkpointed_at = CASE WHEN %(checkpoint)s::json IS NULL THEN checkpointed_at ELSE now() END,
        finished_at = CASE WHEN %(state)s <> 'queued' OR cancel_requested_at IS NOT NULL THEN now() END,
        updated_at = now(), event_seq = event_seq + 1
    WHERE id = %(job_id)s AND epoch = %(epoch)s AND state = 'running'
      AND (NOT %(expired_only)s OR lease_expires_at < now())
    RETURNING id, event_seq, epoch, state, queue, updated_at,
        CASE WHEN state = 'cancelled' THEN 'cancelled' ELSE %(event)s END AS type
), event AS (
    INSERT INTO job_events (job_id, seq, type, epoch, data)
    SELECT id, event_seq, type, epoch, %(data)s::json FROM ended
)
SELECT event_seq AS seq, type, updated_at AS at, state, queue FROM ended
"""  # noqa: S608 - only constants of this module are interpolated


async def end(
    connection: Connection, ends: Sequence[AttemptEnd], *, expired_only: bool = False
) -> list[Written | None]:
    """Commit the ends of attempts; None for an attempt of which nothing was written: see `find_lost`.

    `expired_only` (the reaper's) also asks that the lease has run out by the database's clock.
    """
    cursors = await _execute_each(connection, _END, [_end_query(one, expired_only) for one in ends])
    answers: list[Written | None] = []
    for one, cursor in zip(ends, cursors, strict=True):
        row = await cursor.fetchone()
        if row is None:
            answers.append(None)
            continue
        written = Written(
            job_id=one.lease.job_id,
            seq=row["seq"],
            type=row["type"],
            epoch=one.lease.epoch,
            at=row["at"],
            data=end_data(one),
            queue=row["queue"],
            state=row["state"],
        )
        answers.append(written)
    return answers


def end_data(one: AttemptEnd) -> dict[str, Any]:
    """What the event of an attempt's end says."""
    data: dict[str, Any] = {"ending": one.ending}
    if one.error:
        data["error"] = one.error
    if one.evidence:
        data["evidence"] = one.evidence
    if one.transition.state is State.QUEUED and one.transition.delay_seconds:
        data["retry_after_seconds"] = round(one.transition.delay_seconds, 3)
    return data


def _end_query(one: AttemptEnd, expired_only: bool) -> dict[str, Any]:
    return {
        "job_id": one.lease.job_id,
        "epoch": one.lease.epoch,
        "state": one.transition.state,
        "event": one.transition.event,
        "retries_used": one.transition.retries_used,
        "interruptions_used": one.transition.interruptions_used,
        "delay_seconds": one.transition.delay_seconds,
        "result": one.result,
        "result_key": one.stored and one.stored.key,
        "result_size": one.stored and one.stored.size_bytes,
        "result_sha256": one.stored and one.stored.sha256,
        "error": dumps(one.error) if one.error else None,
        "checkpoint": one.checkpoint,
        "data": dumps(end_data(one)),
        "expired_only": expired_only,
    }
