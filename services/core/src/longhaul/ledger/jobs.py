"""Submit, read, list, cancel, replay, discard: what clients do to jobs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from longhaul.errors import LedgerRefuses
from longhaul.ledger.connection import Connection, dumps
from longhaul.results import StoredResult
from longhaul.states import PRIORITY_STEP_SECONDS, State

COLUMNS = """id, tenant, task, queue, priority, state, params, metadata, epoch, retries, retries_max, interruptions,
    max_interruptions, timeout_seconds, progress, progress_message, checkpointed_at, error, resolution, origin_id,
    cancel_requested_at, event_seq, created_at, updated_at, run_after, started_at, finished_at, webhook_url"""


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job to insert, with its task's limits as they are now."""

    id: UUID
    tenant: str
    submitted_by: str
    task: str
    queue: str
    priority: int
    params: Any
    metadata: Any
    retries_max: int
    max_interruptions: int
    timeout_seconds: float
    soft_timeout_seconds: float | None
    backoff_seconds: float
    backoff_max_seconds: float
    interruptible: bool
    run_after: datetime | None = None
    idempotency_key: str | None = None
    request_digest: str | None = None
    """SHA-256 of what was asked for, in hexadecimal: tells a repeat from a conflict under one idempotency key."""
    trace_context: str | None = None
    webhook_url: str | None = None
    """Is told when the job has ended."""


@dataclass(frozen=True)
class Submitted:
    """The answer to one submit: the job's row, and whether it was there before."""

    row: Mapping[str, Any]
    is_replay: bool = field(default=False)
    is_conflict: bool = field(default=False)
    """The idempotency key belongs to a job that was asked for with another body."""


def digest(request: object) -> str:
    """SHA-256 (hexadecimal) of a request's meaning: independent of the order of its keys."""
    return hashlib.sha256(orjson.dumps(request, option=orjson.OPT_SORT_KEYS)).hexdigest()


# Keeps: one job per (tenant, idempotency key); a job and its first event are there together or not at all. Sorted by
# key, so that two submits of the same keys never wait for each other in a circle. A `run_after` that has passed is now:
# it must not buy a place in the queue.
_INSERT = f"""
WITH inserted AS (
    INSERT INTO jobs (id, tenant, submitted_by, task, queue, priority, params, metadata, retries_max, max_interruptions,
        timeout_seconds, soft_timeout_seconds, backoff_seconds, backoff_max_seconds, interruptible, idempotency_key,
        request_digest, trace_context, webhook_url, state, event_seq, run_after, rank_at)
    SELECT id, tenant, submitted_by, task, queue, priority, params, metadata, retries_max, max_interruptions,
        timeout_seconds, soft_timeout_seconds, backoff_seconds, backoff_max_seconds, interruptible, idempotency_key,
        decode(request_digest, 'hex'), trace_context, webhook_url, 'queued', 1, greatest(run_after, now()),
        greatest(run_after, now()) - priority * interval '{PRIORITY_STEP_SECONDS} seconds'
    FROM json_to_recordset(%(jobs)s::json) AS new (id uuid, tenant text, submitted_by text, task text, queue text,
        priority smallint, params json, metadata json, retries_max integer, max_interruptions integer,
        timeout_seconds double precision, soft_timeout_seconds double precision, backoff_seconds double precision,
        backoff_max_seconds double precision, interruptible boolean, idempotency_key text, request_digest text,
        trace_context text, webhook_url text, run_after timestamptz)
    ORDER BY tenant, idempotency_key
    ON CONFLICT (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
    RETURNING {COLUMNS}
), event AS (
    INSERT INTO job_events (job_id, seq, type, epoch, data) SELECT id, 1, 'queued', 0, '{{}}' FROM inserted
)
SELECT * FROM inserted
"""  # noqa: S608 - only constants of this module are interpolated

# Keeps: a repeat is answered by what is committed for good. A lock is a write, so this waits for a synchronous standby as
# the insert did: one whose wait was given up is visible here, and would be lost in a failover.
_BY_KEY = f"""
SELECT {COLUMNS}, idempotency_key, encode(request_digest, 'hex') AS request_digest FROM jobs
WHERE (tenant, idempotency_key) IN (SELECT * FROM unnest(%(tenants)s::text[], %(keys)s::text[]))
FOR KEY SHARE
"""  # noqa: S608 - only constants of this module are interpolated


_TRIES = 20
"""Of a key that is neither free nor known. Retention can free it between two statements, but not so often in a row."""


async def submit(
    connection: Connection, jobs: Sequence[NewJob], *, answers: dict[UUID, Submitted] | None = None
) -> list[Submitted]:
    """Insert jobs, or find those that the same idempotency keys made before. Answers in the order of `jobs`.

    All of them are committed when this returns. `answers` is filled by the ids of `jobs` as they are committed: where an
    error is raised, it holds those that are. Raises LedgerRefuses if the database takes a job and does not keep it.
    """
    answers = {} if answers is None else answers
    left = list(jobs)
    for _ in range(_TRIES):
        cursor = await connection.execute(_INSERT, {"jobs": dumps([vars(job) for job in left])})
        answers.update((row["id"], Submitted(row)) for row in await cursor.fetchall())
        repeats = [job for job in left if job.id not in answers]
        if repeats:
            answers.update(await _find(connection, repeats))
        # A key that is neither free nor known was freed in between: retention deleted its job.
        left = [job for job in repeats if job.id not in answers]
        if not left:
            return [answers[job.id] for job in jobs]
        if any(job.idempotency_key is None for job in left):
            break  # nothing stood in its way: a trigger swallowed it
    raise LedgerRefuses


