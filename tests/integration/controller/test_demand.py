"""What KEDA reads equals the ledger, and no number reads as zero because it is old."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
import redis.asyncio as redis
from tests.integration.controller.conftest import lends_ledger
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer

from longhaul import doorbell
from longhaul.ledger import queues, workers
from longhaul.ledger.connection import Connection
from longhaul.ledger.workers import Worker
from longhaul.states import Ending
from longhaul_controller.demand import Demand
from longhaul_controller.doorbells import RedisDoorbells

pytestmark = pytest.mark.anyio


def create(connection: Connection, client: redis.Redis) -> Demand:
    return Demand(lends_ledger(connection), RedisDoorbells(client), interval_seconds=1)


async def pod(connection: Connection, pool: str) -> Claimer:
    """A worker of a pool that has registered."""
    claimer = Claimer(id=uuid4(), name=f"{pool}-1")
    worker = Worker(id=claimer.id, name=claimer.name, pool=pool, queues=[given.QUEUE], slots=8, version="1")
    await workers.register(connection, worker)
    return claimer


async def published(client: redis.Redis, pool: str) -> set[UUID]:
    members = await client.smembers(doorbell.running_key(pool))
    return {UUID(member.decode()) for member in members if isinstance(member, bytes)}


async def test_each_pool_has_the_set_of_what_runs_on_its_pods(connection: Connection, client: redis.Redis) -> None:
    demand = create(connection, client)
    small, large = await pod(connection, "small"), await pod(connection, "large")
    await given.queued(connection, 6)
    on_small, on_large = await small.claim(connection, slots=2), await large.claim(connection, slots=3)
    await demand.run()
    assert await published(client, "small") == {claim.job_id for claim in on_small}
    assert await published(client, "large") == {claim.job_id for claim in on_large}
    read = await queues.read_running_by_pool(connection)
    assert {pool: len(ids) for pool, ids in read.items()} == {"small": 2, "large": 3}
    for key in await client.keys("running:*"):
        assert await client.ttl(key) == -1  # it never expires
    await given.ended(connection, on_small[0], Ending.SUCCEEDED)
    (next_on_large,) = await large.claim(connection)
    await demand.run()
    assert await published(client, "small") == {on_small[1].job_id}
    assert await published(client, "large") == {claim.job_id for claim in [*on_large, next_on_large]}


async def test_what_runs_on_a_pod_that_is_going_needs_no_replica(connection: Connection, client: redis.Redis) -> None:
    demand = create(connection, client)
    going, staying = await pod(connection, "pool"), await pod(connection, "pool")
    await given.queued(connection, 2)
    await going.claim_one(connection)
    kept = await staying.claim_one(connection)
    await workers.beat(connection, going.id, draining=True)
    await demand.run()
    assert await published(client, "pool") == {kept.job_id}


@pytest.mark.parametrize("lost", ["deleted", "flushed", "shortened"])
async def test_what_redis_lost_is_published_again(connection: Connection, client: redis.Redis, lost: str) -> None:
    demand = create(connection, client)
    claimer = await pod(connection, "pool")
    await given.queued(connection, 2)
    claims = await claimer.claim(connection, slots=2)
    await demand.run()
    match lost:
        case "deleted":
            await client.delete(doorbell.running_key("pool"))
        case "flushed":
            await client.flushall()
        case "shortened":
            await client.spop(doorbell.running_key("pool"))
    await demand.run()
    assert await published(client, "pool") == {claim.job_id for claim in claims}


@pytest.mark.parametrize("new_leader", [False, True], ids=["the same leader", "another leader"])
async def test_a_pool_that_has_gone_has_no_demand(
    connection: Connection, client: redis.Redis, new_leader: bool
) -> None:
    """Also one that went between two leaders: its number would otherwise stand for ever."""
    demand = create(connection, client)
    claimer = await pod(connection, "gone")
    await given.queued(connection)
    claim = await claimer.claim_one(connection)
    await demand.run()
    assert await published(client, "gone") == {claim.job_id}
    await given.ended(connection, claim, Ending.SUCCEEDED)
    await workers.leave(connection, claimer.id)
    await (create(connection, client) if new_leader else demand).run()
    assert await client.keys("running:*") == []


async def test_what_a_frozen_leader_writes_when_it_wakes_is_corrected(
    connection: Connection, client: redis.Redis
) -> None:
    """Of a pool that the leader after it has never seen (seed 19771 of the simulation)."""
    demand = create(connection, client)
    await demand.run()
    await RedisDoorbells(client).replace_running("gone", [str(uuid4())])
    await demand.run()
    assert await published(client, "gone") == set()


@pytest.mark.parametrize("key", [doorbell.POOLS_KEY, doorbell.running_key("pool")])
async def test_a_value_of_another_type_goes(connection: Connection, client: redis.Redis, key: str) -> None:
    demand = create(connection, client)
    claimer = await pod(connection, "pool")
    await given.queued(connection)
    claim = await claimer.claim_one(connection)
    await demand.run()
    await client.set(key, "no set")
    await demand.run()
    await demand.run()
    assert await published(client, "pool") == {claim.job_id}


async def test_nothing_is_written_where_nothing_changed(connection: Connection, client: redis.Redis) -> None:
    demand = create(connection, client)
    claimer = await pod(connection, "pool")
    await given.queued(connection)
    await claimer.claim_one(connection)
    await demand.run()
    await client.config_resetstat()
    await demand.run()
    done = await client.info("commandstats")
    assert not {name for name in done if name in {"cmdstat_del", "cmdstat_sadd", "cmdstat_exec"}}
