"""Who gets which job: the best due one, within every limit, and each to one claimer only."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer
from tests.waiting import eventually

from longhaul.ids import new_job_id
from longhaul.ledger import jobs, leases, queues
from longhaul.ledger.claims import Claim
from longhaul.ledger.connection import Connection
from longhaul.states import PRIORITY_STEP_SECONDS, Ending

pytestmark = pytest.mark.anyio


async def test_a_claim_is_what_its_attempt_needs_to_know(connection: Connection) -> None:
    (id,) = await given.queued(
        connection,
        params={"rows": [1]},
        interruptible=True,
        soft_timeout_seconds=50.0,
        retries_max=7,
        trace_context="00-ab-cd-01",
    )
    await given.waited(connection, id, 90)
    claimer = Claimer(name="pod-7")
    claim = await claimer.claim_one(connection)
    row = await given.row(connection, id)
    assert (claim.job_id, claim.epoch, claim.tenant, claim.task, claim.queue) == (
        id,
        1,
        "acme",
        given.TASK,
        given.QUEUE,
    )
    assert (claim.params, claim.checkpoint, claim.trace_context) == ({"rows": [1]}, None, "00-ab-cd-01")
    assert (claim.timeout_seconds, claim.soft_timeout_seconds, claim.interruptible) == (60, 50, True)
    assert (claim.budget.retries, claim.budget.retries_max) == (0, 7)
    assert 90 <= claim.waited_seconds < 120
    assert (claim.event_seq, claim.claimed_at) == (2, row["started_at"])
    assert (row["state"], row["worker_id"], row["slot"]) == ("running", claimer.id, 0)
    assert row["lease_expires_at"] - row["started_at"] == timedelta(seconds=given.LEASE_SECONDS)


async def test_each_claim_is_a_new_epoch_and_finds_the_last_checkpoint(connection: Connection) -> None:
    (id,) = await given.queued(connection)
    claim = await Claimer().claim_one(connection)
    await leases.record(connection, [given.said(given.lease(claim), "checkpoint", checkpoint='{"row": 9}')])
    for epoch in range(2, 5):
        await given.ended(connection, claim, Ending.HANDED_OVER)
        claim = await Claimer().claim_one(connection)
        assert (claim.job_id, claim.epoch, claim.checkpoint) == (id, epoch, {"row": 9})


async def test_nothing_due_is_no_claim(connection: Connection) -> None:
    assert await Claimer().claim(connection, slots=3) == []
    assert await Claimer().claim(connection, queue="unknown") == []
    await given.queued(connection)
    assert await Claimer().claim(connection, slots=0) == []


async def test_fewer_jobs_than_slots_are_fewer_claims(connection: Connection) -> None:
    await given.queued(connection, 2)
    claims = await Claimer().claim(connection, slots=5)
    assert len(claims) == 2
    assert [(await given.row(connection, claim.job_id))["slot"] for claim in claims] == [0, 1]


async def test_priority_goes_before_age(connection: Connection) -> None:
    order = [(await given.queued(connection, priority=priority))[0] for priority in (0, -9, 9, 1, 0)]
    claims = await Claimer().claim(connection, slots=5)
    assert [claim.job_id for claim in claims] == [order[i] for i in (2, 3, 0, 4, 1)]


@pytest.mark.parametrize("steps", [1, 4, 18])
async def test_age_outweighs_priority_after_its_time(connection: Connection, steps: int) -> None:
    """Nothing starves: who waited a step's seconds longer for each step of priority goes first, and not before."""
    low, high = -9, -9 + steps
    (old,) = await given.queued(connection, priority=low)
    (urgent,) = await given.queued(connection, priority=high)
    await given.waited(connection, old, steps * PRIORITY_STEP_SECONDS - 30)
    async with connection.transaction(force_rollback=True):
        assert (await Claimer().claim_one(connection)).job_id == urgent
    await given.waited(connection, old, 60)
    assert (await Claimer().claim_one(connection)).job_id == old


async def test_a_delayed_job_waits_whatever_its_priority(connection: Connection) -> None:
    later = datetime.now(UTC) + timedelta(minutes=10)
    (delayed,) = await given.queued(connection, priority=9, run_after=later)
    (now,) = await given.queued(connection, priority=-9)
    assert [claim.job_id for claim in await Claimer().claim(connection, slots=2)] == [now]
    await given.waited(connection, delayed, 601)
    assert (await Claimer().claim_one(connection)).job_id == delayed