async def check_submits(connection: Connection) -> None:
    """Run the statement of a submit for no job, which writes nothing: it raises what every submit would meet now, such as
    a read-only database or a missing grant."""
    await connection.execute(_INSERT, {"jobs": "[]"})


async def _find(connection: Connection, repeats: Sequence[NewJob]) -> dict[UUID, Submitted]:
    """The jobs that the same idempotency keys made before, by the ids of their repeats."""
    query = {"tenants": [job.tenant for job in repeats], "keys": [job.idempotency_key for job in repeats]}
    cursor = await connection.execute(_BY_KEY, query)
    known = {(row["tenant"], row["idempotency_key"]): row for row in await cursor.fetchall()}
    found = {}
    for job in repeats:
        if row := known.get((job.tenant, job.idempotency_key)):
            same = row["request_digest"] == job.request_digest
            found[job.id] = Submitted(row, is_replay=same, is_conflict=not same)
    return found


_READ = f"SELECT {COLUMNS} FROM jobs WHERE id = ANY(%(ids)s)"  # noqa: S608 - only constants


async def read(connection: Connection, ids: Iterable[UUID]) -> dict[UUID, dict[str, Any]]:
    """The rows of these jobs, of whatever tenant; those that do not exist are missing from the answer."""
    cursor = await connection.execute(_READ, {"ids": list(ids)})
    return {row["id"]: row for row in await cursor.fetchall()}


_RESULT = """
SELECT tenant, state, result::text AS result, result_key, result_size, encode(result_sha256, 'hex') AS result_sha256
FROM jobs WHERE id = %s
"""


async def read_result(connection: Connection, id: UUID) -> dict[str, Any] | None:
    """`tenant`, `state` and `result` (JSON text, as it was written) of one job; `stored` says where the result is if it is not in the row."""
    row = await (await connection.execute(_RESULT, (id,))).fetchone()
    if row is None:
        return None
    key, size_bytes, sha256 = (row.pop(f"result_{name}") for name in ("key", "size", "sha256"))
    return row | {"stored": StoredResult(key=key, size_bytes=size_bytes, sha256=sha256) if key else None}


async def read_checkpoint(connection: Connection, id: UUID) -> dict[str, Any] | None:
    """The checkpoint that another attempt would resume: the fields of `longhaul.contract.CheckpointView`."""
    cursor = await connection.execute(
        "SELECT checkpointed_at AS saved_at, octet_length(checkpoint::text) AS size_bytes, checkpoint AS state"
        " FROM jobs WHERE id = %s AND checkpoint IS NOT NULL",
        (id,),
    )
    return await cursor.fetchone()


_LIST = f"""
SELECT {COLUMNS} FROM jobs
WHERE (%(tenant)s::text IS NULL OR tenant = %(tenant)s)
  AND (%(states)s::text[] IS NULL OR state = ANY(%(states)s))
  AND (%(task)s::text IS NULL OR task = %(task)s)
  AND (%(queue)s::text IS NULL OR queue = %(queue)s)
  AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR created_at < %(until)s)
  AND (%(before)s::uuid IS NULL OR id < %(before)s)
  AND (NOT %(dead_letters)s OR (state = 'dead' AND resolution IS NULL))
ORDER BY id DESC LIMIT %(limit)s
"""  # noqa: S608 - only constants of this module are interpolated


async def list_jobs(
    connection: Connection,
    *,
    tenant: str | None,
    states: Sequence[State] | None = None,
    task: str | None = None,
    queue: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    before: UUID | None = None,
    dead_letters: bool = False,
    limit: int = 50,
) -> list[dict[str, Any]]:
    """Jobs, newest first; `before` is the last id of the page before; `tenant` None means all."""
    query = {
        "tenant": tenant,
        "states": [str(state) for state in states] if states else None,
        "task": task,
        "queue": queue,
        "since": since,
        "until": until,
        "before": before,
        "dead_letters": dead_letters,
        "limit": limit,
    }
    cursor = await connection.execute(_LIST, query)
    return await cursor.fetchall()


# Keeps: a job that no attempt runs is cancelled at once; a running one is asked, once; a finished one stays as it is.
_CANCEL = f"""
WITH cancelled AS (
    UPDATE jobs SET
        state = CASE WHEN state = 'running' THEN state ELSE 'cancelled' END,
        finished_at = CASE WHEN state = 'running' THEN NULL ELSE now() END,
        cancel_requested_at = now(), updated_at = now(), event_seq = event_seq + 1
    WHERE id = %(id)s AND state IN ('waiting', 'queued', 'running') AND cancel_requested_at IS NULL
    RETURNING {COLUMNS}
), event AS (
    INSERT INTO job_events (job_id, seq, type, epoch, data)
    SELECT id, event_seq, CASE WHEN state = 'running' THEN 'cancel_requested' ELSE 'cancelled' END, epoch, '{{}}'
    FROM cancelled
)
SELECT * FROM cancelled
"""  # noqa: S608 - only constants of this module are interpolated


