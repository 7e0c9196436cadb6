"""What ended long ago leaves the ledger; what did not end, and dead letters that nobody resolved, never do."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from tests.integration.controller.conftest import lends
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer

from longhaul.ledger import events, jobs, workers
from longhaul.ledger.connection import Connection
from longhaul.ledger.workers import Worker
from longhaul.states import Ending
from longhaul_controller.retention import PurgeExpired

pytestmark = pytest.mark.anyio

DAY_SECONDS = 24 * 3600.0


async def aged(connection: Connection, id: UUID, seconds: float) -> UUID:
    """Let a job have ended that long ago."""
    await connection.execute(
        "UPDATE jobs SET finished_at = finished_at - make_interval(secs => %s) WHERE id = %s", (seconds, id)
    )
    return id


async def look(connection: Connection) -> None:
    await PurgeExpired(
        lends(connection), retention_seconds=DAY_SECONDS, worker_silence_seconds=3600, interval_seconds=60
    ).run()


async def test_what_ended_long_ago_is_deleted_with_its_history(connection: Connection) -> None:
    old = await aged(connection, await given.finished(connection, Ending.SUCCEEDED), DAY_SECONDS + 60)
    young = await aged(connection, await given.finished(connection, Ending.PERMANENT), DAY_SECONDS - 60)
    running, waiting = await given.queued(connection, 2)
    for id in (running, waiting):
        await given.waited(connection, id, 10 * DAY_SECONDS)
    await Claimer().claim_one(connection)
    await look(connection)
    assert set(await jobs.read(connection, [waiting, running, old, young])) == {waiting, running, young}
    assert await events.read(connection, old, after=0) == []
    assert len(await events.read(connection, young, after=0)) == 3


async def test_a_dead_letter_stays_until_it_is_resolved(connection: Connection) -> None:
    kept, discarded, replayed = [await aged(connection, await given.dead(connection), 9e6) for _ in range(3)]
    await jobs.discard(connection, [discarded])
    new = uuid4()
    await jobs.replay(connection, {replayed: new}, submitted_by="test", trace_context=None)
    await look(connection)
    assert set(await jobs.read(connection, [kept, discarded, replayed, new])) == {kept, new}


async def test_more_than_one_batch_is_deleted_at_one_look(connection: Connection) -> None:
    ids = await given.queued(connection, 1200)
    await connection.execute("UPDATE jobs SET state = 'cancelled', finished_at = now() - interval '2 days'")
    await look(connection)
    assert await jobs.read(connection, ids) == {}
    cursor = await connection.execute("SELECT count(*) AS events FROM job_events")
    assert await cursor.fetchone() == {"events": 0}


async def test_a_silent_worker_leaves_the_list_unless_it_holds_a_job(connection: Connection) -> None:
    silent, busy, heard = [Claimer(id=uuid4(), name=name) for name in ("silent", "busy", "heard")]
    for claimer in (silent, busy, heard):
        worker = Worker(id=claimer.id, name=claimer.name, pool="pool", queues=[given.QUEUE], slots=1, version="1")
        await workers.register(connection, worker)
    await given.queued(connection)
    await busy.claim_one(connection)
    await connection.execute("UPDATE workers SET seen_at = now() - interval '2 hours' WHERE name <> 'heard'")
    await look(connection)
    left = await workers.list_workers(connection, lease_seconds=15)
    assert [one["name"] for one in left] == ["busy", "heard"]
