"""Redis cut off, restarted, emptied, stopped, hung or full under a whole service: no job is lost or executed twice, no
submit waits, no probe fails. Each test leaves Redis running."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import pytest
import redis.asyncio as redis
from tests import servers
from tests.faults.load import Load, load
from tests.faults.service import Service, service
from tests.integration.api.harness import EventStream
from tests.integration.cli.stack import Api
from tests.pods import free_port
from tests.waiting import eventually

from longhaul import doorbell
from longhaul.ledger import queues
from longhaul_cli.embedded import EmbeddedValkey

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900)]

DOWN_SECONDS = float(os.environ.get("FAULTS_REDIS_DOWN_SECONDS", "45"))
"""How long Redis is away in F15: 600 in the full run; the default passes Celery's and the keeper's own limits too."""
BLIPS = int(os.environ.get("FAULTS_BLIPS", "20"))
"""Of F12, two seconds apart: 30 in the full run."""
BLIP_EVERY_SECONDS = 2.0
HANG_SECONDS = 12.0
PICKUP_SECONDS = 5.0
"""From a fault to the next job that is started, and from a loss to the re-ring: the list's bound."""
QUEUE = "default"
SLOWER = 1.2
"""How much longer a submit may take, at its 99th percentile, while Redis is away."""
JITTER_SECONDS = 0.003
"""What the same load's p99 differs by between two quiet phases on a shared machine of 2 cores."""


@pytest.fixture(scope="module")
def valkey() -> Iterator[EmbeddedValkey]:
    with servers.temporary_home() as home, EmbeddedValkey(home, tcp=True) as server:
        yield server


