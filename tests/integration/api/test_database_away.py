"""PostgreSQL stopped, silent, slow, or lost in the middle of a commit: 503 within the deadline, never a false 202, and
everything goes on by itself afterwards. Faults F21, F22, F24 and F25 of the design's list."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any

import httpx2
import pytest
from tests import servers
from tests.integration.api.harness import REPORT, Api, EventStream, Keeper, api_settings, publish_tasks, serving
from tests.integration.cli.proxy import Proxy
from tests.waiting import eventually

from longhaul.ledger import keys
from longhaul.ledger.connection import connect
from longhaul.ledger.schema import migrate
from longhaul_api.settings import ApiSettings
from longhaul_cli.embedded import EmbeddedPostgres

pytestmark = pytest.mark.anyio

DEADLINE_SECONDS = 1.0
MARGIN_SECONDS = 2.5
"""For a machine that does other things too."""
UNKNOWN_TASKS = [{"task": f"no.such{n}"} for n in range(1000)]


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    """For the tests of this file: each leaves it running."""
    with servers.temporary_home() as home, EmbeddedPostgres(home, tcp=True, options=servers.FAST) as server:
        migrate(server.database_url)
        asyncio.run(publish_tasks(server.database_url))
        yield server


@pytest.fixture
async def settings(postgres: EmbeddedPostgres, redis_url: str) -> ApiSettings:
    async with await connect(postgres.database_url, application_name="test") as connection:
        await connection.execute("TRUNCATE jobs, job_events, workers, api_keys")
    return api_settings(
        postgres.database_url,
        redis_url,
        deadline_seconds=DEADLINE_SECONDS,
        reconnect_seconds=0.2,
        heartbeat_seconds=0.5,
    )


async def seconds(work: Awaitable[httpx2.Response]) -> tuple[httpx2.Response, float]:
    """An answer, and how long it took."""
    began = time.monotonic()
    return await work, time.monotonic() - began


def requests(client: httpx2.AsyncClient, job: str) -> list[Awaitable[httpx2.Response]]:
    """All that needs the ledger."""
    json = {"Content-Type": "application/json"}
    paths = ["", "?", "/result", "/attempts", "/logs", "/events"]
    return [
        *[client.post("/v1/jobs", json=REPORT, headers={"Idempotency-Key": f"k{n}"}) for n in range(20)],
        client.post("/v1/jobs:batch", json={"jobs": [REPORT] * 1000}),
        client.post("/v1/jobs:batch", json={"jobs": UNKNOWN_TASKS}),
        client.post("/v1/jobs", json={"task": "no.such"}),
        *[client.get(f"/v1/jobs/{job}{path}") for path in paths],
        client.get(f"/v1/jobs/{job}", headers={"Prefer": "wait=30"}),
        *[client.post(f"/v1/jobs/{job}/{action}") for action in ("cancel", "replay")],
        *[client.get(f"/v1/{name}") for name in ("jobs", "queues", "queues/default", "workers", "dead-letters")],
        client.post("/v1/queues/default/pause"),
        client.patch("/v1/queues/default", json={"max_running": 1}),
        *[client.post(f"/v1/dead-letters:{action}", content=b"{}", headers=json) for action in ("replay", "discard")],
    ]


async def assert_all_refused(api: Api, job: str) -> None:
    """Everything that needs the ledger is a 503 within the deadline."""
    for answer, took in await asyncio.gather(*[seconds(one) for one in requests(api.client, job)]):
        assert (answer.status_code, answer.json()["code"]) == (503, "ledger_unavailable"), answer.request.url
        assert int(answer.headers["retry-after"]) >= 1
        assert took < DEADLINE_SECONDS + MARGIN_SECONDS, answer.request.url
    alive, took = await seconds(api.client.get("/livez"))
    assert (alive.status_code, took < MARGIN_SECONDS) == (200, True)
    ready = await api.client.get("/readyz")
    assert (ready.status_code, ready.json()["status"], list(ready.json()["problems"])) == (503, "unready", ["ledger"])


async def assert_back(api: Api) -> None:
    """Submits are taken again, and the API says that it is ready."""

    async def taken() -> bool:
        return (await api.client.post("/v1/jobs", json=REPORT)).status_code == 202

    async def ready() -> bool:
        return (await api.client.get("/readyz")).status_code == 200

    await eventually(taken, what="submits are taken again")
    await eventually(ready, what="the API is ready again")


async def rows(settings: ApiSettings, where: str = "true") -> list[dict[str, Any]]:
    async with await connect(settings.database_url, application_name="test") as connection:
        cursor = await connection.execute(f"SELECT id::text, idempotency_key FROM jobs WHERE {where}".encode())
        return await cursor.fetchall()


@pytest.fixture
async def api(settings: ApiSettings) -> AsyncIterator[Api]:
    async with serving(settings) as running:
        await running.client.get("/v1/tasks")
        yield running


async def test_a_silent_database_is_a_503_in_time(api: Api, settings: ApiSettings, postgres: EmbeddedPostgres) -> None:
    job = await api.submit()
    postgres.pause()
    try:
        await assert_all_refused(api, job["id"])
        async with serving(settings.model_copy(update={"auth_mode": "keys"})) as locked:
            answer, took = await seconds(locked.client.get("/v1/tasks", headers={"Authorization": "Bearer lh_a_b"}))
            assert (answer.status_code, took < DEADLINE_SECONDS + MARGIN_SECONDS) == (
                503,
                True,
            )  # not a 401: nobody knows
    finally:
        postgres.resume()
    await assert_back(api)
    # What was refused may have been committed all the same: its key tells.
    again = await asyncio.gather(
        *[api.client.post("/v1/jobs", json=REPORT, headers={"Idempotency-Key": f"k{n}"}) for n in range(20)]
    )
    assert {answer.status_code for answer in again} <= {200, 202}
    assert len(await rows(settings, "idempotency_key IS NOT NULL")) == 20


async def test_a_stopped_database_is_a_503_and_streams_outlast_it(
    api: Api, keeper: Keeper, settings: ApiSettings, postgres: EmbeddedPostgres
) -> None:
    job = await api.submit()
    claim = await keeper.claim()
    stream = await EventStream.open(api.port, f"/v1/jobs/{job['id']}/events")
    assert await stream.ids(2) == [1, 2]
    await asyncio.to_thread(postgres.stop)
    try:
        await assert_all_refused(api, job["id"])
    finally:
        await asyncio.to_thread(postgres.start)
    await assert_back(api)
    # What happened next was never published: the stream finds it in the ledger that came back.
    async with await connect(settings.database_url, application_name="keeper") as connection:
        back = Keeper(connection, keeper.client)
        back.publishes = False
        await back.progress(claim)
        await back.end(claim)
    assert [event["event"] for event in await stream.rest()] == ["progress", "succeeded"]


async def test_a_database_that_crashes_under_load_accepts_nothing_that_it_forgets(
    api: Api, settings: ApiSettings, postgres: EmbeddedPostgres
) -> None:
    """F21: every 202 is in the ledger, and whoever got a 503 finds out with the same key; no key makes two jobs."""
    statuses: Counter[int] = Counter()
    accepted: dict[str, str] = {}
    stop = asyncio.Event()

    async def client(number: int) -> None:
        turn = 0
        while not stop.is_set():
            key = f"c{number}-{turn}"
            answer = await api.client.post("/v1/jobs", json=REPORT, headers={"Idempotency-Key": key})
            statuses[answer.status_code] += 1
            if answer.status_code in (200, 202):
                accepted[key] = answer.json()["id"]
                turn += 1

    clients = [asyncio.create_task(client(number)) for number in range(10)]
    for _ in range(2):
        done = len(accepted)

        async def more(done: int = done) -> bool:
            return len(accepted) >= done + 50

        await eventually(more, what="fifty more jobs were accepted")
        await asyncio.to_thread(postgres.restart, immediate=True)
    done = len(accepted)
    await eventually(more, what="jobs were accepted after the crashes")
    stop.set()
    await asyncio.gather(*clients)
    assert set(statuses) <= {200, 202, 503}
    assert statuses[503] > 0
    there = await rows(settings)
    assert {row["idempotency_key"]: row["id"] for row in there} == accepted
    assert len(there) == len(accepted)


@pytest.mark.fault("F25")
async def test_a_commit_whose_answer_was_lost_is_found_by_its_key(
    settings: ApiSettings, postgres: EmbeddedPostgres
) -> None:
    """F25, the API's side: PostgreSQL commits, and the connection is cut before it can say so."""
    assert postgres.port is not None
    with Proxy(postgres.port) as proxy:
        through = postgres.tcp_url(port=int(proxy.url.rpartition(":")[2]))
        async with serving(settings.model_copy(update={"database_url": through, "catalogue_seconds": 60})) as api:
            await api.submit()
            keys = (f"march-{number}" for number in itertools.count())

            async def submit(key: str) -> httpx2.Response:
                return await api.client.post("/v1/jobs", json=REPORT, headers={"Idempotency-Key": key})

            async def lost() -> str | None:
                key = next(keys)
                proxy.drop_next_answer()  # the pool may just open a connection: then that one's is dropped
                answer = await submit(key)
                if answer.status_code == 202:
                    return None
                assert (answer.status_code, answer.json()["code"]) == (503, "ledger_unavailable")
                return key if await rows(settings, f"idempotency_key = '{key}'") else None

            key = await eventually(lost, what="a commit was made whose answer was dropped")
            (row,) = await rows(settings, f"idempotency_key = '{key}'")

            async def found() -> httpx2.Response | None:
                answer = await submit(key)
                return answer if answer.status_code != 503 else None

            again = await eventually(found, what="the API has a new connection")
            assert (again.status_code, again.json()["id"]) == (200, row["id"])
            assert again.headers["idempotency-replayed"] == "true"


