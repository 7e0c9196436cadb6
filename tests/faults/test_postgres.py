"""PostgreSQL restarted, away for longer than the lease, and slow: work goes on, and nothing is accepted that is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from uuid import UUID

import psycopg
import pytest
from tests import servers
from tests.faults import promises
from tests.faults.service import Service, service
from tests.faults.submitters import Submitters
from tests.pods import FAST_LEASE
from tests.waiting import eventually

from longhaul.ledger.schema import migrate
from longhaul_cli.embedded import EmbeddedPostgres

pytestmark = pytest.mark.anyio

OUTAGE_SECONDS = float(os.environ.get("FAULTS_OUTAGE_SECONDS", "25"))
"""Eight leases of these tests; 300 is what the list of faults asks for."""
LEASE_SECONDS = float(FAST_LEASE["LONGHAUL_LEASE_SECONDS"])
OPTIONS = {**servers.FAST, "max_connections": "40"}
DEADLINE_SECONDS = 2.0
NOISE_SECONDS = 2.0
"""For a machine that does other things too."""


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    """For the tests of this file: each leaves it running."""
    with servers.temporary_home() as home, EmbeddedPostgres(home, options=OPTIONS) as server:
        migrate(server.database_url)
        yield server


@pytest.fixture(scope="module")
def started(
    postgres: EmbeddedPostgres, redis_server: servers.RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """All of Longhaul on it. Each test leaves it whole, or the next one says so."""
    settings = {"LONGHAUL_DEADLINE_SECONDS": str(DEADLINE_SECONDS)}
    folder = tmp_path_factory.mktemp("postgres")
    with service(postgres.database_url, redis_server.redis_url(), folder, workers=1, slots=4, **settings) as one:
        yield one


@pytest.fixture
async def running(started: Service) -> Service:
    """The same without any jobs."""
    async with await started.here.connect() as connection:
        await connection.execute("TRUNCATE jobs, job_events")
    return started


def processes(running: Service) -> list[tuple[int, int]]:
    """The keeper and Celery's main process of each worker: its pool children are replaced after a hundred jobs."""
    return [(worker.pid, worker.celery().pid) for worker in running.workers]


@pytest.mark.fault("F21")
async def test_restarts_under_load_lose_nothing_and_interrupt_nobody(
    postgres: EmbeddedPostgres, running: Service
) -> None:
    """Fast ones, where it says goodbye, and immediate ones, where it must recover."""
    long = await running.here.submit("demo.sleep", {"seconds": 8, "steps": 40})
    await running.here.wait_event(long, "checkpoint", count=2)
    before = processes(running)
    async with running.staying_live(), Submitters(running.api.url, running.signing(seconds=0.1)) as clients:
        for immediate in (False, True, False, True):
            await clients.more(30)
            await asyncio.to_thread(postgres.restart, immediate=immediate)
        await clients.more(30)
    assert set(clients.answers) <= {200, 202, 503}
    assert clients.refused_without_hint == 0
    assert clients.slowest_seconds < DEADLINE_SECONDS + NOISE_SECONDS
    rows = await promises.kept(running.here, clients.accepted)
    # A claim whose answer was lost is given back after a lease; nobody ran it. More than those would be a mass reap.
    assert len(await promises.interrupted(running.here)) <= 4 * running.slots
    running.assert_each_once([UUID(row["id"]) for row in rows])
    job = await running.here.wait_state(long, "succeeded")
    assert (job["attempt"], job["interruptions"], job["result"]["steps_done_here"]) == (1, 0, 40)
    assert processes(running) == before


@pytest.mark.fault("F22")
@pytest.mark.timeout(OUTAGE_SECONDS + 120)
async def test_an_outage_longer_than_the_lease_kills_no_work_and_refuses_in_time(
    postgres: EmbeddedPostgres, running: Service
) -> None:
    here = running.here
    ends_in_the_outage = await here.submit("demo.sleep", {"seconds": 4, "steps": 40})
    ends_after_it = await here.submit("demo.sleep", {"seconds": OUTAGE_SECONDS + 8, "steps": 100})
    for job_id in (ends_in_the_outage, ends_after_it):
        await here.wait_event(job_id, "checkpoint")
    third = here.start_worker(LONGHAUL_SLOTS="1", LONGHAUL_QUEUES="lonely")
    orphan = await here.submit("demo.sleep", {"seconds": 2, "steps": 20}, queue="lonely")
    await here.wait_event(orphan, "checkpoint")
    before = processes(running)
    async with running.staying_live():
        await asyncio.to_thread(postgres.stop)
        stopped_at = time.monotonic()
        third.send_all(signal.SIGKILL)  # the one whose owner is really gone
        third.wait_exit(5)
        fourth = here.launch_worker(LONGHAUL_SLOTS="1", LONGHAUL_QUEUES="lonely")
        async with Submitters(running.api.url, running.signing(), name="outage") as clients:

            async def is_over() -> bool:
                return time.monotonic() > stopped_at + OUTAGE_SECONDS

            await eventually(is_over, timeout_seconds=OUTAGE_SECONDS + 5, what="the outage is over")
            assert clients.answers.keys() == {503}
            await asyncio.to_thread(postgres.start)
            up_at = time.monotonic()
            await clients.more(20)
        assert clients.refused_without_hint == 0
        assert clients.slowest_seconds < DEADLINE_SECONDS + NOISE_SECONDS
        fourth.wait_ready()
        await here.wait_event(orphan, "started", count=2)
        recovered_seconds = time.monotonic() - up_at
        await promises.kept(here, clients.accepted)
        jobs = [await here.wait_state(id, "succeeded") for id in (ends_in_the_outage, ends_after_it)]
    assert [(job["attempt"], job["interruptions"]) for job in jobs] == [(1, 0), (1, 0)]
    assert [job["result"]["steps_done_here"] for job in jobs] == [40, 100]
    assert processes(running) == before
    # The reaper was silent for one lease; then it found the one that was gone, and nobody else.
    assert await promises.interrupted(here) == [str(orphan)]
    (lost,) = [one for one in await here.history(orphan) if one["type"] == "interrupted"]
    async with await here.connect() as connection:
        cursor = await connection.execute("SELECT pg_postmaster_start_time() AS up_at")
        row = await cursor.fetchone()
    assert row is not None
    assert (lost["at"] - row["up_at"]).total_seconds() >= LEASE_SECONDS
    assert recovered_seconds < LEASE_SECONDS + 2 + NOISE_SECONDS


