"""Queues: what is due in them, how they are, pause and resume, limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from longhaul.ledger.connection import Connection

# Jobs that a worker could claim now, by queue: a paused queue has none, a limit that is used up leaves none.
_DUE = """
WITH running AS (
    SELECT task, queue, count(*) AS jobs FROM jobs WHERE state = 'running' GROUP BY task, queue
), due_tasks AS (
    SELECT queue, task, count(*) AS jobs, min(run_after) AS oldest FROM jobs
    WHERE state = 'queued' AND run_after <= now() GROUP BY queue, task
), open_tasks AS (
    SELECT due_tasks.queue, least(due_tasks.jobs, coalesce(tasks.concurrency
        - (SELECT coalesce(sum(running.jobs), 0) FROM running WHERE running.task = due_tasks.task), due_tasks.jobs)) AS jobs
    FROM due_tasks LEFT JOIN tasks ON tasks.name = due_tasks.task
)
SELECT queues.name, greatest(0, least(coalesce(sum(greatest(open_tasks.jobs, 0)), 0), coalesce(queues.max_running
    - (SELECT coalesce(sum(running.jobs), 0) FROM running WHERE running.queue = queues.name),
    coalesce(sum(greatest(open_tasks.jobs, 0)), 0))))::bigint AS due,
    coalesce(extract(epoch FROM now() - (SELECT min(oldest) FROM due_tasks WHERE due_tasks.queue = queues.name)), 0)::float8
        AS oldest_wait_seconds
FROM queues LEFT JOIN open_tasks ON open_tasks.queue = queues.name AND queues.paused_at IS NULL
GROUP BY queues.name
"""


@dataclass(frozen=True)
class Due:
    """What waits in a queue."""

    jobs: int
    """That a worker could claim now."""
    oldest_wait_seconds: float
    """Of the job that is due for longest, also where its queue is paused or a limit holds it; 0 where none is due."""


async def read_due(connection: Connection) -> dict[str, Due]:
    """What waits in each queue."""
    cursor = await connection.execute(_DUE)
    return {row["name"]: Due(row["due"], row["oldest_wait_seconds"]) for row in await cursor.fetchall()}


async def count_due(connection: Connection) -> dict[str, int]:
    """How many jobs of each queue a worker could claim now."""
    return {name: due.jobs for name, due in (await read_due(connection)).items()}


# Seen means seen within one lease, the same measure that the reaper uses.
_HEALTH = """
SELECT queues.name, queues.paused_at IS NOT NULL AS paused, queues.max_running,
    coalesce(work.waiting, 0) AS waiting, coalesce(work.delayed, 0) AS delayed, coalesce(work.running, 0) AS running,
    coalesce(work.oldest_wait_seconds, 0)::float8 AS oldest_wait_seconds,
    coalesce(there.workers, 0) AS workers_online, coalesce(there.slots, 0) AS slots,
    coalesce(there.busy, 0) AS slots_busy
FROM queues
LEFT JOIN (
    SELECT queue, count(*) FILTER (WHERE state = 'queued' AND run_after <= now()) AS waiting,
        count(*) FILTER (WHERE state = 'queued' AND run_after > now()) AS delayed,
        count(*) FILTER (WHERE state = 'running') AS running,
        extract(epoch FROM max(now() - run_after) FILTER (WHERE state = 'queued' AND run_after <= now()))
            AS oldest_wait_seconds
    FROM jobs WHERE state = 'queued' OR state = 'running' GROUP BY queue
) AS work ON work.queue = queues.name
LEFT JOIN (
    SELECT queue, count(*) AS workers, sum(slots) AS slots, sum(busy) AS busy FROM (
        SELECT id, slots, unnest(queues) AS queue,
            (SELECT count(*) FROM jobs WHERE state = 'running' AND worker_id = workers.id) AS busy
        FROM workers WHERE seen_at > now() - make_interval(secs => %(lease_seconds)s) AND NOT draining
    ) AS served GROUP BY queue
) AS there ON there.queue = queues.name
WHERE %(name)s::text IS NULL OR queues.name = %(name)s
ORDER BY queues.name
"""


async def read(
    connection: Connection, *, lease_seconds: float, threshold: int, name: str | None = None
) -> list[dict[str, Any]]:
    """The queues with their figures: the fields of `longhaul.contract.QueueView`."""
    cursor = await connection.execute(_HEALTH, {"lease_seconds": lease_seconds, "name": name})
    return [_view(row, threshold) for row in await cursor.fetchall()]


def _view(row: dict[str, Any], threshold: int) -> dict[str, Any]:
    problems = []
    if row["waiting"] and not row["workers_online"] and not row["paused"]:
        problems.append("jobs wait, and no worker is online")
    if row["waiting"] > threshold:
        problems.append(f"more than {threshold} jobs wait")
    return {
        "name": row["name"],
        "paused": row["paused"],
        "max_running": row["max_running"],
        "waiting": row["waiting"],
        "delayed": row["delayed"],
        "running": row["running"],
        "oldest_wait_seconds": round(row["oldest_wait_seconds"], 3),
        "workers_online": row["workers_online"],
        "slots": int(row["slots"]),
        "slots_free": max(0, int(row["slots"]) - int(row["slots_busy"])),
        "threshold": threshold,
        "healthy": not problems,
        "problems": problems,
    }


async def read_names(connection: Connection) -> frozenset[str]:
    """The names of the queues that jobs may be sent to."""
    cursor = await connection.execute("SELECT name FROM queues")
    return frozenset(row["name"] for row in await cursor.fetchall())


async def declare(connection: Connection, names: Sequence[str]) -> None:
    """Make queues known: jobs may be sent to those that a task or a worker names."""
    await connection.execute(
        "INSERT INTO queues (name) SELECT unnest(%s::text[]) ON CONFLICT (name) DO NOTHING", (sorted(set(names)),)
    )


async def pause(connection: Connection, name: str, *, paused: bool) -> bool:
    """Pause or resume a queue: jobs that run go on, none is started. False where there is no such queue."""
    cursor = await connection.execute(
        "UPDATE queues SET paused_at = CASE WHEN %s THEN coalesce(paused_at, now()) END WHERE name = %s", (paused, name)
    )
    return cursor.rowcount == 1


async def limit(connection: Connection, name: str, *, max_running: int | None) -> bool:
    """Let at most so many jobs of a queue run at once (None: no limit). False where there is no such queue."""
    cursor = await connection.execute("UPDATE queues SET max_running = %s WHERE name = %s", (max_running, name))
    return cursor.rowcount == 1


_RUNNING_BY_POOL = """
SELECT workers.pool, coalesce(array_agg(jobs.id::text) FILTER (WHERE jobs.id IS NOT NULL), '{}') AS job_ids
FROM workers LEFT JOIN jobs ON jobs.worker_id = workers.id AND jobs.state = 'running' AND NOT workers.draining
GROUP BY workers.pool
"""


async def read_running_by_pool(connection: Connection) -> dict[str, list[str]]:
    """The jobs that run on each pool's pods, less those on pods that are going: they need no replica in their place."""
    cursor = await connection.execute(_RUNNING_BY_POOL)
    return {row["pool"]: row["job_ids"] for row in await cursor.fetchall()}
