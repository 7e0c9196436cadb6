"""Redis silent, stopped, emptied or full: jobs are accepted as fast as ever and streams go on from the ledger.
Faults F13, F14, F16, F18 and F26 of the design's list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import httpx2
import pytest
import redis.asyncio as redis
from tests import servers
from tests.integration.api.harness import REPORT, Api, EventStream, Keeper, api_settings, publish_tasks, serving
from tests.integration.cli import stack
from tests.pods import free_port
from tests.waiting import eventually

from longhaul import doorbell
from longhaul.ledger import jobs, queues
from longhaul.ledger.connection import connect
from longhaul_api import context
from longhaul_api.settings import ApiSettings
from longhaul_cli.embedded import EmbeddedValkey

pytestmark = pytest.mark.anyio

NEVER_SECONDS = 60.0
"""Instead of 0.5: a submit that waited for a silent Redis would wait so long."""


@pytest.fixture(scope="module")
def valkey() -> Iterator[EmbeddedValkey]:
    """For the tests of this file: each leaves it running."""
    with servers.temporary_home() as home, EmbeddedValkey(home, options={"appendfsync": "no"}) as server:
        yield server


@pytest.fixture
async def settings(database_url: str, valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch) -> ApiSettings:
    monkeypatch.setattr(context, "DOORBELL_SECONDS", NEVER_SECONDS)
    async with redis.Redis.from_url(valkey.url) as client:
        await client.flushall()
    await publish_tasks(database_url)
    return api_settings(database_url, valkey.url, reconnect_seconds=0.2, away_poll_seconds=0.2)


@pytest.fixture
async def api(settings: ApiSettings) -> AsyncIterator[Api]:
    async with serving(settings) as running:
        # All connections are there, and the doorbell of this one is no test's.
        await running.submit(queue="printing")

        async def is_rung() -> bool:
            return await rung(settings, "printing") == 1

        await eventually(is_rung, what="the first job was rung for")
        yield running


async def is_ready_but(api: Api, *degraded: str) -> bool:
    answer = await api.client.get("/readyz")
    assert answer.status_code == 200
    report = answer.json()
    assert report["problems"] == {}
    return bool(report["status"] == ("degraded" if degraded else "ok") and list(report["degraded"]) == list(degraded))


async def is_live(api: Api, wanted: bool) -> bool:
    return api.context.hub.is_live is wanted


async def submit_many(api: Api, count: int = 30) -> list[str]:
    """Ids of jobs, all of which were accepted before anyone would give Redis up."""

    async def one() -> str:
        id: str = (await api.submit())["id"]
        return id

    async with asyncio.timeout(NEVER_SECONDS / 2):
        return [id for _ in range(count // 10) for id in await asyncio.gather(*[one() for _ in range(10)])]


async def rung(settings: ApiSettings, queue: str = "default") -> int:
    async with redis.Redis.from_url(settings.redis_url) as client:
        return (await doorbell.count(client, [queue]))[queue]


async def due(settings: ApiSettings) -> int:
    """What the controller rings for."""
    async with await connect(settings.database_url, application_name="test") as connection:
        return (await queues.count_due(connection))["default"]


async def new_job_is_rung_for(api: Api, settings: ApiSettings) -> bool:
    """A doorbell that could not be rung is forgotten, so each try takes a new job."""
    before = await rung(settings)
    await api.submit()

    async def more() -> bool:
        return await rung(settings) > before

    try:
        return await eventually(more, timeout_seconds=1, what="it is rung")
    except AssertionError:
        return False


async def test_a_silent_redis_slows_no_submit_and_streams_go_on(
    api: Api, keeper: Keeper, settings: ApiSettings, valkey: EmbeddedValkey
) -> None:
    job = await api.submit()
    claim = await keeper.claim()
    path = f"/v1/jobs/{job['id']}/events"
    before = await EventStream.open(api.port, path)
    assert await before.ids(2) == [1, 2]
    keeper.publishes = False  # its messages would be lost
    valkey.pause()
    try:
        await submit_many(api)
        during = await EventStream.open(api.port, path)
        await keeper.progress(claim, 3)
        assert await before.ids(3) == [3, 4, 5]
        assert await during.ids(5) == [1, 2, 3, 4, 5]
        await eventually(partial(is_ready_but, api, "redis"), what="the API says that Redis is away, and stays ready")
        await eventually(partial(is_live, api, False), what="the silence was noticed")
        # What this process does itself is told at once, Redis or not.
        assert (await api.client.post(f"/v1/jobs/{job['id']}/cancel")).status_code == 202
        assert [await stream.ids(1, timeout_seconds=1) for stream in (before, during)] == [[6], [6]]
        poll = asyncio.create_task(api.client.get(f"/v1/jobs/{job['id']}", headers={"Prefer": "wait=10"}))
        await api.listening(3)
        await keeper.end(claim)
        assert (await poll).json()["state"] == "succeeded"
        assert [event["event"] for stream in (before, during) for event in await stream.rest()] == ["succeeded"] * 2
    finally:
        valkey.resume()
    await eventually(partial(is_ready_but, api), what="all is well again")
    await eventually(partial(is_live, api, True), what="events come over Redis again")
    await eventually(partial(new_job_is_rung_for, api, settings), what="doorbells are rung again")


async def test_a_redis_that_comes_back_empty_has_lost_nothing_that_counts(
    api: Api, keeper: Keeper, settings: ApiSettings, valkey: EmbeddedValkey
) -> None:
    job = await api.submit()
    claim = await keeper.claim()
    stream = await EventStream.open(api.port, f"/v1/jobs/{job['id']}/events")
    assert await stream.ids(2) == [1, 2]
    async with redis.Redis.from_url(valkey.url) as client:
        await client.flushall()
    await asyncio.to_thread(valkey.kill)
    try:
        await submit_many(api)
        await eventually(partial(is_ready_but, api, "redis"), what="the API says that Redis is away, and stays ready")
        keeper.publishes = False
        await keeper.progress(claim)
        assert await stream.ids(1) == [3]
    finally:
        await asyncio.to_thread(valkey.start)
    assert (await rung(settings), await due(settings)) == (0, 30)  # which the controller sees, and rings
    await eventually(partial(is_live, api, True), what="events come over Redis again")
    keeper.publishes = True
    await keeper.progress(claim)
    await keeper.end(claim)
    assert [int(event["id"]) for event in await stream.rest()] == [4, 5]
    await eventually(partial(new_job_is_rung_for, api, settings), what="doorbells are rung again")
    await eventually(partial(is_ready_but, api), what="all is well again")


async def test_a_full_redis_takes_no_doorbells_and_jobs_are_accepted(
    api: Api, settings: ApiSettings, valkey: EmbeddedValkey
) -> None:
    async with redis.Redis.from_url(valkey.url) as client:
        await client.config_set("maxmemory", "1")
        try:
            await submit_many(api)

            async def dropped() -> bool:
                return 'longhaul_api_rings_total{outcome="dropped"} 30.0' in (await api.client.get("/metrics")).text

            await eventually(dropped, what="30 doorbells were counted as dropped")
        finally:
            await client.config_set("maxmemory", "0")
    assert (await rung(settings), await due(settings)) == (0, 30)
    await eventually(partial(new_job_is_rung_for, api, settings), what="doorbells are rung again")


async def test_an_api_that_dies_between_commit_and_ring_has_kept_its_word(
    settings: ApiSettings, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    """F26: SIGKILL after the 202, the doorbell not rung: the job is due in the ledger, where the controller finds it."""
    environment = {"LONGHAUL_DATABASE_URL": settings.database_url, "LONGHAUL_REDIS_URL": settings.redis_url}
    start = partial(stack.Api, environment=environment, port=free_port(), log=tmp_path / "api.log")
    process = await asyncio.to_thread(start)
    valkey.pause()
    try:
        async with httpx2.AsyncClient(base_url=process.url) as client:
            accepted = await client.post("/v1/jobs", json=REPORT, headers={"Idempotency-Key": "march"})
        process.end()
    finally:
        process.end()
        valkey.resume()
    assert accepted.status_code == 202
    async with redis.Redis.from_url(settings.redis_url) as client:
        await client.flushall()  # what the frozen Redis may have taken in
    assert (await rung(settings), await due(settings)) == (0, 1)
    async with await connect(settings.database_url, application_name="test") as connection:
        (row,) = await jobs.list_jobs(connection, tenant="default")
    assert (str(row["id"]), row["state"], row["event_seq"]) == (accepted.json()["id"], "queued", 1)
    process = await asyncio.to_thread(start)
    try:
        async with httpx2.AsyncClient(base_url=process.url) as client:
            again = await client.post("/v1/jobs", json=REPORT, headers={"Idempotency-Key": "march"})
    finally:
        process.end()
    assert (again.status_code, again.json()["id"]) == (200, accepted.json()["id"])
