"""Jobs of owners that are gone are given back; those of owners that were only cut off from the ledger are not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any
from uuid import UUID

import anyio
import orjson
import psycopg
import pytest
import redis.asyncio as redis
from tests.integration.controller import replica
from tests.integration.controller.conftest import LEASE_SECONDS, StartReplica, lends_ledger
from tests.integration.controller.refusals import RAISE
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer
from tests.pods import free_port
from tests.waiting import eventually

from longhaul import doorbell, events
from longhaul.ledger import events as history
from longhaul.ledger import jobs, leases, queues, workers
from longhaul.ledger.claims import Claim
from longhaul.ledger.connection import Connection, connect
from longhaul.ledger.reaping import Loss, LostOwner
from longhaul.ledger.workers import Worker
from longhaul_cli.embedded import EmbeddedPostgres
from longhaul_controller.doorbells import RedisDoorbells, RedisEventChannel
from longhaul_controller.leader import Leader
from longhaul_controller.ports import Diagnostics
from longhaul_controller.reaper import Reaper

pytestmark = pytest.mark.anyio

OUTAGE_SECONDS = 3.3
"""More than the lease, and more than the gap between two looks that the leader takes for an outage."""


def create(
    connection: Connection,
    leader: Leader,
    client: redis.Redis,
    *,
    doorbells: redis.Redis | None = None,
    diagnostics: Diagnostics | None = None,
) -> Reaper:
    return Reaper(
        leader,
        lends_ledger(connection),
        doorbells=RedisDoorbells(doorbells or client),
        channel=RedisEventChannel(client),
        lease_seconds=LEASE_SECONDS,
        interval_seconds=1,
        diagnostics=diagnostics,
    )


async def seen_up_for_a_lease(leader: Leader) -> None:
    async def long_enough() -> bool:
        return leader.ledger_up_seconds() >= LEASE_SECONDS

    await eventually(long_enough, what="the leader has seen the ledger up for one lease")


async def lost(connection: Connection, claimer: Claimer, id: object) -> Claim:
    """A running job whose owner was not heard of for a whole lease."""
    claim = await claimer.claim_one(connection)
    assert claim.job_id == id
    await given.expired(connection, claim.job_id)
    return claim


async def renew(connection: Connection, claimer: Claimer, *claims: Claim) -> None:
    """Renew for a lease of the replicas; all of them must be held still."""
    held = await leases.renew(
        connection,
        [given.lease(claim) for claim in claims],
        worker_id=claimer.id,
        lease_seconds=replica.LEASE_SECONDS,
    )
    assert held == dict.fromkeys((claim.job_id for claim in claims), False)


async def test_a_lost_job_is_queued_rung_for_and_told_of(
    connection: Connection, leader: Leader, client: redis.Redis
) -> None:
    (id,) = await given.queued(connection)
    claimer = Claimer()
    await lost(connection, claimer, id)
    await seen_up_for_a_lease(leader)
    async with client.pubsub() as listener:
        await listener.subscribe(events.channel(id))
        assert await listener.get_message(timeout=2)
        await create(connection, leader, client).run()
        message = await listener.get_message(timeout=2)
    assert message is not None
    told = orjson.loads(message["data"])
    assert (told["type"], told["attempt"], told["data"]["ending"]) == ("interrupted", 1, "lease_lost")
    row = await given.row(connection, id)
    assert (row["state"], row["epoch"], row["interruptions"], row["retries"]) == ("queued", 1, 1, 0)
    assert await doorbell.count(client, [given.QUEUE]) == {given.QUEUE: 1}
    assert (await claimer.claim_one(connection)).epoch == 2


async def test_a_job_that_loses_every_owner_is_a_dead_letter_with_its_evidence(
    connection: Connection, leader: Leader, client: redis.Redis
) -> None:
    (id,) = await given.queued(connection, max_interruptions=1)
    await seen_up_for_a_lease(leader)
    for _ in range(2):
        await client.flushall()
        await lost(connection, Claimer(), id)
        await create(connection, leader, client).run()
    row = await given.row(connection, id)
    assert (row["state"], row["epoch"], row["interruptions"]) == ("dead", 2, 2)
    assert row["error"]["code"] == "lease_lost"
    assert [one["id"] for one in await jobs.list_jobs(connection, tenant=None, dead_letters=True)] == [id]
    attempts = await history.read_attempts(connection, id)
    assert [one["ending"] for one in attempts] == ["lease_lost", "lease_lost"]
    assert all(one["evidence"]["overdue_seconds"] >= 1 for one in attempts)
    assert await client.keys() == []  # nobody rings for the dead


async def test_the_reaper_is_silent_until_the_ledger_was_seen_up_for_a_lease(
    connection: Connection, leader: Leader, client: redis.Redis
) -> None:
    (id,) = await given.queued(connection)
    await lost(connection, Claimer(), id)
    up_seconds = leader.ledger_up_seconds()
    assert up_seconds < LEASE_SECONDS
    await create(connection, leader, client).run()
    assert await given.state(connection, id) == "running"
    await seen_up_for_a_lease(leader)
    await create(connection, leader, client).run()
    assert await given.state(connection, id) == "queued"


async def test_a_standby_that_saw_renewals_refused_is_silent_for_a_lease(
    connection: Connection, leader: Leader, client: redis.Redis
) -> None:
    """It may take over in the moment in which they are accepted again, when every lease is old (seed 120010 of the
    simulation)."""
    (id,) = await given.queued(connection)
    await lost(connection, Claimer(), id)
    await seen_up_for_a_lease(leader)
    reaper = create(connection, leader, client)
    await connection.execute(RAISE.format(table="jobs", each="ROW"))
    refused_at = asyncio.get_running_loop().time()
    with pytest.raises(psycopg.errors.RaiseException, match="refused by a trigger"):
        await reaper.stand_by()
    await connection.execute("DROP FUNCTION refuse CASCADE")

    async def gave_it_back() -> bool:
        await reaper.run()
        return await given.state(connection, id) == "queued"

    await eventually(gave_it_back, what="the job is given back")
    assert asyncio.get_running_loop().time() - refused_at >= LEASE_SECONDS


async def test_a_lease_that_runs_out_while_the_reaper_asks_for_evidence_is_left(
    connection: Connection, leader: Leader, client: redis.Redis
) -> None:
    """Its owner may just be renewing it: the reaper takes what had run out when it looked at the clock, and no more."""
    gone, alive = Claimer(), Claimer()
    worker = Worker(id=gone.id, name=gone.name, pool="default", queues=[given.QUEUE], slots=1, version="1")
    await workers.register(connection, worker)
    await given.queued(connection, 2)
    lost_claim, live_claim = await gone.claim_one(connection), await alive.claim_one(connection)
    await given.expired(connection, lost_claim.job_id)

    class Slow:
        async def explain(self, owners: Iterable[LostOwner]) -> dict[UUID, Loss]:
            assert [one.worker_id for one in owners] == [gone.id]
            await connection.execute("UPDATE jobs SET lease_expires_at = now() WHERE id = %s", (live_claim.job_id,))
            return {}

    await seen_up_for_a_lease(leader)
    await create(connection, leader, client, diagnostics=Slow()).run()
    assert await given.state(connection, lost_claim.job_id) == "queued"
    assert await given.state(connection, live_claim.job_id) == "running"


class OddPod(Exception):
    """A pod that nobody thought of."""


async def test_evidence_that_fails_costs_the_evidence_only(
    connection: Connection, leader: Leader, client: redis.Redis
) -> None:
    class Odd:
        async def explain(self, owners: Iterable[LostOwner]) -> dict[UUID, Loss]:
            raise OddPod(str(owners))

    (id,) = await given.queued(connection)
    await lost(connection, Claimer(), id)
    await seen_up_for_a_lease(leader)
    await create(connection, leader, client, diagnostics=Odd()).run()
    row = await given.row(connection, id)
    assert (row["state"], row["error"]["code"]) == ("queued", "lease_lost")


async def test_a_redis_that_is_away_keeps_nothing_from_being_reaped(
    connection: Connection, leader: Leader, client: redis.Redis
) -> None:
    (id,) = await given.queued(connection)
    await lost(connection, Claimer(), id)
    await seen_up_for_a_lease(leader)
    async with doorbell.create_client(f"redis://127.0.0.1:{free_port()}") as nobody:
        await create(connection, leader, client, doorbells=nobody).run()
    assert await given.state(connection, id) == "queued"


class Explains:
    """Diagnostics that do as the test says."""

    def __init__(self, explain: Callable[[UUID], Awaitable[Any]]) -> None:
        self._explain = explain

    async def explain(self, owners: Iterable[LostOwner]) -> Any:
        (owner,) = owners
        return await self._explain(owner.worker_id)


def raises(error: BaseException) -> Callable[[UUID], Awaitable[Any]]:
    async def explain(_: UUID) -> Any:
        raise error

    return explain


def answers(loss: Any) -> Callable[[UUID], Awaitable[Any]]:
    async def explain(owner: UUID) -> Any:
        return {owner: loss}

    return explain


async def hang(_: UUID) -> Any:
    await asyncio.Event().wait()


async def ignore_a_cancellation(_: UUID) -> Any:
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    await asyncio.sleep(60)


@pytest.mark.fault("F49")
@pytest.mark.parametrize(
    "explain",
    [
        raises(TypeError("fromisoformat: argument must be str")),
        raises(SystemExit(1)),
        raises(asyncio.CancelledError()),
        raises(BaseExceptionGroup("a group", [KeyboardInterrupt()])),
        hang,
        ignore_a_cancellation,
        answers(Loss(message="not encodable: \udcff")),
        answers(Loss(evidence={"pod": object()})),
        answers(Loss(evidence={"pod": "\x00"})),
        answers("no loss"),
    ],
    ids=["TypeError", "SystemExit", "CancelledError", "a group", "hangs", "deaf", "text", "object", "NUL", "type"],
)
async def test_no_evidence_stops_a_reap(
    connection: Connection, leader: Leader, client: redis.Redis, explain: Callable[[UUID], Awaitable[Any]]
) -> None:
    (id,) = await given.queued(connection)
    claimer = Claimer()
    await workers.register(
        connection, Worker(id=claimer.id, name="pod-1", pool="pool", queues=[given.QUEUE], slots=1, version="1")
    )
    await lost(connection, claimer, id)
    await seen_up_for_a_lease(leader)
    async with asyncio.timeout(10):
        await create(connection, leader, client, diagnostics=Explains(explain)).run()
    assert await given.state(connection, id) == "queued"
    assert await doorbell.count(client, [given.QUEUE]) == {given.QUEUE: 1}
    (attempt,) = await history.read_attempts(connection, id)
    assert attempt["ending"] == "lease_lost"


async def test_more_lost_jobs_than_one_look_takes_are_all_given_back(
    connection: Connection, leader: Leader, client: redis.Redis
) -> None:
    """F29: a reaper that was away finds a backlog."""
    await given.queued(connection, 250)
    claims = await Claimer().claim(connection, slots=250)
    await given.expired(connection, *(claim.job_id for claim in claims))
    await seen_up_for_a_lease(leader)
    await create(connection, leader, client).run()
    await create(connection, leader, client).run()
    assert await given.count_running(connection) == 0
    assert await doorbell.count(client, [given.QUEUE]) == {given.QUEUE: 250}


@pytest.mark.parametrize("outage", ["hangs", "crashes"])
async def test_an_outage_longer_than_the_lease_takes_no_job_from_an_owner_that_is_alive(
    breakable_postgres: EmbeddedPostgres, redis_url: str, start_replica: StartReplica, outage: str
) -> None:
    """F21 and F22: after it every lease is old. Who renews within one lease keeps its job, who does not loses it."""
    here = breakable_postgres
    controller = start_replica(here.database_url, redis_url)
    claimer = Claimer()
    async with await connect(here.database_url, application_name="test") as connection:
        await queues.declare(connection, [given.QUEUE])
        await given.queued(connection, 3)
        first, alive, gone = await claimer.claim(connection, slots=3)
        await given.expired(connection, first.job_id)

        async def reaps() -> bool:
            return await given.state(connection, first.job_id) == "queued"

        await eventually(reaps, timeout_seconds=20, what="the reaper is at work")
        await renew(connection, claimer, alive, gone)
    over_at = anyio.current_time() + (OUTAGE_SECONDS if outage == "hangs" else replica.LEASE_SECONDS)

    async def outlasted() -> bool:
        return anyio.current_time() > over_at

    if outage == "hangs":
        here.pause()
        await eventually(outlasted, what="the outage outlasts the lease")
        here.resume()
    else:
        here.stop(immediate=True)
        await eventually(outlasted, what="the outage outlasts the lease")
        assert not controller.leads()
        here.start()
    live = controller.probe("/livez")
    assert live is not None
    assert live.status_code == 200
    async with await connect(here.database_url, application_name="test") as connection:
        row = await given.row(connection, alive.job_id)
        cursor = await connection.execute("SELECT now() AS up_at")
        up = await cursor.fetchone()
        assert up is not None
        assert row["lease_expires_at"] < up["up_at"]  # every lease is old

        async def reaped() -> bool:
            # The one that is alive renews, as a keeper does.
            await renew(connection, claimer, alive)
            return await given.state(connection, gone.job_id) == "queued"

        await eventually(reaped, timeout_seconds=replica.LEASE_SECONDS + 5, what="the one that is gone is reaped")
        (ended,) = [one for one in await history.read(connection, gone.job_id, after=0) if one["type"] == "interrupted"]
        assert (ended["at"] - up["up_at"]).total_seconds() >= replica.LEASE_SECONDS - 0.5
        row = await given.row(connection, alive.job_id)
        assert (row["state"], row["epoch"], row["interruptions"]) == ("running", 1, 0)
    assert controller.metrics()["longhaul_leases_reaped_total"] == 2
