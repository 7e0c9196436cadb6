"""What the ledger recorded of jobs: their waits, their work, and what was interrupted."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer

from longhaul.ledger import jobs, leases
from longhaul.ledger.connection import Connection, read_clock
from longhaul.ledger.history import Recorded, read_recorded
from longhaul.states import Ending, State

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)


async def recorded(connection: Connection, *, queue: str | None = None, batch: int = 1000) -> dict[UUID, Recorded]:
    """All that was submitted lately, by id."""
    now = await read_clock(connection)
    found = read_recorded(connection, since=now - DAY, until=now + DAY, queue=queue, batch=batch)
    return {one.job_id: one async for one in found}


async def worked(connection: Connection, id: UUID, epoch: int, *, began: float, took: float) -> None:
    """Let an attempt have begun so many seconds ago, and have taken so long."""
    for types, ago in ((["started"], began), (["succeeded", "interrupted", "retrying"], began - took)):
        await connection.execute(
            "UPDATE job_events SET at = now() - make_interval(secs => %s)"
            " WHERE job_id = %s AND epoch = %s AND type = ANY(%s)",
            (ago, id, epoch, types),
        )


async def test_a_job_is_recorded_with_its_wait_and_its_work(connection: Connection) -> None:
    (id,) = await given.queued(connection, priority=2)
    await given.waited(connection, id, 500)
    claim = await Claimer().claim_one(connection)
    assert await given.ended(connection, claim, Ending.SUCCEEDED)
    await worked(connection, id, 1, began=400, took=120)
    one = (await recorded(connection))[id]
    assert (one.task, one.queue, one.priority, one.attempts) == (given.TASK, given.QUEUE, 2, 1)
    assert one.state is State.SUCCEEDED
    assert one.has_ended
    assert one.wait_seconds == pytest.approx(100, abs=5)
    assert one.run_seconds == one.busy_seconds == pytest.approx(120, abs=1)
    assert (one.interrupted, one.checkpoints) == (0, 0)


async def test_an_interrupted_job_keeps_the_time_when_it_was_due(connection: Connection) -> None:
    (id,) = await given.queued(connection, interruptible=True)
    await given.waited(connection, id, 1000)
    claim = await Claimer().claim_one(connection)
    await leases.record(connection, [given.said(given.lease(claim), "checkpoint", "log", "checkpoint")])
    assert await given.ended(connection, claim, Ending.HANDED_OVER)
    between = (await recorded(connection))[id]
    assert (between.state, between.interrupted, between.checkpoints) == (State.QUEUED, 1, 2)
    claim = await Claimer().claim_one(connection)
    running = (await recorded(connection))[id]
    assert running.busy_seconds is None
    assert not running.has_ended
    assert await given.ended(connection, claim, Ending.SUCCEEDED)
    await worked(connection, id, 1, began=900, took=300)
    await worked(connection, id, 2, began=500, took=50)
    one = (await recorded(connection))[id]
    assert (one.attempts, one.interrupted) == (2, 1)
    assert one.wait_seconds == pytest.approx(100, abs=5)
    assert one.run_seconds == pytest.approx(50, abs=1)
    assert one.busy_seconds == pytest.approx(350, abs=1)


async def test_a_retried_job_is_due_from_its_submit(connection: Connection) -> None:
    (id,) = await given.queued(connection)
    await given.waited(connection, id, 60)
    claim = await Claimer().claim_one(connection)
    assert await given.ended(connection, claim, Ending.TRANSIENT, delay_seconds=30)
    one = (await recorded(connection))[id]
    assert (one.attempts, one.interrupted, one.state) == (1, 0, State.QUEUED)
    assert one.wait_seconds == pytest.approx(60, abs=5)


async def test_a_delay_is_no_wait(connection: Connection) -> None:
    now = await read_clock(connection)
    (id,) = await given.queued(connection, run_after=now + timedelta(hours=1))
    one = (await recorded(connection))[id]
    assert one.due_at == now + timedelta(hours=1)
    assert (one.started_at, one.wait_seconds, one.run_seconds, one.attempts) == (None, None, None, 0)


async def test_a_cancel_between_two_attempts_is_no_end_of_an_attempt(connection: Connection) -> None:
    (id,) = await given.queued(connection)
    claim = await Claimer().claim_one(connection)
    assert await given.ended(connection, claim, Ending.TRANSIENT, delay_seconds=3600)
    await worked(connection, id, 1, began=100, took=10)
    assert await jobs.cancel(connection, id)
    one = (await recorded(connection))[id]
    assert one.state is State.CANCELLED
    assert one.busy_seconds == pytest.approx(10, abs=1)


async def test_pages_miss_and_repeat_nothing(connection: Connection) -> None:
    ids = await given.queued(connection, 25)
    for batch in (1, 5, 7, 25, 100):
        assert list(await recorded(connection, batch=batch)) == ids
    assert await recorded(connection, queue="other") == {}


async def test_only_what_was_submitted_in_the_time_is_read(connection: Connection) -> None:
    old, new = await given.queued(connection, 2)
    await given.waited(connection, old, 600)
    now = await read_clock(connection)
    middle = now - timedelta(seconds=300)
    assert [one.job_id async for one in read_recorded(connection, since=middle, until=now + DAY)] == [new]
    assert [one.job_id async for one in read_recorded(connection, since=middle - DAY, until=middle)] == [old]


@pytest.mark.parametrize("odd", [r"a\u0000b", r"\ud800"], ids=["NUL", "half a surrogate pair"])
async def test_an_odd_text_in_an_error_hides_no_job(connection: Connection, odd: str) -> None:
    ids = await given.queued(connection, 2)
    for _ in ids:
        assert await given.ended(connection, await Claimer().claim_one(connection), Ending.PERMANENT)
    await connection.execute(
        "UPDATE job_events SET data = %s::json WHERE job_id = %s AND type = 'failed'",
        (f'{{"ending":"permanent","error":{{"code":"task_failed","message":"{odd}"}}}}', ids[0]),
    )
    found = await recorded(connection)
    assert [found[id].busy_seconds is not None for id in ids] == [True, True]
    assert [found[id].attempts for id in ids] == [1, 1]