@pytest.mark.fault("F25")
async def test_an_answer_that_never_reached_its_client_is_repeated(api: Api, settings: ApiSettings) -> None:
    """F25, the client's side: the job is accepted, and the connection is cut before the 202 is through."""
    with Proxy(api.port) as proxy:
        async with httpx2.AsyncClient(base_url=proxy.url) as client:
            proxy.drop_next_answer()
            with pytest.raises(httpx2.TransportError):
                await client.post("/v1/jobs", json=REPORT, headers={"Idempotency-Key": "march"})
            again = await client.post("/v1/jobs", json=REPORT, headers={"Idempotency-Key": "march"})
    assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
    assert [row["id"] for row in await rows(settings)] == [again.json()["id"]]


async def test_a_database_that_is_stuck_is_a_503_and_what_was_refused_is_not_done(
    api: Api, settings: ApiSettings
) -> None:
    """F24: every connection waits for a lock; each question is given up in time, by PostgreSQL too."""
    job = await api.submit()
    async with await connect(settings.database_url, application_name="test") as blocker, blocker.transaction():
        await blocker.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        answers = await asyncio.gather(
            *[seconds(api.client.post("/v1/jobs", json=REPORT)) for _ in range(40)],
            *[seconds(api.client.get(f"/v1/jobs/{job['id']}")) for _ in range(40)],
            *[seconds(api.client.get("/v1/jobs")) for _ in range(10)],
        )
        for answer, took in answers:
            assert (answer.status_code, answer.json()["code"]) == (503, "ledger_unavailable")
            assert took < DEADLINE_SECONDS + MARGIN_SECONDS
        assert (await api.client.get("/livez")).status_code == 200
    await assert_back(api)
    assert len(await rows(settings)) == 2  # the first, and the one that showed that it is back


async def test_a_known_key_outlasts_no_outage_longer_than_it_is_remembered(
    settings: ApiSettings, postgres: EmbeddedPostgres
) -> None:
    async with await connect(settings.database_url, application_name="test") as connection:
        key = await keys.create(connection, name="reader", tenant="default", scopes=["read"])
    bearer = {"Authorization": f"Bearer {key}"}
    more = {"auth_mode": "keys", "key_cache_seconds": 60.0, "catalogue_seconds": 60.0}
    async with serving(settings.model_copy(update=more), headers=bearer) as api:
        assert (await api.client.get("/v1/tasks")).status_code == 200
        postgres.pause()
        try:
            assert (await api.client.get("/v1/tasks")).status_code == 200  # both are remembered
            assert (await api.client.get("/v1/queues")).status_code == 503
        finally:
            postgres.resume()