async def test_a_worker_gets_only_tasks_that_it_knows(connection: Connection) -> None:
    await given.queued(connection, task="other.work", priority=9)
    (known,) = await given.queued(connection)
    claims = await Claimer().claim(connection, slots=5)
    assert [claim.job_id for claim in claims] == [known]
    assert await Claimer(tasks=()).claim(connection) == []
    assert (await Claimer(tasks=("other.work", "third")).claim_one(connection)).task == "other.work"


async def test_a_worker_gets_only_jobs_of_the_queue_it_asks_for(connection: Connection) -> None:
    await queues.declare(connection, ["other"])
    await given.queued(connection, queue="other")
    assert await Claimer().claim(connection) == []
    assert (await Claimer().claim_one(connection, queue="other")).queue == "other"


async def test_a_paused_queue_starts_nothing_until_it_is_resumed(connection: Connection) -> None:
    await given.queued(connection)
    await queues.pause(connection, given.QUEUE, paused=True)
    assert await Claimer().claim(connection) == []
    await queues.pause(connection, given.QUEUE, paused=False)
    assert len(await Claimer().claim(connection)) == 1


async def test_a_queues_limit_holds_within_one_claim_too(connection: Connection) -> None:
    await given.limited_queue(connection, given.QUEUE, 3)
    await given.queued(connection, 10)
    claims = await Claimer().claim(connection, slots=5)
    assert len(claims) == 3
    assert await Claimer().claim(connection) == []
    await given.ended(connection, claims[0], Ending.SUCCEEDED)
    assert len(await Claimer().claim(connection, slots=5)) == 1
    await given.limited_queue(connection, given.QUEUE, None)
    assert len(await Claimer().claim(connection, slots=20)) == 6


async def test_a_task_at_its_limit_lets_others_pass(connection: Connection) -> None:
    await given.limited_task(connection, "scarce", 1)
    await given.queued(connection, 3, task="scarce", priority=9)
    (plain,) = await given.queued(connection)
    both = Claimer(tasks=("scarce", given.TASK))
    claims = await both.claim(connection, slots=4)
    assert [claim.task for claim in claims] == ["scarce", given.TASK]
    assert claims[1].job_id == plain


async def test_a_tasks_limit_counts_over_all_queues(connection: Connection) -> None:
    await queues.declare(connection, ["other"])
    await given.limited_task(connection, "scarce", 2)
    await given.queued(connection, 3, task="scarce")
    await given.queued(connection, 3, task="scarce", queue="other")
    one = Claimer(tasks=("scarce",))
    assert len(await one.claim(connection)) == 1
    assert len(await one.claim(connection, queue="other", slots=5)) == 1
    assert await one.claim(connection, slots=5) == []


async def test_a_worker_runs_one_suspect_at_once(connection: Connection) -> None:
    """A job that used up more than half of its interruptions may be what kills workers: two would be lost together."""
    suspects = await given.queued(connection, 2, max_interruptions=5)
    await connection.execute("UPDATE jobs SET interruptions = 3")
    others = await given.queued(connection, 2, max_interruptions=5)
    await connection.execute("UPDATE jobs SET interruptions = 2 WHERE id = %s", (others[0],))
    here = Claimer()
    claims = await here.claim(connection, slots=4)
    assert [claim.job_id for claim in claims] == [suspects[0], *others]
    elsewhere = Claimer(name="pod-2")
    second = await elsewhere.claim_one(connection)
    assert second.job_id == suspects[1]
    await given.ended(connection, second, Ending.HANDED_OVER)
    assert await here.claim(connection) == []
    await given.ended(connection, claims[0], Ending.SUCCEEDED)
    assert (await here.claim_one(connection)).job_id == suspects[1]


