"""PostgreSQL answers and refuses: it is read-only, a grant is missing, a trigger raises. Every write is a 503 that says
what is wrong, `/readyz` names it, reads go on, and all is well again without a restart."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import redis.asyncio as redis
from tests import servers
from tests.integration.api.harness import REPORT, Api, EventStream, Keeper, api_settings, publish_tasks, serving
from tests.integration.api.test_errors import check_problem
from tests.waiting import eventually

from longhaul.ledger import keys
from longhaul.ledger.connection import connect
from longhaul.ledger.schema import migrate
from longhaul_api.settings import ApiSettings
from longhaul_api.submissions import BATCH_SIZE, SAMPLES
from longhaul_cli.embedded import EmbeddedPostgres

pytestmark = pytest.mark.anyio

ROLE, PASSWORD = "api", "secret"
WEBHOOK = "https://example.com/told"
URGENT = 9
"""The priority of jobs that a trigger of these tests refuses."""


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    """For the tests of this file: each leaves it mended."""
    with servers.temporary_home() as home, EmbeddedPostgres(home, options=servers.FAST) as server:
        migrate(server.database_url)
        asyncio.run(publish_tasks(server.database_url))
        asyncio.run(execute(server, f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'", *GRANT))
        yield server


async def execute(postgres: EmbeddedPostgres, *statements: str) -> None:
    """As the superuser, and writable whatever the server is for others."""
    async with await connect(postgres.database_url, application_name="test") as connection:
        await connection.execute("SET default_transaction_read_only = off")
        for statement in statements:
            await connection.execute(statement.encode())


@pytest.fixture
async def settings(postgres: EmbeddedPostgres, redis_url: str) -> ApiSettings:
    await execute(postgres, "TRUNCATE jobs, job_events, workers, api_keys, webhook_deliveries")
    url = postgres.database_url.replace(f"longhaul:{postgres.password}@", f"{ROLE}:{PASSWORD}@")
    return api_settings(url, redis_url, webhooks="https", reconnect_seconds=0.2)


@pytest.fixture
async def api(settings: ApiSettings) -> AsyncIterator[Api]:
    async with serving(settings) as running:
        yield running


@pytest.fixture
async def keeper(postgres: EmbeddedPostgres, settings: ApiSettings) -> AsyncIterator[Keeper]:
    async with (
        await connect(postgres.database_url, application_name="keeper") as connection,
        redis.Redis.from_url(settings.events_redis_url) as client,
    ):
        one = Keeper(connection, client)
        await one.register()
        yield one


_REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM nextval('calls');
    IF {when} THEN RAISE EXCEPTION 'SELECT is broken in relation x' USING ERRCODE = '{state}'; END IF;
    RETURN NEW;
END $$
"""


def raises(state: str, *, when: str = "true", each: str = "ROW") -> tuple[str, ...]:
    """Triggers that let no write of these tables pass. They count their calls, which no rollback takes back."""
    tables = ("jobs", "queues", "webhook_deliveries")
    create = "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {table} FOR EACH {each} EXECUTE FUNCTION refuse()"
    return (
        "CREATE SEQUENCE calls",
        "GRANT ALL ON calls TO PUBLIC",
        _REFUSE.format(when=when, state=state),
        *(create.format(table=table, each=each) for table in tables),
    )


