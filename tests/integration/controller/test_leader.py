"""One of the replicas leads, whoever is killed, frozen, or cut off from the ledger."""

from __future__ import annotations

import asyncio
import signal

import pytest
from tests import servers
from tests.integration.controller.conftest import StartReplica
from tests.integration.controller.replica import Replica
from tests.integration.ledger import given
from tests.waiting import eventually, wait_for

from longhaul import doorbell
from longhaul.ledger import schema
from longhaul.ledger.connection import Connection
from longhaul_controller.leader import Leader

pytestmark = pytest.mark.anyio

IDLE_SESSION_SECONDS = 10
"""After which PostgreSQL ends a silent leader's session, and its lock with it."""


def started(start_replica: StartReplica, *places: tuple[str, str]) -> list[Replica]:
    """Replicas at these pairs of a database and a Redis, the first of which leads."""
    replicas = [start_replica(*place) for place in places]
    for replica in replicas:
        replica.wait_probes()
    wait_for(lambda: any(replica.leads() for replica in replicas), timeout_seconds=20, what="one of them leads")
    return sorted(replicas, key=lambda replica: not replica.leads())


def test_the_other_replica_leads_when_the_leader_is_killed_or_ends(
    start_replica: StartReplica, database_url: str, redis_url: str
) -> None:
    first, second = started(start_replica, (database_url, redis_url), (database_url, redis_url))
    third = start_replica(database_url, redis_url)
    third.wait_probes()
    assert [replica.leads() for replica in (first, second, third)] == [True, False, False]
    first.send(signal.SIGKILL)
    first.wait_exit(5)
    wait_for(lambda: second.leads() or third.leads(), timeout_seconds=4, what="another replica leads")
    leading, standby = sorted((second, third), key=lambda replica: not replica.leads())
    assert not standby.leads()
    leading.send(signal.SIGTERM)
    assert leading.wait_exit(3) == 0
    standby.wait_leads(3)


@pytest.mark.fault("F28")
async def test_a_leader_that_was_frozen_does_nothing_as_leader_when_it_wakes_up(
    start_replica: StartReplica, database_url: str, redis_server: servers.RedisServer, connection: Connection
) -> None:
    """F28. Each replica rings in a Redis of its own here, so that it shows which one did."""
    first_redis, second_redis = redis_server.redis_url(1), redis_server.redis_url(2)
    frozen = start_replica(database_url, first_redis)
    frozen.wait_leads()
    frozen.send(signal.SIGSTOP)
    second = start_replica(database_url, second_redis)
    await given.queued(connection)
    second.wait_leads(IDLE_SESSION_SECONDS + 4)
    async with doorbell.create_client(first_redis) as rings_of_first:
        await rings_of_first.flushdb()
        frozen.send(signal.SIGCONT)
        wait_for(lambda: "not_leading" in frozen.log, what="the one that was frozen knows that it does not lead")
        wait_for(lambda: "longhaul_controller_is_leader" in frozen.metrics(), what="it is awake")
        assert [frozen.leads(), second.leads()] == [False, True]
        assert await rings_of_first.keys() == []

    async with doorbell.create_client(second_redis) as rings_of_second:

        async def rung() -> bool:
            return await doorbell.count(rings_of_second, [given.QUEUE]) == {given.QUEUE: 1}

        await eventually(rung, what="the leader rang")
    second.send(signal.SIGKILL)
    frozen.wait_leads(4)


def test_a_replica_waits_for_the_schema(start_replica: StartReplica, empty_database_url: str, redis_url: str) -> None:
    replica = start_replica(empty_database_url, redis_url)
    replica.wait_probes()
    wait_for(lambda: "run `longhaul migrate`" in replica.log, what="it says what it waits for")
    assert not replica.leads()
    schema.migrate(empty_database_url)
    replica.wait_leads(5)


async def test_a_lost_session_is_a_lost_lead_and_a_new_start(leader: Leader, connection: Connection) -> None:
    """The time that the ledger was seen up counts anew, since nobody knows what happened in between."""

    async def seen_up() -> bool:
        return leader.ledger_up_seconds() > 0.5

    await eventually(seen_up, what="the ledger was seen up for a while")
    loop = asyncio.get_running_loop()
    before = loop.time()
    async with connection.transaction():
        cursor = await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'longhaul-controller leader' AND datname = current_database()"
        )
        assert cursor.rowcount == 1
        # Held here, as by a replica that was quicker.
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('longhaul:controller', 0))")

        async def lost() -> bool:
            return not leader.is_leader

        await eventually(lost, what="it does not lead any more")

    async def leads() -> bool:
        return leader.is_leader

    await eventually(leads, what="it leads again")
    assert leader.ledger_up_seconds() < loop.time() - before


async def test_a_loop_that_stood_still_does_not_lead_until_it_has_looked(leader: Leader) -> None:
    """A freeze of this process that nobody else noticed: it holds the lock, and can't know that it does."""
    assert leader.is_leader
    loop = asyncio.get_running_loop()
    frozen_at = loop.time()
    wait_for(lambda: loop.time() > frozen_at + 3.1, what="the event loop stood still for longer than the gap")
    assert not leader.is_leader
    assert leader.ledger_up_seconds() == 0

    async def leads() -> bool:
        return leader.is_leader

    awake_at = loop.time()
    await eventually(leads, what="it leads again")
    assert leader.ledger_up_seconds() < loop.time() - awake_at + 0.1
    assert loop.time() - awake_at > 1, "it let a standby try first"
