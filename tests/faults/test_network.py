"""Slow, silent and cut connections between a worker, the API, PostgreSQL and Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from tests import servers
from tests.faults import promises
from tests.faults.service import Service, service
from tests.faults.submitters import Submitters
from tests.faults.toxiproxy import Proxy, Toxiproxy
from tests.pods import Worker, platform
from tests.waiting import wait_for

from longhaul.ledger.schema import migrate
from longhaul_cli.embedded import EmbeddedPostgres, EmbeddedValkey

pytestmark = pytest.mark.anyio

BLIPS = 20
DEADLINE_SECONDS = 2.0
NOISE_SECONDS = 4.0
"""For a machine that does other things too."""
LEASE = {"LONGHAUL_LEASE_SECONDS": "12", "LONGHAUL_RENEW_SECONDS": "2"}
"""Nearly the defaults: a round of the keeper has eight seconds."""


@dataclass
class Lines:
    """What everything goes through on its way to the servers."""

    postgres: Proxy
    redis: Proxy

    def restore(self) -> None:
        self.postgres.restore()
        self.redis.restore()


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    """For the tests of this file."""
    with servers.temporary_home() as home, EmbeddedPostgres(home, tcp=True, options=servers.FAST) as server:
        migrate(server.database_url)
        yield server


@pytest.fixture(scope="module")
def valkey() -> Iterator[EmbeddedValkey]:
    """For the tests of this file."""
    with servers.temporary_home() as home, EmbeddedValkey(home, tcp=True) as server:
        yield server


@pytest.fixture(scope="module")
def lines(shared_proxies: Toxiproxy, postgres: EmbeddedPostgres, valkey: EmbeddedValkey) -> Lines:
    return Lines(shared_proxies.proxy("postgres", postgres.port), shared_proxies.proxy("redis", valkey.port))


@pytest.fixture(scope="module")
def started(
    postgres: EmbeddedPostgres, valkey: EmbeddedValkey, lines: Lines, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """All of Longhaul behind those lines."""
    settings = {**LEASE, "LONGHAUL_DEADLINE_SECONDS": str(DEADLINE_SECONDS)}
    urls = postgres.tcp_url(port=lines.postgres.port), valkey.tcp_url(port=lines.redis.port)
    with service(*urls, tmp_path_factory.mktemp("network"), workers=1, slots=4, **settings) as one:
        yield one


@pytest.fixture
async def running(started: Service, lines: Lines) -> AsyncIterator[Service]:
    """The same without any jobs, on sound lines."""
    async with await started.here.connect() as connection:
        await connection.execute("TRUNCATE jobs, job_events")
    yield started
    lines.restore()


@pytest.mark.fault("F12", "F21")
@pytest.mark.timeout(240)
async def test_twenty_blips_of_every_connection_lose_nothing_and_run_nothing_twice(
    lines: Lines, running: Service
) -> None:
    async with running.staying_live(), Submitters(running.api.url, running.signing(seconds=0.1)) as clients:
        for number in range(BLIPS):
            await clients.more(4)
            both = (lines.postgres, lines.redis)
            for line in both if number % 3 == 0 else both[number % 2 :][:1]:
                await asyncio.to_thread(line.blip)
        await clients.more(20)
    assert set(clients.answers) <= {200, 202, 503}
    rows = await promises.kept(running.here, clients.accepted)
    running.assert_each_once([UUID(row["id"]) for row in rows])
    # A claim whose answer was lost is given back, unexecuted, after its lease.
    assert len(await promises.interrupted(running.here)) <= BLIPS * running.slots


@pytest.mark.fault("F24")
async def test_slow_and_narrow_connections_to_postgres_cost_time_and_nothing_else(
    lines: Lines, running: Service
) -> None:
    """Some 300 ms a round trip, as between continents, and 64 kB/s."""
    long = await running.here.submit("demo.sleep", {"seconds": 10, "steps": 20})
    await running.here.wait_event(long, "checkpoint")
    lines.postgres.slow(latency_ms=150, jitter_ms=50)
    lines.postgres.narrow(kilobytes_per_second=64)
    async with running.staying_live(), Submitters(running.api.url, running.signing()) as clients:
        await clients.more(30, timeout_seconds=60)
    assert set(clients.answers) <= {200, 202, 503}
    assert clients.answers[202] >= 20  # an answer in time is the rule
    lines.restore()
    rows = await promises.kept(running.here, clients.accepted)
    running.assert_each_once([UUID(row["id"]) for row in rows])
    job = await running.here.wait_state(long, "succeeded")
    assert (job["attempt"], job["interruptions"]) == (1, 0)
    assert await promises.interrupted(running.here) == []


@pytest.mark.fault("F21", "F22")
@pytest.mark.parametrize("how", ["silence", "reset"])
async def test_lines_to_postgres_that_die_without_a_word_are_given_up_and_replaced(
    lines: Lines, running: Service, how: str
) -> None:
    """Nobody says that the connection is gone: the API answers within its deadline, the job goes on."""
    long = await running.here.submit("demo.sleep", {"seconds": 6, "steps": 30})
    await running.here.wait_event(long, "checkpoint")
    async with running.staying_live(), Submitters(running.api.url, running.signing()) as clients:
        await clients.more(10)
        lines.postgres.silence() if how == "silence" else lines.postgres.reset()
        await clients.more_answers(503, 8)
        lines.restore()
        await clients.more(10)
    assert set(clients.answers) <= {200, 202, 503}
    assert clients.refused_without_hint == 0
    assert clients.slowest_seconds < DEADLINE_SECONDS + NOISE_SECONDS
    rows = await promises.kept(running.here, clients.accepted)
    running.assert_each_once([UUID(row["id"]) for row in rows])
    job = await running.here.wait_state(long, "succeeded")
    assert (job["attempt"], job["interruptions"]) == (1, 0)


def spooled(folder: Path) -> list[Path]:
    """The outcomes that a keeper keeps until the ledger takes them."""
    return list(folder.glob("*.json"))


def is_settled(folder: Path) -> bool:
    return not spooled(folder)


@pytest.mark.fault("F31")
@pytest.mark.timeout(180)
async def test_a_worker_without_postgres_claims_nothing_and_its_late_outcome_is_refused(
    breakable_postgres: EmbeddedPostgres, redis_url: str, shared_proxies: Toxiproxy, tmp_path: Path
) -> None:
    """It still hears every doorbell. The other worker gets its job meanwhile, and that one's result counts. Twice: with
    a connection that is refused, and with one that is silent."""
    with platform(breakable_postgres.database_url, redis_url, tmp_path) as here:
        here.start_controller()
        links: dict[str, Proxy] = {}
        pods: dict[str, Worker] = {}
        for name in ("one", "two"):
            links[name] = shared_proxies.proxy(name, breakable_postgres.port)
            pods[name] = here.launch_worker(
                LONGHAUL_WORKER_NAME=name,
                LONGHAUL_DATABASE_URL=breakable_postgres.tcp_url(port=links[name].port),
                LONGHAUL_SPOOL_DIR=str(tmp_path / name),
            )
        for pod in pods.values():
            pod.wait_ready()
        for how in ("cut", "silence"):
            job_id = await here.submit("demo.sleep", {"seconds": 6, "steps": 60, "checkpoint_every": 0})
            name = (await here.wait_event(job_id, "started"))["data"]["worker"]
            link, spool = links[name], tmp_path / name
            link.cut() if how == "cut" else link.silence()
            for other in [await here.submit("demo.echo") for _ in range(8)]:
                await here.wait_state(other, "succeeded")
                assert {one["worker"] for one in await here.attempts(other)} == links.keys() - {name}
            again = await here.wait_event(job_id, "started", count=2)
            assert again["data"]["worker"] != name
            wait_for(partial(spooled, spool), timeout_seconds=20, what="its outcome is on disk")
            live = pods[name].probe("/livez")
            assert live is not None
            assert live.status_code == 200
            link.restore()
            wait_for(partial(is_settled, spool), what="its outcome was refused")
            job = await here.wait_state(job_id, "succeeded")
            assert (job["attempt"], job["interruptions"], job["result"]["attempt"]) == (2, 1, 2)
            ends = [one for one in await here.history(job_id) if one["type"] == "succeeded"]
            assert [one["attempt"] for one in ends] == [2]
