"""The reaper: jobs whose owner was not heard of for a lease go on elsewhere, once, with what is known of it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer

from longhaul.errors import LedgerRefuses
from longhaul.ledger import jobs, reaping
from longhaul.ledger.connection import Connection, read_clock

pytestmark = pytest.mark.anyio


async def test_the_reaper_ends_what_expired_and_nothing_else(connection: Connection) -> None:
    _, live = await given.running(connection)
    _, lost = await given.running(connection)
    await given.queued(connection)
    await given.expired(connection, lost.job_id)
    (written,) = await reaping.reap(connection)
    assert (written.job_id, written.type, written.state, written.queue) == (
        lost.job_id,
        "interrupted",
        "queued",
        given.QUEUE,
    )
    assert written.data["evidence"]["overdue_seconds"] >= 1
    row = await given.row(connection, lost.job_id)
    assert (row["interruptions"], row["retries"], row["error"]["code"]) == (1, 0, "lease_lost")
    assert (await given.row(connection, live.job_id))["state"] == "running"
    assert await reaping.reap(connection) == []


async def test_a_job_that_keeps_losing_its_owner_becomes_a_dead_letter_with_its_evidence(
    connection: Connection,
) -> None:
    claimer, claim = await given.running(connection, max_interruptions=2)
    for _ in range(2):
        await given.reaped(connection, claim)
        await given.due(connection, claim.job_id)
        claim = await claimer.claim_one(connection)
    await given.expired(connection, claim.job_id)
    (written,) = await reaping.reap(connection)
    assert (written.type, written.state) == ("dead", "dead")
    row = await given.row(connection, claim.job_id)
    assert (row["state"], row["interruptions"], row["error"]["code"]) == ("dead", 3, "lease_lost")
    assert [one["id"] for one in await jobs.list_jobs(connection, tenant=None, dead_letters=True)] == [claim.job_id]


async def test_a_job_that_is_lost_again_waits_longer_each_time(connection: Connection) -> None:
    claimer, claim = await given.running(connection, backoff_seconds=40.0, backoff_max_seconds=100.0)
    waits = []
    for _ in range(4):
        await given.reaped(connection, claim)
        row = await given.row(connection, claim.job_id)
        waits.append((row["run_after"] - row["updated_at"]).total_seconds())
        await given.due(connection, claim.job_id)
        claim = await claimer.claim_one(connection)
    assert waits == [0, 20, 40, 50]  # half of the backoff, which the jitter of others may double


async def test_what_is_known_of_a_lost_worker_is_told_of_its_jobs(connection: Connection) -> None:
    claimer, claim = await given.running(connection)
    (other,) = await given.queued(connection)
    elsewhere = await Claimer(name="pod-2").claim_one(connection)
    assert elsewhere.job_id == other
    await given.expired(connection, claim.job_id, other)
    loss = reaping.Loss(code="out_of_memory", message="Killed.", evidence={"oom_killed": True, "exit_code": 137})
    written = {one.job_id: one for one in await reaping.reap(connection, losses={claimer.id: loss})}
    known, unknown = written[claim.job_id].data, written[other].data
    assert known["error"] == {"code": "out_of_memory", "message": "Killed."}
    assert (known["evidence"]["oom_killed"], known["evidence"]["exit_code"]) == (True, 137)
    assert known["evidence"]["overdue_seconds"] >= 1
    assert (unknown["error"]["code"], list(unknown["evidence"])) == ("lease_lost", ["overdue_seconds"])


async def test_a_lost_lease_is_touched_as_it_is(connection: Connection) -> None:
    """What the reaper writes before it reaps, without a change."""
    _, live = await given.running(connection)
    assert not await reaping.touch_late_lease(connection, as_of=await read_clock(connection), late_seconds=0)
    _, lost = await given.running(connection)
    await given.expired(connection, lost.job_id)
    before = [await given.row(connection, claim.job_id) for claim in (live, lost)]
    assert await reaping.touch_late_lease(connection, as_of=await read_clock(connection), late_seconds=0)
    assert [await given.row(connection, claim.job_id) for claim in (live, lost)] == before
    earlier = await read_clock(connection) - timedelta(minutes=1)
    assert not await reaping.touch_late_lease(connection, as_of=earlier, late_seconds=0)


async def test_renewals_that_are_swallowed_show_before_a_lease_has_run_out(connection: Connection) -> None:
    """Or a trigger that goes just then would let the reaper take jobs whose owners are alive."""
    await given.running(connection)
    async with connection.transaction(force_rollback=True):
        await connection.execute(given.SWALLOWS)
        as_of = await read_clock(connection)
        assert not await reaping.touch_late_lease(connection, as_of=as_of, late_seconds=1)
        with pytest.raises(LedgerRefuses):
            await reaping.touch_late_lease(connection, as_of=as_of, late_seconds=given.LEASE_SECONDS + 1)


async def test_the_reaper_cancels_what_was_to_be_cancelled(connection: Connection) -> None:
    _, claim = await given.running(connection)
    await jobs.cancel(connection, claim.job_id)
    await given.expired(connection, claim.job_id)
    (written,) = await reaping.reap(connection)
    assert (written.type, written.state) == ("cancelled", "cancelled")


@pytest.mark.fault("F28")
async def test_many_reapers_at_once_end_each_attempt_once(
    connection: Connection, connections: list[Connection]
) -> None:
    await given.queued(connection, 100)
    claims = await Claimer().claim(connection, slots=100)
    await given.expired(connection, *(claim.job_id for claim in claims))
    found: list[Any] = []
    while some := await asyncio.gather(*(reaping.reap(own, limit=7) for own in connections)):
        if not any(some):
            break
        found += [written.job_id for one in some for written in one]
    assert sorted(found) == sorted(claim.job_id for claim in claims)


async def test_the_reaper_leaves_what_is_renewed_at_the_same_moment(
    connection: Connection, connections: list[Connection]
) -> None:
    claimer, claim = await given.running(connection)
    await given.expired(connection, claim.job_id)
    renewer, reaper = connections[:2]
    async with renewer.transaction():
        assert await claimer.renew(renewer, given.lease(claim)) == {claim.job_id: False}
        assert await reaping.reap(reaper) == []
    assert await reaping.reap(reaper) == []


async def test_a_lease_that_ran_out_after_the_reaper_looked_is_left(connection: Connection) -> None:
    """A reap that waited in a database that hung goes by the time before: its owner could not renew either."""
    looked_at = await read_clock(connection)
    _, lost = await given.running(connection)
    _, cut_off = await given.running(connection)
    await connection.execute(
        "UPDATE jobs SET lease_expires_at = %s + make_interval(secs => CASE id WHEN %s THEN -1 ELSE 0 END)",
        (looked_at, lost.job_id),
    )
    assert [one.job_id for one in await reaping.reap(connection, as_of=looked_at)] == [lost.job_id]
    assert await given.state(connection, cut_off.job_id) == "running"


async def test_a_lease_that_has_not_run_out_by_now_is_left_whenever_the_reaper_looked(connection: Connection) -> None:
    """After a failover to a server whose clock is behind, the time of the look lies ahead of the server's own."""
    _, live = await given.running(connection)
    looked_at = await read_clock(connection) + timedelta(hours=1)
    assert await reaping.reap(connection, as_of=looked_at) == []
    assert await given.state(connection, live.job_id) == "running"