@pytest.fixture(scope="module")
def running(
    file_database_url: str,
    valkey: EmbeddedValkey,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("redis")
    with service(file_database_url, valkey.tcp_url(), folder, slots=3) as one:
        yield one


@pytest.fixture(scope="module")
def control(
    running: Service, redis_server: servers.RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    """An API on the same ledger with a Redis that is well."""
    environment = {**running.here.environment, "LONGHAUL_REDIS_URL": redis_server.redis_url()}
    api = Api(environment=environment, port=free_port(), log=tmp_path_factory.mktemp("control") / "api.log")
    try:
        yield api
    finally:
        api.end()


@pytest.fixture
async def client(valkey: EmbeddedValkey) -> AsyncIterator[redis.Redis]:
    async with doorbell.create_client(valkey.tcp_url()) as one:
        yield one


@pytest.fixture(autouse=True)
async def quiet(running: Service) -> None:
    """The service is well before each test: a job is picked up at once."""

    async def works() -> bool:
        ids = await running.submit()
        try:
            await running.wait_succeeded(ids, timeout_seconds=2)
        except AssertionError:
            return False
        return True

    await eventually(works, timeout_seconds=30, what="the service is well again")


async def passed(seconds: float) -> None:
    """A phase of a measurement."""
    await asyncio.sleep(seconds)


async def rung(client: redis.Redis) -> int:
    return (await doorbell.count(client, [QUEUE]))[QUEUE]


async def due(running: Service) -> int:
    async with await running.here.connect() as connection:
        return (await queues.count_due(connection))[QUEUE]


async def blip(client: redis.Redis) -> None:
    """Cut every connection, of the queues' users and of the listeners to events."""
    for kind in ("pubsub", "normal"):
        await client.client_kill_filter(_type=kind, skipme=True)


@pytest.mark.fault("F12")
async def test_connection_blips_double_and_hide_nothing(running: Service, client: redis.Redis) -> None:
    async with running.staying_live(), load(running, 10, job_seconds=0.5) as submits:
        await passed(1)
        stream = await EventStream.open(running.api.port, f"/v1/jobs/{await running.submit_long(BLIPS)}/events")
        for _ in range(BLIPS):
            await passed(BLIP_EVERY_SECONDS)
            await blip(client)
    assert not submits.refused
    told = [int(event["id"]) for event in await stream.rest()]
    assert told == list(range(1, len(told) + 1))
    await running.wait_succeeded(submits.ids)
    running.assert_each_once(submits.ids)
    assert max(await running.waits(submits.ids)) < PICKUP_SECONDS
    # Nothing waits for an acknowledgement that a blip cut off, to ring once more after Celery's visibility timeout.
    assert not await client.exists("unacked", "unacked_index")


@pytest.mark.fault("F12")
async def test_no_slot_idles_after_blips_while_jobs_wait(running: Service, client: redis.Redis) -> None:
    for _ in range(5):
        await blip(client)
        await passed(0.5)
    ids = await running.submit(6 * running.slots, seconds=1)
    idle_since: float | None = None
    longest = 0.0

    async def all_started() -> bool:
        nonlocal idle_since, longest
        states = await running.states(ids)
        if states["queued"] and states["running"] < running.slots:
            idle_since = idle_since or time.monotonic()
            longest = max(longest, time.monotonic() - idle_since)
        else:
            idle_since = None
        return not states["queued"]

    await eventually(all_started, timeout_seconds=30, what="the queue is empty")
    await running.wait_succeeded(ids)
    running.assert_each_once(ids)
    assert longest < 2  # a slot is refilled after each job, and the first ones are heard after the last blip


@pytest.mark.fault("F13")
@pytest.mark.parametrize("immediate", [False, True], ids=["gracefully", "killed"])
async def test_a_redis_that_restarts_with_its_file_loses_nothing(
    running: Service, valkey: EmbeddedValkey, immediate: bool
) -> None:
    async with running.staying_live(), load(running, 20, job_seconds=0.2) as submits:
        await passed(2)
        await asyncio.to_thread(valkey.restart, immediate=immediate)
        await passed(4)
    assert not submits.refused
    await running.wait_succeeded(submits.ids)
    running.assert_each_once(submits.ids)
    assert max(await running.waits(submits.ids)) < PICKUP_SECONDS + 2  # the restart itself takes about a second


async def flush(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    await client.flushall()


async def delete(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    await client.delete(doorbell.key(QUEUE))


async def restart_empty(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    await client.flushall()
    await asyncio.to_thread(valkey.restart, immediate=True)


@pytest.mark.fault("F14")
@pytest.mark.parametrize("empty", [flush, delete, restart_empty], ids=["FLUSHALL", "DEL", "an empty restart"])
async def test_an_emptied_redis_is_filled_from_the_ledger(
    running: Service,
    valkey: EmbeddedValkey,
    client: redis.Redis,
    empty: Callable[[EmbeddedValkey, redis.Redis], Awaitable[None]],
) -> None:
    computing = await running.submit(running.slots // 2, seconds=8)

    async def all_run() -> bool:
        return (await running.states(computing))["running"] == len(computing)

    await eventually(all_run, what="half of the slots compute")
    async with running.deaf():
        waiting = await running.submit(100)
        await empty(valkey, client)
        emptied_at = time.monotonic()

        async def all_rung() -> bool:
            try:
                return await rung(client) >= await due(running)
            except (redis.RedisError, OSError):
                return False

        await eventually(all_rung, timeout_seconds=PICKUP_SECONDS, what="every due job is rung for again")
        assert time.monotonic() - emptied_at < PICKUP_SECONDS
    await running.wait_succeeded(waiting + computing)
    running.assert_each_once(waiting + computing)


def assert_as_fast(submits: Load, since: float, until: float) -> None:
    """All submits were accepted, and without Redis they took at most `SLOWER` times as long as their twins with it."""
    assert not submits.refused
    without, normal = (submits.p99_seconds(since, until, control=control) for control in (False, True))
    print(f"p99 of submits: {normal * 1000:.1f} ms normally, {without * 1000:.1f} ms without Redis")
    assert without <= SLOWER * normal + JITTER_SECONDS


@pytest.mark.long
@pytest.mark.fault("F15")
async def test_a_redis_that_is_down_stops_no_submit_and_restarts_nobody(
    running: Service, control: Api, valkey: EmbeddedValkey
) -> None:
    async with running.staying_live():
        async with load(running, 20, control=control) as submits:
            await passed(2)
            await asyncio.to_thread(valkey.stop)
            down_at = time.monotonic()
            await passed(DOWN_SECONDS)
            up_at = time.monotonic()
            await asyncio.to_thread(valkey.start)
        await running.wait_succeeded(submits.ids, timeout_seconds=60 + DOWN_SECONDS)
    assert_as_fast(submits, down_at, up_at)
    running.assert_each_once(submits.ids)
    for worker in running.workers:
        assert (await running.metrics(worker.name))["longhaul_celery_starts_total"] == 1


@asynccontextmanager
async def stopped(valkey: EmbeddedValkey, _client: redis.Redis) -> AsyncIterator[None]:
    valkey.pause()
    try:
        yield
    finally:
        valkey.resume()


@asynccontextmanager
async def client_pause(_valkey: EmbeddedValkey, client: redis.Redis) -> AsyncIterator[None]:
    await client.client_pause(round(HANG_SECONDS * 1000))  # nothing takes it back: that command would wait too
    yield
    await eventually(partial(answers, client), timeout_seconds=HANG_SECONDS + 10, what="the pause is over")


async def answers(client: redis.Redis) -> bool:
    try:
        return bool(await client.ping())
    except redis.RedisError:
        return False


@pytest.mark.long
@pytest.mark.fault("F16")
@pytest.mark.parametrize("hung", [stopped, client_pause], ids=["SIGSTOP", "CLIENT PAUSE"])
async def test_a_redis_that_hangs_is_given_up_in_time(
    running: Service,
    control: Api,
    valkey: EmbeddedValkey,
    client: redis.Redis,
    hung: Callable[[EmbeddedValkey, redis.Redis], AbstractAsyncContextManager[None]],
) -> None:
    failures = "longhaul_controller_duty_failures_total{rering}"
    async with running.staying_live():
        before = (await running.metrics("controller")).get(failures, 0)
        dropped = (await running.metrics("api"))["longhaul_api_rings_total{dropped}"]
        async with load(running, 30, control=control) as submits, hung(valkey, client):
            hung_at = time.monotonic()

            async def given_up() -> bool:
                api, controller = await asyncio.gather(running.metrics("api"), running.metrics("controller"))
                return api["longhaul_api_rings_total{dropped}"] > dropped and controller.get(failures, 0) > before

            await eventually(given_up, timeout_seconds=4, what="who rings gives up")
            assert time.monotonic() - hung_at < 2 + 1  # the controller looks once a second
            await passed(hung_at + HANG_SECONDS - 1 - time.monotonic())
            over_at = time.monotonic()
        await running.wait_succeeded(submits.ids)
    assert_as_fast(submits, hung_at, over_at)
    running.assert_each_once(submits.ids)


@pytest.mark.fault("F18")
async def test_a_full_redis_delays_jobs_and_tells(running: Service, client: redis.Redis) -> None:
    api, controller = await running.metrics("api"), await running.metrics("controller")
    async with running.staying_live():
        await client.config_set("maxmemory", "1")
        full_at = time.monotonic()
        try:
            async with load(running, 20) as submits:
                await passed(8)
            full = await running.metrics("controller")
            full_seconds = time.monotonic() - full_at
            dropped = (await running.metrics("api"))["longhaul_api_rings_total{dropped}"]
        finally:
            await client.config_set("maxmemory", "0")
        assert not submits.refused
        assert dropped > api["longhaul_api_rings_total{dropped}"]
        # Backed off: one try a second, not one a submit.
        failures = "longhaul_controller_duty_failures_total{rering}"
        assert 1 <= full[failures] - controller.get(failures, 0) <= full_seconds + 1
        # What the alerts LonghaulDutyFails and LonghaulJobsWait go by.
        assert full["longhaul_jobs_due{default}"] > 0
        await running.wait_succeeded(submits.ids)
    running.assert_each_once(submits.ids)


@pytest.mark.fault("F19")
async def test_rings_repeated_mixed_up_and_late_cost_a_look_each(running: Service, client: redis.Redis) -> None:
    before = await heard(running)
    async with running.deaf():
        ids = await running.submit(20)

        async def all_rung() -> bool:
            return await rung(client) >= len(ids)

        await eventually(all_rung, what="all are rung for")
        rings = (await client.lrange(doorbell.key(QUEUE), 0, -1)) * 100
        random.Random(19).shuffle(rings)
        await client.lpush(doorbell.key(QUEUE), *rings)
    await running.wait_succeeded(ids)
    # An hour late is as good as a moment late: its job is over.
    await client.lpush(doorbell.key(QUEUE), *rings[:100])

    async def all_heard() -> bool:
        return await rung(client) == 0

    await eventually(all_heard, timeout_seconds=20, what="all rings are heard or trimmed")
    running.assert_each_once(ids)
    claimed, in_vain = (now - then for now, then in zip(await heard(running), before, strict=True))
    assert claimed == len(ids)
    assert 0 < in_vain <= len(rings) + 100 + len(ids)


async def heard(running: Service) -> tuple[float, ...]:
    """Doorbells that brought a job, and those that did not."""
    workers = [await running.metrics(worker.name) for worker in running.workers]
    name = "longhaul_doorbells_heard_total"
    return tuple(sum(one.get(f"{name}{{{claimed},{QUEUE}}}", 0) for one in workers) for claimed in ("true", "false"))
