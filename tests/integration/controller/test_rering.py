"""As many doorbells as due jobs, whatever Redis lost, repeated or was emptied of."""

from __future__ import annotations

import pytest
import redis.asyncio as redis
from tests.integration.controller.conftest import StartReplica, lends_ledger
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer
from tests.waiting import eventually

from longhaul import doorbell
from longhaul.ledger import jobs, queues
from longhaul.ledger.connection import Connection
from longhaul.states import Ending
from longhaul_controller.doorbells import RedisDoorbells
from longhaul_controller.rering import MAX_DOORBELLS, Rering

pytestmark = pytest.mark.anyio

FILL = """
INSERT INTO jobs (id, tenant, submitted_by, task, queue, priority, params, metadata, retries_max, max_interruptions,
    timeout_seconds, backoff_seconds, backoff_max_seconds, interruptible, state, event_seq, run_after, rank_at)
SELECT gen_random_uuid(), 'acme', 'test', 'test.work', 'work', 0, '{}', '{}', 3, 5, 60, 2, 600, false, 'queued', 1, now(),
    now() FROM generate_series(1, %s)
"""


def create(connection: Connection, client: redis.Redis) -> Rering:
    return Rering(lends_ledger(connection), RedisDoorbells(client), interval_seconds=1)


async def rung(client: redis.Redis, queue: str = given.QUEUE) -> int:
    return (await doorbell.count(client, [queue]))[queue]


async def test_what_redis_lost_is_rung_again_at_the_next_look(connection: Connection, client: redis.Redis) -> None:
    """F14."""
    rering = create(connection, client)
    await queues.declare(connection, ["other"])
    await given.queued(connection, 5)
    await given.queued(connection, 2, queue="other")
    await rering.run()
    assert (await rung(client), await rung(client, "other")) == (5, 2)
    await client.delete(doorbell.key(given.QUEUE))
    await rering.run()
    assert (await rung(client), await rung(client, "other")) == (5, 2)
    await client.flushall()
    await client.lpush(doorbell.key("other"), *doorbell.messages("other", 1))
    await rering.run()
    assert (await rung(client), await rung(client, "other")) == (5, 2)
    await rering.run()
    assert (await rung(client), await rung(client, "other")) == (5, 2)


async def test_a_job_that_is_not_due_yet_is_rung_when_it_is(connection: Connection, client: redis.Redis) -> None:
    rering = create(connection, client)
    (id,) = await given.queued(connection)
    await given.waited(connection, id, -3600)
    await rering.run()
    assert await rung(client) == 0
    await given.waited(connection, id, 3600)
    await rering.run()
    assert await rung(client) == 1


async def test_a_surplus_goes_only_when_it_lasts_two_looks(connection: Connection, client: redis.Redis) -> None:
    """F19. One look may be half way between a claim and its doorbell's hearing, or a commit and its ring."""
    rering = create(connection, client)
    await given.queued(connection, 2)
    await client.lpush(doorbell.key(given.QUEUE), *doorbell.messages(given.QUEUE, 100))
    await rering.run()
    assert await rung(client) == 100
    await client.ltrim(doorbell.key(given.QUEUE), 0, 1)  # workers heard them meanwhile
    await rering.run()
    await client.lpush(doorbell.key(given.QUEUE), *doorbell.messages(given.QUEUE, 1))
    await rering.run()
    assert await rung(client) == 3  # a surplus, a look without one, and a new surplus
    await rering.run()
    assert await rung(client) == 2
    await Claimer().claim(connection, slots=2)
    await rering.run()
    await rering.run()
    assert await client.exists(doorbell.key(given.QUEUE)) == 0


async def test_a_value_of_another_type_holds_up_no_queue_and_goes(connection: Connection, client: redis.Redis) -> None:
    """As after somebody's SET: workers that hear both queues would be answered with an error for ever."""
    rering = create(connection, client)
    await queues.declare(connection, ["other"])
    await given.queued(connection, 5)
    await given.queued(connection, 2, queue="other")
    await client.set(doorbell.key(given.QUEUE), "no list")
    await rering.run()
    assert (await rung(client), await rung(client, "other")) == (5, 2)


