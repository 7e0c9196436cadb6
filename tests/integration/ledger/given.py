"""Work as the tests of the ledger and of the controller put it there, and the workers that take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from longhaul.ids import new_job_id
from longhaul.ledger import catalogue, claims, jobs, leases, queues, reaping
from longhaul.ledger.claims import Claim
from longhaul.ledger.connection import Connection
from longhaul.ledger.jobs import NewJob
from longhaul.ledger.leases import AttemptEnd, Lease, Note, Record, Written
from longhaul.states import Budget, Ending, decide
from longhaul.task import TaskSpec

QUEUE = "work"
TASK = "test.work"
LEASE_SECONDS = 15.0
DEFAULTS: Mapping[str, Any] = {
    "tenant": "acme",
    "submitted_by": "test",
    "task": TASK,
    "queue": QUEUE,
    "priority": 0,
    "params": {"rows": 3},
    "metadata": {},
    "retries_max": 3,
    "max_interruptions": 5,
    "timeout_seconds": 60.0,
    "soft_timeout_seconds": None,
    "backoff_seconds": 2.0,
    "backoff_max_seconds": 600.0,
    "interruptible": False,
}

SWALLOWS = """
CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER swallow BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION swallow();
"""
"""Of a ledger that takes writes to jobs and does not carry them out."""


def new_job(**facts: Any) -> NewJob:
    """A job to submit; `facts` replace the defaults."""
    return NewJob(**{"id": new_job_id(), **DEFAULTS, **facts})


async def queued(connection: Connection, count: int = 1, **facts: Any) -> list[UUID]:
    """Submit `count` jobs and return their ids, oldest first."""
    new = [new_job(**facts) for _ in range(count)]
    await jobs.submit(connection, new)
    return [job.id for job in new]


async def waited(connection: Connection, id: UUID, seconds: float) -> None:
    """Let a job have been submitted that much earlier."""
    await connection.execute(
        "UPDATE jobs SET created_at = created_at - age, run_after = run_after - age, rank_at = rank_at - age"
        " FROM make_interval(secs => %s) AS age WHERE id = %s",
        (seconds, id),
    )


async def expired(connection: Connection, *ids: UUID) -> None:
    """Let the leases of running jobs have run out."""
    await connection.execute(
        "UPDATE jobs SET lease_expires_at = now() - interval '1 second' WHERE id = ANY(%s) AND state = 'running'",
        (list(ids),),
    )


async def due(connection: Connection, *ids: UUID) -> None:
    """Let jobs that wait for a later time be due now."""
    await connection.execute("UPDATE jobs SET run_after = now() WHERE id = ANY(%s) AND state = 'queued'", (list(ids),))


async def limited_task(connection: Connection, name: str, concurrency: int | None, *, queue: str = QUEUE) -> None:
    """Publish a task with a concurrency limit."""
    await catalogue.publish(
        connection, [TaskSpec(name=name, queue=queue, concurrency=concurrency)], registered_by="test"
    )


async def limited_queue(connection: Connection, name: str, max_running: int | None) -> None:
    """Make a queue known, with a limit."""
    await queues.declare(connection, [name])
    await queues.limit(connection, name, max_running=max_running)


async def row(connection: Connection, id: UUID) -> dict[str, Any]:
    """All columns of a job."""
    cursor = await connection.execute("SELECT * FROM jobs WHERE id = %s", (id,))
    found = await cursor.fetchone()
    assert found is not None
    return found


async def state(connection: Connection, id: UUID) -> str:
    """The state of a job."""
    return str((await row(connection, id))["state"])


async def count_running(connection: Connection) -> int:
    cursor = await connection.execute("SELECT count(*) AS jobs FROM jobs WHERE state = 'running'")
    found = await cursor.fetchone()
    assert found is not None
    return int(found["jobs"])


@dataclass(frozen=True)
class Claimer:
    """A worker as the ledger sees it."""

    id: UUID = field(default_factory=uuid4)
    name: str = "pod-1"
    tasks: Sequence[str] = (TASK,)

    async def claim(
        self, connection: Connection, *, queue: str = QUEUE, slots: int = 1, lease_seconds: float = LEASE_SECONDS
    ) -> list[Claim]:
        """Claim for so many free slots."""
        return await claims.claim(
            connection,
            queue=queue,
            slots=range(slots),
            tasks=self.tasks,
            worker_id=self.id,
            worker=self.name,
            lease_seconds=lease_seconds,
        )

    async def claim_one(self, connection: Connection, *, queue: str = QUEUE) -> Claim:
        """Claim the job that must be there."""
        (claim,) = await self.claim(connection, queue=queue)
        return claim

    async def renew(self, connection: Connection, *held: Lease) -> dict[UUID, bool]:
        return await leases.renew(connection, held, worker_id=self.id, lease_seconds=LEASE_SECONDS)


async def running(connection: Connection, **facts: Any) -> tuple[Claimer, Claim]:
    """A job that runs, and who claimed it."""
    await queued(connection, **facts)
    claimer = Claimer()
    return claimer, await claimer.claim_one(connection)


async def reaped(connection: Connection, claim: Claim) -> None:
    """Let a job have been taken from its owner."""
    await expired(connection, claim.job_id)
    assert [one.job_id for one in await reaping.reap(connection)] == [claim.job_id]


def lease(claim: Claim) -> Lease:
    return Lease(job_id=claim.job_id, epoch=claim.epoch)


def said(lease: Lease, *types: str, **facts: Any) -> Record:
    """What a running job said: a note of each type."""
    return Record(lease=lease, notes=[Note(type=type, data={"number": i}) for i, type in enumerate(types)], **facts)


def attempt_end(lease: Lease, budget: Budget, ending: Ending, *, delay_seconds: float | None = 0.0) -> AttemptEnd:
    """The end that a keeper would commit. A retry is due at once unless `delay_seconds` says otherwise."""
    failed = ending not in (Ending.SUCCEEDED, Ending.CANCELLED, Ending.HANDED_OVER)
    return AttemptEnd(
        lease=lease,
        ending=ending,
        transition=decide(ending, budget, jitter=0.5, delay_seconds=delay_seconds),
        result='{"total": 6}' if ending is Ending.SUCCEEDED else None,
        error={"code": str(ending), "message": f"It ended as {ending}."} if failed else None,
    )


async def ended(
    connection: Connection, claim: Claim, ending: Ending, *, delay_seconds: float | None = 0.0
) -> Written | None:
    """End an attempt; None where the ledger refused."""
    (written,) = await leases.end(
        connection, [attempt_end(lease(claim), claim.budget, ending, delay_seconds=delay_seconds)]
    )
    return written


async def finished(connection: Connection, ending: Ending, **facts: Any) -> UUID:
    """A job whose only attempt ended so. It is made so old that it is the first to be claimed."""
    (id,) = await queued(connection, **facts)
    await waited(connection, id, 24 * 3600)
    claimer = Claimer(tasks=(facts.get("task", TASK),))
    claim = await claimer.claim_one(connection, queue=facts.get("queue", QUEUE))
    assert claim.job_id == id
    assert await ended(connection, claim, ending)
    return id


async def dead(connection: Connection, **facts: Any) -> UUID:
    """A job in the dead-letter queue."""
    return await finished(connection, Ending.TRANSIENT, **{"retries_max": 0, **facts})