async def test_two_claimers_never_get_one_job(connection: Connection, connections: list[Connection]) -> None:
    ids = set()
    for _ in range(10):
        ids |= set(await given.queued(connection, 100))
    claims: list[Claim] = []

    async def take(own: Connection, slots: int) -> None:
        claimer = Claimer()
        while found := await claimer.claim(own, slots=slots):
            claims.extend(found)

    await asyncio.gather(*(take(own, slots) for own, slots in zip(connections, (1, 2, 3, 4, 1, 2, 3, 4), strict=False)))
    assert len(claims) == 1000
    assert {claim.job_id for claim in claims} == ids
    assert {claim.epoch for claim in claims} == {1}
    assert await given.count_running(connection) == 1000


async def test_limits_hold_under_many_claimers_at_once(connection: Connection, connections: list[Connection]) -> None:
    """Many rounds: ten claim and end at once, and at each moment when all are done, the count is looked at."""
    chance = random.Random(7)
    await given.limited_queue(connection, given.QUEUE, 6)
    await given.limited_task(connection, "scarce", 2)
    await given.limited_task(connection, "single", 1)
    tasks = ("scarce", "single", given.TASK)
    for task in tasks:
        await given.queued(connection, 250, task=task)
    running: list[Claim] = []
    seen: set[tuple[int, int]] = set()
    for _ in range(60):
        ending, running = running[: (cut := chance.randint(0, len(running)))], running[cut:]
        found = await asyncio.gather(
            *(Claimer(tasks=tasks).claim(own, slots=chance.randint(1, 3)) for own in connections[:8]),
            *(_end_all(own, ending[i::2]) for i, own in enumerate(connections[8:])),
        )
        running += [claim for claims in found for claim in claims]
        counts = {task: sum(claim.task == task for claim in running) for task in tasks}
        assert await given.count_running(connection) == len(running)
        assert len(running) <= 6
        assert counts["scarce"] <= 2
        assert counts["single"] <= 1
        seen.add((counts["scarce"], counts["single"]))
        chance.shuffle(running)
    assert (2, 1) in seen
    # With nobody else asking, what the limits leave open is given out to the last place.
    running += await Claimer(tasks=tasks).claim(connection, slots=10)
    assert len(running) == 6


@pytest.mark.parametrize("limited", ["queue", "task"])
async def test_the_last_place_goes_to_one_of_two_claimers(
    connection: Connection, connections: list[Connection], limited: str
) -> None:
    """The second one looks while the first one's claim is not committed yet, so that it can't see it."""
    if limited == "queue":
        await given.limited_queue(connection, given.QUEUE, 1)
    else:
        await given.limited_task(connection, given.TASK, 1)
    await given.queued(connection, 2)
    first, second = connections[:2]
    async with first.transaction():
        await Claimer().claim_one(first)
        other = asyncio.create_task(Claimer().claim(second))

        async def waits_or_has_claimed() -> bool:
            cursor = await connection.execute(
                "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
            )
            return other.done() or cursor.rowcount == 1

        await eventually(waits_or_has_claimed, what="the second claimer waits for its turn")
    assert await other == []


async def _end_all(own: Connection, claims: list[Claim]) -> list[Claim]:
    for claim in claims:
        assert await given.ended(own, claim, Ending.SUCCEEDED)
    return []


async def test_claimers_of_what_is_not_limited_do_not_wait_for_each_other(
    connection: Connection, connections: list[Connection]
) -> None:
    await given.queued(connection, 2)
    first, second = connections[:2]
    async with first.transaction():
        held = await Claimer().claim_one(first)
        async with asyncio.timeout(5):
            other = await Claimer().claim_one(second)
    assert held.job_id != other.job_id


async def test_a_claim_that_was_rolled_back_was_none(connection: Connection, connections: list[Connection]) -> None:
    (id,) = await given.queued(connection)
    async with connections[0].transaction(force_rollback=True):
        await Claimer().claim_one(connections[0])
        assert await Claimer().claim(connection) == []
    claim = await Claimer().claim_one(connection)
    assert (claim.job_id, claim.epoch) == (id, 1)


async def test_a_replay_starts_anew(connection: Connection) -> None:
    origin = await given.dead(connection)
    (replay,) = await jobs.replay(connection, {origin: new_job_id()}, submitted_by="test", trace_context=None)
    claim = await Claimer().claim_one(connection)
    assert (claim.job_id, claim.epoch, claim.checkpoint) == (replay["id"], 1, None)
    assert (claim.budget.retries, claim.budget.interruptions) == (0, 0)
