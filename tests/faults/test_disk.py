"""Full disks: under PostgreSQL's tables, under its log, under Redis' append-only file."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
import redis
from tests import servers
from tests.faults import promises
from tests.faults.service import service
from tests.faults.small_disk import SmallDisk, small_disk
from tests.faults.submitters import Submitters
from tests.integration.api.harness import REPORT, api_settings, publish_tasks, serving
from tests.waiting import eventually, wait_for

from longhaul.ledger.schema import migrate
from longhaul_cli.embedded import EmbeddedPostgres, EmbeddedValkey, ServerFailed

pytestmark = pytest.mark.anyio

DEADLINE_SECONDS = 2.0
NOISE_SECONDS = 2.0
"""For a machine that does other things too."""
MEBIBYTE = 2**20


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    with small_disk(mebibytes=192) as one:
        yield one


@pytest.fixture
def postgres(disk: SmallDisk) -> Iterator[EmbeddedPostgres]:
    """On a disk of its own. Nothing of what it writes goes elsewhere."""
    options = {**servers.FAST, "max_wal_size": "64MB", "min_wal_size": "32MB", "log_min_messages": "panic"}
    server = EmbeddedPostgres(disk.folder / "home", tcp=True, options=options)
    try:
        migrate(server.start().database_url)
        yield server
    finally:
        disk.free()
        server.stop(immediate=True)


@pytest.mark.fault("F42")
async def test_a_full_disk_under_the_tables_refuses_submits_and_keeps_finished_work(
    disk: SmallDisk, postgres: EmbeddedPostgres, redis_url: str, tmp_path: Path
) -> None:
    settings = {"LONGHAUL_DEADLINE_SECONDS": str(DEADLINE_SECONDS)}
    with service(postgres.database_url, redis_url, tmp_path, workers=1, slots=2, **settings) as running:
        here = running.here
        large = {**running.signing(), "metadata": {"text": secrets.token_hex(6000)}}
        job_id = await here.submit("demo.sleep", {"seconds": 3, "steps": 30})
        await here.wait_event(job_id, "checkpoint")
        async with running.staying_live(), Submitters(running.api.url, large) as clients:
            await clients.more(10)
            disk.fill()
            await clients.more_answers(503, 20, timeout_seconds=60)
            disk.free()
            await clients.more(20)
        assert set(clients.answers) <= {200, 202, 503}
        assert clients.refused_without_hint == 0
        assert clients.slowest_seconds < DEADLINE_SECONDS + NOISE_SECONDS
        rows = await promises.kept(here, clients.accepted)
        running.assert_each_once([UUID(row["id"]) for row in rows])
        job = await here.wait_state(job_id, "succeeded")
        assert (job["attempt"], job["interruptions"]) == (1, 0)


@pytest.mark.fault("F42")
async def test_a_full_disk_under_the_log_stops_postgres_and_loses_nothing(
    disk: SmallDisk, postgres: EmbeddedPostgres, redis_url: str
) -> None:
    """It panics, can't come up while the disk is full, and does once it is not: started again, as a pod would be."""
    await publish_tasks(postgres.database_url)
    accepted: dict[str, str] = {}
    settings = api_settings(postgres.database_url, redis_url, deadline_seconds=DEADLINE_SECONDS, reconnect_seconds=0.2)
    async with serving(settings) as api:

        async def submit(key: str) -> int:
            answer = await api.client.post("/v1/jobs", json=REPORT, headers={"Idempotency-Key": key})
            if answer.status_code in (200, 202):
                accepted[key] = answer.json()["id"]
            else:
                assert (answer.status_code, answer.json()["code"]) == (503, "ledger_unavailable")
                assert int(answer.headers["retry-after"]) >= 1
            return answer.status_code

        assert [await submit(f"before-{number}") for number in range(20)] == [202] * 20
        disk.fill()
        await asyncio.to_thread(write_log_until_it_ends, postgres)
        wait_for(lambda: postgres.pid is None, timeout_seconds=30, what="PostgreSQL gave up")
        assert [await submit(f"away-{number}") for number in range(5)] == [503] * 5
        with pytest.raises(ServerFailed):
            await asyncio.to_thread(postgres.start)
        assert await submit("away-0") == 503
        disk.free()
        await asyncio.to_thread(postgres.start)
        waiting = [f"{when}-{number}" for when, count in (("away", 5), ("before", 20)) for number in range(count)]
        for key in waiting:
            before = accepted.get(key)

            async def is_accepted(key: str = key) -> bool:
                return await submit(key) != 503

            await eventually(is_accepted, what="it is accepted")
            assert before in (None, accepted[key])
    with psycopg.connect(postgres.database_url) as connection:
        rows = connection.execute("SELECT idempotency_key, id::text FROM jobs").fetchall()
    assert dict(rows) == accepted
    assert len(rows) == len(accepted)


def write_log_until_it_ends(postgres: EmbeddedPostgres) -> None:
    """Fill PostgreSQL's log and nothing else, until there is no more room for it."""
    with psycopg.connect(postgres.database_url, autocommit=True) as connection, suppress(psycopg.OperationalError):
        for _ in range(512):
            connection.execute("SELECT pg_logical_emit_message(false, 'test', %s)", ("x" * MEBIBYTE,))
        pytest.fail("the disk took more than it has")


@pytest.mark.fault("F42")
@pytest.mark.timeout(240)
async def test_a_full_disk_under_redis_costs_no_submit_and_ends_with_the_disk(
    database_url: str, tmp_path: Path
) -> None:
    """The ledger takes the jobs; Redis refuses to be written to, and is written to again once there is room."""
    with (
        small_disk(mebibytes=16) as disk,
        EmbeddedValkey(disk.folder / "home", tcp=True, options={"auto-aof-rewrite-percentage": "0"}) as valkey,
        service(database_url, valkey.tcp_url(), tmp_path, workers=1, slots=2) as running,
        redis.Redis.from_url(valkey.url) as client,
    ):

        def is_refusing() -> bool:
            try:
                client.lpush("ballast", "x" * 65536)
                client.delete("ballast")
            except redis.ResponseError as error:
                return "MISCONF" in str(error)
            return False

        celery = running.workers[0].celery()
        async with running.staying_live(), Submitters(running.api.url, running.signing()) as clients:
            await clients.more(20)
            disk.fill()
            await asyncio.to_thread(wait_for, is_refusing, timeout_seconds=20, what="Redis refuses to be written to")
            await clients.more(60)
            disk.free()
            await clients.more(20)
        assert clients.answers.keys() == {202}
        rows = await promises.kept(running.here, clients.accepted, timeout_seconds=120)
        running.assert_each_once([UUID(row["id"]) for row in rows])
        # The one that reads from Redis waits for it, a second at a time, and does not end with all that runs here.
        assert running.workers[0].celery() == celery
        assert running.workers[0].log.count("Connection to broker lost") < 60