@pytest.mark.fault("F24")
async def test_inserts_of_five_seconds_are_refused_in_time_and_no_renewal_waits_for_them(
    postgres: EmbeddedPostgres, running: Service
) -> None:
    job_id = await running.here.submit("demo.sleep", {"seconds": 12, "steps": 60})
    await running.here.wait_event(job_id, "checkpoint")
    # Switched by a row: a change of the table itself would wait for its writers, and all others for that.
    slow = """
    CREATE TABLE slowness (seconds float8); INSERT INTO slowness VALUES (0);
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_sleep(seconds) FROM slowness; RETURN NULL; END';
    CREATE TRIGGER slow BEFORE INSERT ON jobs FOR EACH STATEMENT EXECUTE FUNCTION slow();
    """
    async with await running.here.connect() as connection:
        await connection.execute(slow)
        # More clients than the API has connections for submits, so that they wait for one, too.
        async with running.staying_live(), Submitters(running.api.url, running.signing(), clients=20) as clients:
            await clients.more(20)
            await connection.execute("UPDATE slowness SET seconds = 5")
            await clients.more_answers(503, 40)
            await connection.execute("UPDATE slowness SET seconds = 0")
            await clients.more(20)
        await connection.execute("DROP FUNCTION slow CASCADE; DROP TABLE slowness")
    assert set(clients.answers) <= {200, 202, 503}
    assert clients.refused_without_hint == 0
    assert clients.slowest_seconds < DEADLINE_SECONDS + NOISE_SECONDS
    await promises.kept(running.here, clients.accepted)
    job = await running.here.wait_state(job_id, "succeeded")
    assert (job["attempt"], job["interruptions"]) == (1, 0)
    assert await promises.interrupted(running.here) == []


def take_all(postgres: EmbeddedPostgres, taken: list[psycopg.Connection[psycopg.rows.TupleRow]]) -> None:
    """Take every connection that there is, and those of the API: until it was too slow to get any of them back."""
    gained = True
    while gained:
        before = len(taken)
        with suppress(psycopg.OperationalError):
            while True:
                taken.append(psycopg.connect(postgres.database_url, autocommit=True))
        ended = taken[0].execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'longhaul-api'"
        )
        # An ended one leaves its place a moment later: for us, or for the API's next try.
        gained = len(taken) > before or ended.rowcount > 0


@pytest.mark.fault("F24")
async def test_a_database_without_a_free_connection_refuses_submits_and_renews_leases(
    postgres: EmbeddedPostgres, running: Service
) -> None:
    """Others take every connection, and the API's are ended; the keepers keep theirs."""
    here = running.here
    job_id = await here.submit("demo.sleep", {"seconds": 3 * LEASE_SECONDS, "steps": 40})
    await here.wait_event(job_id, "checkpoint")
    taken: list[psycopg.Connection[psycopg.rows.TupleRow]] = []
    async with running.staying_live(), Submitters(running.api.url, running.signing()) as clients:
        await clients.more(20)
        try:
            await asyncio.to_thread(take_all, postgres, taken)
            refused_at = time.monotonic()
            await clients.more_answers(503, 10)

            async def outlasts_a_lease() -> bool:
                return time.monotonic() > refused_at + 1.5 * LEASE_SECONDS

            await eventually(outlasts_a_lease, what="nobody could connect for longer than a lease")
        finally:
            for one in taken:
                one.close()
        await clients.more(20)
    assert clients.refused_without_hint == 0
    assert clients.slowest_seconds < DEADLINE_SECONDS + NOISE_SECONDS
    job = await here.wait_state(job_id, "succeeded")
    assert (job["attempt"], job["interruptions"]) == (1, 0)
    await promises.kept(here, clients.accepted)
    assert await promises.interrupted(here) == []
