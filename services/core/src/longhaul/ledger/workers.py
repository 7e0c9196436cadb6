"""Workers: each keeper has a row while it lives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from longhaul.ledger import queues as ledger_queues
from longhaul.ledger.connection import Connection


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A keeper as others see it."""

    id: UUID
    """The pod's UID, or one of its own where there is no pod. A restarted keeper is another worker."""
    name: str
    pool: str
    queues: Sequence[str]
    slots: int
    version: str


async def register(connection: Connection, worker: Worker) -> None:
    """Announce a worker and the queues that it serves."""
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO workers (id, name, pool, queues, slots, version) VALUES (%s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (id) DO UPDATE SET seen_at = now(), draining = false",
            (worker.id, worker.name, worker.pool, list(worker.queues), worker.slots, worker.version),
        )
        await ledger_queues.declare(connection, worker.queues)


async def beat(connection: Connection, id: UUID, *, draining: bool) -> bool:
    """Say that a worker is there. False where its row is gone, so that it must register again."""
    cursor = await connection.execute("UPDATE workers SET seen_at = now(), draining = %s WHERE id = %s", (draining, id))
    return cursor.rowcount == 1


async def leave(connection: Connection, id: UUID) -> None:
    """Take a worker's row away: it holds no job any more."""
    await connection.execute("DELETE FROM workers WHERE id = %s", (id,))


# A worker that holds a job is never forgotten, since its jobs point to it.
_FORGET = """
DELETE FROM workers WHERE seen_at < now() - make_interval(secs => %(silent_seconds)s)
AND NOT EXISTS (SELECT FROM jobs WHERE state = 'running' AND worker_id = workers.id)
"""


async def forget(connection: Connection, *, silent_seconds: float) -> int:
    """Delete workers that were not heard of for so long and hold no job. Returns how many."""
    cursor = await connection.execute(_FORGET, {"silent_seconds": silent_seconds})
    return cursor.rowcount


_LIST = """
SELECT id, name, pool, queues, slots, version, draining, started_at, seen_at,
    seen_at > now() - make_interval(secs => %(lease_seconds)s) AS online,
    (SELECT count(*) FROM jobs WHERE state = 'running' AND worker_id = workers.id) AS running
FROM workers ORDER BY pool, name, started_at
"""


async def list_workers(connection: Connection, *, lease_seconds: float) -> list[dict[str, Any]]:
    """The workers, those too that were not heard of lately: the fields of `longhaul.contract.WorkerView`."""
    cursor = await connection.execute(_LIST, {"lease_seconds": lease_seconds})
    return await cursor.fetchall()


@dataclass(frozen=True, kw_only=True)
class Work:
    """What runs on a worker, and what would be lost with it."""

    worker: str
    """Its name: that of its pod."""
    lost_seconds: float
    """Since each attempt's start or, where its job can hand over, its last checkpoint; summed."""
    is_interruptible: bool
    """All of it can be handed over."""


# A keeper that restarted has two rows for a while: both stand for one pod.
_WORK = """
SELECT workers.name AS worker, bool_and(jobs.interruptible) AS is_interruptible,
    sum(greatest(0, extract(epoch FROM now() - CASE WHEN jobs.interruptible
        THEN greatest(jobs.started_at, jobs.checkpointed_at) ELSE jobs.started_at END)))::float8 AS lost_seconds
FROM jobs JOIN workers ON workers.id = jobs.worker_id WHERE jobs.state = 'running' GROUP BY workers.name
"""


async def read_work(connection: Connection) -> list[Work]:
    """The workers that run something."""
    cursor = await connection.execute(_WORK)
    return [Work(**row) for row in await cursor.fetchall()]