async def cancel(connection: Connection, id: UUID) -> dict[str, Any] | None:
    """Cancel a job, or ask its running attempt to stop. None where nothing changed: finished, or asked before."""
    cursor = await connection.execute(_CANCEL, {"id": id})
    return await cursor.fetchone()


# Keeps: the origin stays as it ended; its replay is a new job that points to it. A dead letter is replayed once. Locked
# in the order of their ids, so that two of these never wait for each other in a circle.
_REPLAY = f"""
WITH locked AS (
    SELECT id FROM jobs WHERE id = ANY(%(ids)s::uuid[]) ORDER BY id FOR UPDATE
), origin AS (
    UPDATE jobs SET resolution = 'replayed', updated_at = now()
    FROM unnest(%(ids)s::uuid[], %(new_ids)s::uuid[]) AS wanted (origin_id, new_id)
    WHERE id = wanted.origin_id AND id IN (SELECT id FROM locked) AND state IN ('failed', 'dead')
      AND (NOT %(dead_letters)s OR (state = 'dead' AND resolution IS NULL))
    RETURNING jobs.*, new_id
), inserted AS (
    INSERT INTO jobs (id, tenant, submitted_by, task, queue, priority, params, metadata, retries_max, max_interruptions,
        timeout_seconds, soft_timeout_seconds, backoff_seconds, backoff_max_seconds, interruptible, origin_id,
        trace_context, webhook_url, state, event_seq, run_after, rank_at)
    SELECT new_id, tenant, %(submitted_by)s, task, queue, priority, params, metadata, retries_max, max_interruptions,
        timeout_seconds, soft_timeout_seconds, backoff_seconds, backoff_max_seconds, interruptible, id,
        %(trace_context)s, webhook_url, 'queued', 1, now(), now() - priority * interval '{PRIORITY_STEP_SECONDS} seconds'
    FROM origin
    RETURNING {COLUMNS}
), event AS (
    INSERT INTO job_events (job_id, seq, type, epoch, data)
    SELECT id, 1, 'queued', 0, json_build_object('origin_id', origin_id) FROM inserted
)
SELECT * FROM inserted
"""  # noqa: S608 - only constants of this module are interpolated


async def replay(
    connection: Connection,
    new_ids: Mapping[UUID, UUID],
    *,
    submitted_by: str,
    trace_context: str | None,
    dead_letters: bool = False,
) -> list[dict[str, Any]]:
    """Submit failed or dead jobs again as new ones, `new_ids` by their origins. Returns the rows of the new jobs.

    What is neither failed nor dead is left out; with `dead_letters` also what is not in the dead-letter queue any more.
    """
    query = {
        "ids": list(new_ids),
        "new_ids": list(new_ids.values()),
        "submitted_by": submitted_by,
        "trace_context": trace_context,
        "dead_letters": dead_letters,
    }
    cursor = await connection.execute(_REPLAY, query)
    return await cursor.fetchall()


# Keeps: only what is in the dead-letter queue leaves it. Locked in the same order as above.
_DISCARD = """
WITH locked AS (
    SELECT id FROM jobs WHERE id = ANY(%(ids)s::uuid[]) ORDER BY id FOR UPDATE
)
UPDATE jobs SET resolution = 'discarded', updated_at = now()
WHERE id IN (SELECT id FROM locked) AND state = 'dead' AND resolution IS NULL RETURNING id
"""


async def discard(connection: Connection, ids: Sequence[UUID]) -> list[UUID]:
    """Take jobs out of the dead-letter queue for good. Returns those that were in it."""
    cursor = await connection.execute(_DISCARD, {"ids": list(ids)})
    return [row["id"] for row in await cursor.fetchall()]


def view(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `COLUMNS` as the API shows it: the fields of `longhaul.contract.JobView`."""
    return {
        "id": row["id"],
        "task": row["task"],
        "queue": row["queue"],
        "priority": row["priority"],
        "state": row["state"],
        "progress": {"fraction": round(row["progress"], 4), "message": row["progress_message"]},
        "attempt": row["epoch"],
        "retries": row["retries"],
        "retries_max": row["retries_max"],
        "interruptions": row["interruptions"],
        "cancel_requested": row["cancel_requested_at"] is not None,
        "timeout_seconds": row["timeout_seconds"],
        "params": row["params"],
        "metadata": row["metadata"],
        "error": row["error"],
        "resolution": row["resolution"],
        "origin_id": row["origin_id"],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "run_after": row["run_after"],
        "started_at": row["started_at"],
        "checkpointed_at": row["checkpointed_at"],
        "finished_at": row["finished_at"],
        "last_event_id": row["event_seq"],
        "webhook": row["webhook_url"],
    }