GRANT = (f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {ROLE}",)
DROP_TRIGGERS = ("DROP FUNCTION refuse CASCADE", "DROP SEQUENCE calls")


@dataclass(frozen=True)
class Trouble:
    """What an administrator does, what it takes to mend it, and what the API says meanwhile."""

    made_by: tuple[str, ...]
    mended_by: tuple[str, ...]
    says: str
    shows_at_a_write_only: bool = False


TROUBLES = {
    "read-only": Trouble(
        ("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"),
        ("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()"),
        r"^The database is read-only: ",
    ),
    "no grant": Trouble(
        (f"REVOKE INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public FROM {ROLE}",),
        GRANT,
        r"^The database's role lacks a grant",
    ),
    "a trigger raises at each statement": Trouble(
        raises("P0001", each="STATEMENT"), DROP_TRIGGERS, r"^The database refuses what this request needs"
    ),
    **{
        f"a trigger raises {state}": Trouble(
            raises(state), DROP_TRIGGERS, r"^The database refuses what this request needs", shows_at_a_write_only=True
        )
        for state in ("P0001", "XX000", "0A000", "LH001")
    },
}


@asynccontextmanager
async def in_trouble(postgres: EmbeddedPostgres, trouble: Trouble) -> AsyncIterator[None]:
    await execute(postgres, *trouble.made_by)
    try:
        yield
    finally:
        await execute(postgres, *trouble.mended_by)


@dataclass(frozen=True)
class Jobs:
    """What there is before the trouble."""

    queued: str
    dead: str
    told: str
    """Succeeded, with a webhook."""


async def given_jobs(api: Api, keeper: Keeper) -> Jobs:
    dead = await api.submit()
    await keeper.die(await keeper.claim())
    told = await api.submit(webhook=WEBHOOK)
    claim = await keeper.claim()
    await keeper.log(claim, "half way")
    await keeper.end(claim, result={"pages": 7})
    queued = await api.submit()
    return Jobs(queued["id"], dead["id"], told["id"])


def writes(client: httpx2.AsyncClient, jobs: Jobs) -> list[Awaitable[httpx2.Response]]:
    """All that changes the ledger."""
    json = {"Content-Type": "application/json"}
    return [
        *[client.post("/v1/jobs", json=REPORT) for _ in range(20)],
        client.post("/v1/jobs", json=REPORT, headers={"Idempotency-Key": "march"}),
        client.post("/v1/jobs:batch", json={"jobs": [REPORT] * 250}),
        client.post(f"/v1/jobs/{jobs.queued}/cancel"),
        client.post(f"/v1/jobs/{jobs.dead}/replay"),
        client.post(f"/v1/jobs/{jobs.told}/webhook/redeliver"),
        *[client.post(f"/v1/dead-letters/{jobs.dead}/{action}") for action in ("replay", "discard")],
        *[client.post(f"/v1/dead-letters:{action}", content=b"{}", headers=json) for action in ("replay", "discard")],
        *[client.post(f"/v1/queues/default/{action}") for action in ("pause", "resume")],
        client.patch("/v1/queues/default", json={"max_running": 1}),
    ]


async def assert_reads_go_on(api: Api, jobs: Jobs) -> None:
    paths = [
        *[f"jobs/{jobs.told}{part}" for part in ("", "/result", "/attempts", "/logs", "/webhook")],
        *["jobs", "queues", "queues/default", "workers", "tasks", "dead-letters", f"dead-letters/{jobs.dead}"],
    ]
    for answer in await asyncio.gather(*[api.client.get(f"/v1/{path}") for path in paths]):
        assert answer.status_code == 200, answer.request.url
    stream = await EventStream.open(api.port, f"/v1/jobs/{jobs.told}/events")
    assert [event["event"] for event in await stream.rest()] == ["queued", "started", "log", "succeeded"]


async def readiness(api: Api) -> tuple[int, dict[str, Any]]:
    answer = await api.client.get("/readyz")
    return answer.status_code, answer.json()


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
async def test_writes_are_503_with_a_reason_and_reads_go_on(
    api: Api, keeper: Keeper, postgres: EmbeddedPostgres, trouble: Trouble
) -> None:
    jobs = await given_jobs(api, keeper)
    follower = await EventStream.open(api.port, f"/v1/jobs/{jobs.queued}/events")
    assert await follower.ids(1) == [1]
    assert await readiness(api) == (200, {"status": "ok", "problems": {}, "degraded": {}})

    async with in_trouble(postgres, trouble):

        async def is_named() -> bool:
            if trouble.shows_at_a_write_only:
                await api.client.post("/v1/jobs", json=REPORT)
            status, body = await readiness(api)
            assert (status, body["problems"]) == (200, {})
            return body["status"] == "degraded" and bool(re.search(trouble.says, body["degraded"]["ledger"]))

        await eventually(is_named, what="/readyz names the trouble")
        for answer in await asyncio.gather(*writes(api.client, jobs)):
            assert (answer.status_code, check_problem(answer)) == (503, "ledger_refuses"), answer.request.url
            assert re.search(trouble.says, answer.json()["detail"]), answer.text
        await assert_reads_go_on(api, jobs)
        assert (await api.client.get("/livez")).status_code == 200

    async def is_well() -> bool:
        return (await readiness(api)) == (200, {"status": "ok", "problems": {}, "degraded": {}})

    async def is_accepted() -> bool:
        return (await api.client.post("/v1/jobs", json=REPORT)).status_code == 202

    await eventually(is_accepted, what="a job is accepted")  # a session reads new settings when it gets to it
    await eventually(is_well, what="/readyz is well again")
    statuses = Counter([(await answer).status_code for answer in writes(api.client, jobs)])
    # What was refused was not done: the dead letter is replayed now, and once.
    assert statuses == {202: 24, 200: 6, 409: 2}
    await follower.close()


async def ask(postgres: EmbeddedPostgres, sql: str) -> Any:
    async with await connect(postgres.database_url, application_name="test") as connection:
        row = await (await connection.execute(sql.encode())).fetchone()
        return row and next(iter(row.values()))


async def test_one_job_that_the_database_refuses_takes_no_other_along(api: Api, postgres: EmbeddedPostgres) -> None:
    trouble = Trouble(raises("P0001", when=f"NEW.priority = {URGENT}"), DROP_TRIGGERS, "")
    urgent = REPORT | {"priority": URGENT}
    async with in_trouble(postgres, trouble):
        for where in (0, BATCH_SIZE // 2, BATCH_SIZE - 1):
            jobs = [REPORT] * where + [urgent] + [REPORT] * (BATCH_SIZE - 1 - where)
            batch = await api.client.post("/v1/jobs:batch", json={"jobs": jobs})
            statuses = [one["status"] for one in batch.json()["jobs"]]
            assert (statuses.pop(where), set(statuses)) == (503, {202})
        alone = await asyncio.gather(
            *[api.client.post("/v1/jobs", json=REPORT | {"priority": n % (URGENT + 1)}) for n in range(100)]
        )
        assert Counter(answer.status_code for answer in alone) == {202: 90, 503: 10}
    assert await ask(postgres, "SELECT count(*) FROM jobs") == 3 * (BATCH_SIZE - 1) + 90
    assert await ask(postgres, f"SELECT count(*) FROM jobs WHERE priority = {URGENT}") == 0


@pytest.mark.parametrize("key", [{}, {"idempotency_key": "swallowed"}], ids=["without a key", "with a key"])
async def test_a_job_that_the_database_swallows_is_refused_at_once_and_takes_no_other_along(
    api: Api, postgres: EmbeddedPostgres, key: dict[str, str]
) -> None:
    swallow = f"""CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.priority = {URGENT} THEN RETURN NULL; END IF; RETURN NEW; END $$"""
    create = "CREATE TRIGGER refuse BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION refuse()"
    trouble = Trouble((swallow, create), ("DROP FUNCTION refuse CASCADE",), "")
    async with in_trouble(postgres, trouble):
        began_at = time.monotonic()
        batch = await api.client.post(
            "/v1/jobs:batch", json={"jobs": [REPORT, REPORT | {"priority": URGENT} | key, REPORT]}
        )
        assert [one["status"] for one in batch.json()["jobs"]] == [202, 503, 202]
        assert time.monotonic() - began_at < 1


async def test_a_database_that_refuses_everything_is_asked_a_few_times_only(
    api: Api, postgres: EmbeddedPostgres
) -> None:
    trouble = Trouble(raises("P0001"), DROP_TRIGGERS, "")
    async with in_trouble(postgres, trouble):
        batch = await api.client.post("/v1/jobs:batch", json={"jobs": [REPORT] * 10 * BATCH_SIZE})
        assert (batch.status_code, batch.json()["code"]) == (503, "ledger_refuses")
        # Each statement calls the trigger once: with its first row.
        assert await ask(postgres, "SELECT last_value FROM calls") <= 10 * (1 + SAMPLES)


async def test_what_was_committed_is_accepted_whatever_becomes_of_the_rest(
    api: Api, postgres: EmbeddedPostgres
) -> None:
    """A repeat is answered under a lock of its job's row, which is a grant of its own (UPDATE)."""
    known = await api.client.post("/v1/jobs", json=REPORT, headers={"Idempotency-Key": "known"})
    trouble = Trouble((f"REVOKE UPDATE ON jobs FROM {ROLE}",), GRANT, "")
    repeat = REPORT | {"idempotency_key": "known"}
    async with in_trouble(postgres, trouble):
        batch = await api.client.post("/v1/jobs:batch", json={"jobs": [REPORT, repeat, REPORT, repeat, REPORT]})
        assert [one["status"] for one in batch.json()["jobs"]] == [202, 503, 202, 503, 202]
        assert "grant" in batch.json()["jobs"][1]["error"]["detail"]
        for job in batch.json()["jobs"][::2]:
            assert (await api.job(job["job"]["id"]))["state"] == "queued"
    assert await ask(postgres, "SELECT count(*) FROM jobs") == 4
    again = await api.client.post("/v1/jobs", json=REPORT, headers={"Idempotency-Key": "known"})
    assert (again.status_code, again.json()["id"]) == (200, known.json()["id"])


async def test_a_refused_job_is_accepted_later_under_its_key_and_once(api: Api, postgres: EmbeddedPostgres) -> None:
    headers = {"Idempotency-Key": "march"}
    async with in_trouble(postgres, TROUBLES["no grant"]):
        assert (await api.client.post("/v1/jobs", json=REPORT, headers=headers)).status_code == 503
    answers = [await api.client.post("/v1/jobs", json=REPORT, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 200]
    assert await ask(postgres, "SELECT count(*) FROM jobs") == 1


async def test_without_the_grants_of_reads_nothing_is_served_and_no_key_is_called_wrong(
    settings: ApiSettings, postgres: EmbeddedPostgres
) -> None:
    async with await connect(postgres.database_url, application_name="test") as connection:
        key = await keys.create(connection, name="reader", tenant="default", scopes=["read"])
    trouble = Trouble((f"REVOKE SELECT ON ALL TABLES IN SCHEMA public FROM {ROLE}",), GRANT, "")
    more = {"auth_mode": "keys", "key_cache_seconds": 0.0}
    headers = {"Authorization": f"Bearer {key}"}
    async with serving(settings.model_copy(update=more), headers=headers) as api:
        async with in_trouble(postgres, trouble):
            for path in ("jobs", "queues", "tasks"):
                answer = await api.client.get(f"/v1/{path}")
                assert (answer.status_code, check_problem(answer)) == (503, "ledger_refuses")
            status, body = await readiness(api)
            assert (status, body["status"], body["degraded"]) == (503, "unready", {})
            assert re.search(TROUBLES["no grant"].says, body["problems"]["ledger"])

        async def is_well() -> bool:
            return (await readiness(api))[0] == 200

        await eventually(is_well, what="the API is ready again")
        assert (await api.client.get("/v1/jobs")).status_code == 200
