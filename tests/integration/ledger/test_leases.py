"""Only the owner of the epoch writes, and only while its attempt runs: renewals, reports and the end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from uuid import uuid4

import pytest
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer

from longhaul.ledger import events, jobs, leases, reaping
from longhaul.ledger.connection import Connection
from longhaul.ledger.leases import Lease
from longhaul.states import PRIORITY_STEP_SECONDS, Ending

pytestmark = pytest.mark.anyio


# Renew.


async def test_a_renewal_prolongs_what_is_still_held_and_tells_the_rest(connection: Connection) -> None:
    claimer, held = await given.running(connection)
    _, lost = await given.running(connection)
    await given.reaped(connection, lost)
    before = await given.row(connection, held.job_id)
    answer = await claimer.renew(
        connection,
        given.lease(held),
        given.lease(lost),
        Lease(job_id=uuid4(), epoch=1),
        Lease(job_id=held.job_id, epoch=2),
    )
    assert answer == {held.job_id: False}
    after = await given.row(connection, held.job_id)
    assert after["lease_expires_at"] > before["lease_expires_at"]
    assert {**after, "lease_expires_at": None} == {**before, "lease_expires_at": None}


async def test_a_renewal_of_nothing_is_nothing(connection: Connection) -> None:
    assert await Claimer().renew(connection) == {}


async def test_another_worker_renews_nothing(connection: Connection) -> None:
    _, claim = await given.running(connection)
    assert await Claimer().renew(connection, given.lease(claim)) == {}


async def test_an_older_epoch_renews_nothing(connection: Connection) -> None:
    claimer, old = await given.running(connection)
    await given.reaped(connection, old)
    new = await claimer.claim_one(connection)
    assert (new.job_id, new.epoch) == (old.job_id, 2)
    assert await claimer.renew(connection, given.lease(old)) == {}
    assert await claimer.renew(connection, given.lease(new)) == {new.job_id: False}


async def test_a_lease_that_ran_out_and_was_not_reaped_is_renewed(connection: Connection) -> None:
    """After an outage every lease is old: whoever still holds its job keeps it."""
    claimer, claim = await given.running(connection)
    await given.expired(connection, claim.job_id)
    assert await claimer.renew(connection, given.lease(claim)) == {claim.job_id: False}
    assert await reaping.reap(connection) == []


async def test_a_renewal_tells_of_a_cancel(connection: Connection) -> None:
    claimer, claim = await given.running(connection)
    await jobs.cancel(connection, claim.job_id)
    assert await claimer.renew(connection, given.lease(claim)) == {claim.job_id: True}


# Lose.


async def test_a_lease_is_lost_if_the_job_is_anothers_or_over_or_gone(connection: Connection) -> None:
    claimer, held = await given.running(connection)
    _, over = await given.running(connection)
    await given.ended(connection, over, Ending.SUCCEEDED)
    _, reaped = await given.running(connection)
    await given.reaped(connection, reaped)
    gone = Lease(job_id=uuid4(), epoch=1)
    leases_asked = [*map(given.lease, (held, over, reaped)), Lease(job_id=held.job_id, epoch=2), gone]
    assert await leases.find_lost(connection, leases_asked) == set(leases_asked[1:])
    assert await leases.find_lost(connection, leases_asked[:1], worker_id=claimer.id) == set()
    assert await leases.find_lost(connection, leases_asked[:1], worker_id=uuid4()) == set(leases_asked[:1])


async def test_a_lease_is_not_lost_because_its_job_can_not_be_seen(connection: Connection) -> None:
    """Row-level security hides rows from a role that is no owner; a row that is gone looks the same."""
    _, held = await given.running(connection)
    await connection.execute("ALTER TABLE jobs ENABLE ROW LEVEL SECURITY")
    async with connection.transaction(force_rollback=True):
        await connection.execute("CREATE ROLE sees_nothing; GRANT SELECT ON jobs TO sees_nothing")
        await connection.execute("SET LOCAL ROLE sees_nothing")
        assert await leases.find_lost(connection, [given.lease(held)]) == set()
    await connection.execute("ALTER TABLE jobs DISABLE ROW LEVEL SECURITY")


# Record.


async def test_what_a_job_says_is_numbered_and_kept(connection: Connection) -> None:
    _, claim = await given.running(connection)
    record = given.said(
        given.lease(claim),
        "progress",
        "log",
        "checkpoint",
        progress=0.25,
        progress_message="a quarter",
        checkpoint="[1]",
    )
    (written,) = await leases.record(connection, [record])
    assert written is not None
    assert [(one.seq, one.type, one.epoch, one.data) for one in written] == [
        (3, "progress", 1, {"number": 0}),
        (4, "log", 1, {"number": 1}),
        (5, "checkpoint", 1, {"number": 2}),
    ]
    row = await given.row(connection, claim.job_id)
    assert (row["progress"], row["progress_message"], row["checkpoint"], row["event_seq"]) == (
        0.25,
        "a quarter",
        [1],
        5,
    )
    assert row["checkpointed_at"] is not None
    (again,) = await leases.record(connection, [given.said(given.lease(claim), "log")])
    assert again is not None
    assert [one.seq for one in again] == [6]
    row = await given.row(connection, claim.job_id)
    assert (row["progress"], row["progress_message"], row["checkpoint"]) == (0.25, "a quarter", [1])
    history = await events.read(connection, claim.job_id, after=2)
    assert [(one["id"], one["at"], one["data"]) for one in history[:3]] == [
        (one.seq, one.at, one.data) for one in written
    ]


async def test_only_the_owners_of_a_batch_are_written(connection: Connection) -> None:
    claimer, old = await given.running(connection)
    await given.reaped(connection, old)
    new = await claimer.claim_one(connection)
    _, other = await given.running(connection)
    records = [
        given.said(given.lease(old), "log", checkpoint='"old"'),
        given.said(given.lease(other), "log"),
        given.said(given.lease(new), "log", "log"),
        given.said(Lease(job_id=uuid4(), epoch=1), "log"),
    ]
    answers = await leases.record(connection, records)
    assert [None if answer is None else [one.seq for one in answer] for answer in answers] == [None, [3], [5, 6], None]
    assert (await given.row(connection, old.job_id))["checkpoint"] is None


async def test_numbers_have_no_gap_however_many_write_at_once(
    connection: Connection, connections: list[Connection]
) -> None:
    """The owner reports while others cancel, and renew, and look for what expired."""
    claimer, claim = await given.running(connection)

    async def report(own: Connection, times: int) -> list[int]:
        seqs = []
        for i in range(times):
            (written,) = await leases.record(own, [given.said(given.lease(claim), *["log"] * (i % 3 + 1))])
            assert written is not None
            seqs += [one.seq for one in written]
        return seqs

    async def renew(own: Connection) -> list[int]:
        for _ in range(40):
            assert claim.job_id in await claimer.renew(own, given.lease(claim))
        return []

    async def cancel(own: Connection) -> list[int]:
        row = await jobs.cancel(own, claim.job_id)
        return [] if row is None else [row["event_seq"]]

    answers = await asyncio.gather(
        *(report(own, 30) for own in connections[:4]),
        *(cancel(own) for own in connections[4:8]),
        renew(connections[8]),
    )
    assert sum(map(len, answers[4:8])) == 1
    written = await given.ended(connection, claim, Ending.TRANSIENT)
    assert written is not None
    numbers = sorted(number for seqs in answers for number in seqs)
    assert numbers == list(range(3, written.seq))
    assert written.seq == (await given.row(connection, claim.job_id))["event_seq"]
    history = await events.read(connection, claim.job_id, after=0, limit=10_000)
    assert [one["id"] for one in history] == list(range(1, written.seq + 1))
    for seqs in answers[:4]:
        assert all(later > earlier for earlier, later in pairwise(seqs))


# End.


@pytest.mark.parametrize(
    ("ending", "state", "event", "retries", "interruptions"),
    [
        (Ending.SUCCEEDED, "succeeded", "succeeded", 0, 0),
        (Ending.PERMANENT, "failed", "failed", 0, 0),
        (Ending.CANCELLED, "cancelled", "cancelled", 0, 0),
        (Ending.TRANSIENT, "queued", "retrying", 1, 0),
        (Ending.TIMED_OUT, "queued", "retrying", 1, 0),
        (Ending.HANDED_OVER, "queued", "interrupted", 0, 0),
        (Ending.CRASHED, "queued", "interrupted", 0, 1),
        (Ending.LEASE_LOST, "queued", "interrupted", 0, 1),
    ],
)
async def test_an_end_makes_of_the_job_what_was_decided(
    connection: Connection, ending: Ending, state: str, event: str, retries: int, interruptions: int
) -> None:
    _, claim = await given.running(connection)
    end = replace(
        given.attempt_end(given.lease(claim), claim.budget, ending), evidence={"exit_code": 0}, checkpoint='{"row": 5}'
    )
    (written,) = await leases.end(connection, [end])
    assert written is not None
    row = await given.row(connection, claim.job_id)
    assert (row["state"], row["retries"], row["interruptions"]) == (state, retries, interruptions)
    assert (row["worker_id"], row["slot"], row["lease_expires_at"]) == (None, None, None)
    assert (row["finished_at"] is None) == (state == "queued")
    assert row["result"] == ({"total": 6} if state == "succeeded" else None)
    assert row["checkpoint"] == {"row": 5}
    assert (written.seq, written.type, written.state, written.queue) == (3, event, state, given.QUEUE)
    (stored,) = await events.read(connection, claim.job_id, after=2)
    assert (stored["type"], stored["attempt"], stored["data"]) == (event, 1, written.data)
    assert stored["data"]["ending"] == ending
    assert stored["data"]["evidence"] == {"exit_code": 0}


async def test_a_success_forgets_the_error_of_an_earlier_attempt(connection: Connection) -> None:
    claimer, claim = await given.running(connection)
    await given.ended(connection, claim, Ending.TRANSIENT)
    assert (await given.row(connection, claim.job_id))["error"]["code"] == "transient"
    again = await claimer.claim_one(connection)
    await given.ended(connection, again, Ending.SUCCEEDED)
    row = await given.row(connection, claim.job_id)
    assert (row["error"], row["progress"]) == (None, 1)


async def test_an_attempt_ends_once(connection: Connection, connections: list[Connection]) -> None:
    _, claim = await given.running(connection)
    answers = await asyncio.gather(*(given.ended(own, claim, Ending.SUCCEEDED) for own in connections))
    assert sum(answer is not None for answer in answers) == 1
    assert (await given.row(connection, claim.job_id))["event_seq"] == 3
    assert await given.ended(connection, claim, Ending.PERMANENT) is None


async def test_an_end_that_is_twice_in_a_batch_is_written_once(connection: Connection) -> None:
    _, claim = await given.running(connection)
    end = given.attempt_end(given.lease(claim), claim.budget, Ending.SUCCEEDED)
    first, second = await leases.end(connection, [end, end])
    assert first is not None
    assert second is None


async def test_a_late_end_after_the_reaper_is_refused(connection: Connection) -> None:
    claimer, late = await given.running(connection)
    await given.reaped(connection, late)
    assert await given.ended(connection, late, Ending.SUCCEEDED) is None
    new = await claimer.claim_one(connection)
    assert await given.ended(connection, late, Ending.SUCCEEDED) is None
    (written,) = await leases.record(connection, [given.said(given.lease(late), "log")])
    assert written is None
    row = await given.row(connection, new.job_id)
    assert (row["state"], row["epoch"], row["interruptions"], row["result"]) == ("running", 2, 1, None)
    assert await given.ended(connection, new, Ending.SUCCEEDED)


@pytest.mark.parametrize("ending", [Ending.TRANSIENT, Ending.TIMED_OUT, Ending.HANDED_OVER, Ending.CRASHED])
async def test_a_cancelled_job_is_not_queued_again(connection: Connection, ending: Ending) -> None:
    _, claim = await given.running(connection)
    await jobs.cancel(connection, claim.job_id)
    written = await given.ended(connection, claim, ending)
    assert written is not None
    assert (written.type, written.state) == ("cancelled", "cancelled")
    row = await given.row(connection, claim.job_id)
    assert (row["state"], row["finished_at"] is not None) == ("cancelled", True)


@pytest.mark.parametrize(("ending", "state"), [(Ending.SUCCEEDED, "succeeded"), (Ending.PERMANENT, "failed")])
async def test_a_job_that_ended_before_its_cancel_was_heard_stays_as_it_ended(
    connection: Connection, ending: Ending, state: str
) -> None:
    _, claim = await given.running(connection)
    await jobs.cancel(connection, claim.job_id)
    await given.ended(connection, claim, ending)
    assert (await given.row(connection, claim.job_id))["state"] == state


async def test_a_retry_waits_its_delay_and_then_stands_as_if_it_came_then(connection: Connection) -> None:
    claimer, claim = await given.running(connection, priority=2)
    await given.waited(connection, claim.job_id, 1000)
    written = await given.ended(connection, claim, Ending.TRANSIENT, delay_seconds=40)
    assert written is not None
    assert written.data["retry_after_seconds"] == 40
    assert await claimer.claim(connection) == []
    row = await given.row(connection, claim.job_id)
    assert (row["run_after"] - row["updated_at"]).total_seconds() == 40
    assert (row["run_after"] - row["rank_at"]).total_seconds() == 2 * PRIORITY_STEP_SECONDS


async def test_an_interrupted_job_is_due_now_and_keeps_its_place(connection: Connection) -> None:
    claimer, claim = await given.running(connection)
    await given.waited(connection, claim.job_id, 1000)
    rank = (await given.row(connection, claim.job_id))["rank_at"]
    (younger,) = await given.queued(connection)
    await given.ended(connection, claim, Ending.HANDED_OVER)
    assert (await given.row(connection, claim.job_id))["rank_at"] == rank
    again, other = await claimer.claim(connection, slots=2)
    assert (again.job_id, other.job_id) == (claim.job_id, younger)
    assert again.waited_seconds < 100  # since it was given back: the time before it ran is no waiting