async def test_what_is_trimmed_was_rung_last(connection: Connection, client: redis.Redis) -> None:
    """The doorbells that workers hear next stay."""
    rering = create(connection, client)
    await given.queued(connection)
    (oldest,) = doorbell.messages(given.QUEUE, 1)
    await client.lpush(doorbell.key(given.QUEUE), oldest, *doorbell.messages(given.QUEUE, 3))
    await rering.run()
    await rering.run()
    assert await client.brpop([doorbell.key(given.QUEUE)], timeout=1) == (doorbell.key(given.QUEUE).encode(), oldest)


async def test_a_paused_queue_rings_nothing(connection: Connection, client: redis.Redis) -> None:
    rering = create(connection, client)
    await given.queued(connection, 3)
    await rering.run()
    await queues.pause(connection, given.QUEUE, paused=True)
    await rering.run()
    await rering.run()
    assert await rung(client) == 0
    await queues.pause(connection, given.QUEUE, paused=False)
    await rering.run()
    assert await rung(client) == 3


async def test_a_limit_that_is_used_up_rings_nothing_and_one_that_has_room_rings_for_it(
    connection: Connection, client: redis.Redis
) -> None:
    rering = create(connection, client)
    await given.limited_queue(connection, "narrow", 2)
    await given.limited_task(connection, "test.rare", 1)
    await given.queued(connection, 5, queue="narrow")
    await given.queued(connection, 5, task="test.rare")
    await rering.run()
    assert (await rung(client, "narrow"), await rung(client)) == (2, 1)
    await client.flushall()
    (first,) = await Claimer().claim(connection, queue="narrow")
    rare = await Claimer(tasks=("test.rare",)).claim_one(connection)
    await rering.run()
    assert (await rung(client, "narrow"), await rung(client)) == (1, 0)
    await Claimer().claim(connection, queue="narrow")
    await jobs.cancel(connection, first.job_id)  # it runs on until it stops: its place is taken
    await client.flushall()
    await rering.run()
    assert (await rung(client, "narrow"), await rung(client)) == (0, 0)
    await given.ended(connection, first, Ending.CANCELLED)
    await given.ended(connection, rare, Ending.SUCCEEDED)
    await rering.run()
    assert (await rung(client, "narrow"), await rung(client)) == (1, 1)


async def test_a_queue_has_never_more_doorbells_than_are_of_use(connection: Connection, client: redis.Redis) -> None:
    rering = create(connection, client)
    await connection.execute(FILL, (MAX_DOORBELLS + 50,))
    await rering.run()
    assert await rung(client) == MAX_DOORBELLS
    await client.lpush(doorbell.key(given.QUEUE), *doorbell.messages(given.QUEUE, 100))
    await rering.run()
    await rering.run()
    assert await rung(client) == MAX_DOORBELLS


async def test_a_running_controller_rings_again_within_seconds(
    connection: Connection, client: redis.Redis, start_replica: StartReplica, database_url: str, redis_url: str
) -> None:
    replica = start_replica(database_url, redis_url)
    await given.queued(connection, 3)

    async def all_rung() -> bool:
        return await rung(client) == 3

    await eventually(all_rung, timeout_seconds=20, what="all that is due was rung")
    await client.flushall()
    await eventually(all_rung, timeout_seconds=3, what="all was rung again after a flush")
    await client.delete(doorbell.key(given.QUEUE))
    await eventually(all_rung, timeout_seconds=3, what="all was rung again after its list was deleted")
    metrics = replica.metrics()
    assert metrics["longhaul_jobs_due{work}"] == 3
    assert metrics["longhaul_doorbells_rerung_total{work}"] == 9
    await client.lpush(doorbell.key(given.QUEUE), *doorbell.messages(given.QUEUE, 4))
    await eventually(all_rung, timeout_seconds=4, what="those that stand for nothing went")
    assert replica.metrics()["longhaul_doorbells_trimmed_total{work}"] == 4
