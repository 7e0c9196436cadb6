"""A controller that dies, or is away: nothing accepted waits for it longer than it takes to have one again."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import UUID

import httpx2
import pytest
import yaml
from tests.faults import promises
from tests.faults.service import service
from tests.faults.submitters import Submitters
from tests.faults.toxiproxy import Toxiproxy
from tests.integration.api.harness import REPORT, publish_tasks
from tests.integration.cli.stack import Api
from tests.integration.controller.refusals import create_role, refused, renewing
from tests.integration.controller.replica import Replica
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer
from tests.pods import FAST_LEASE, free_port
from tests.waiting import eventually, wait_for

from longhaul import doorbell
from longhaul.ledger import queues
from longhaul.ledger.connection import connect, read_clock
from longhaul_cli.embedded import EmbeddedPostgres, EmbeddedValkey

pytestmark = pytest.mark.anyio

LEASE_SECONDS = float(FAST_LEASE["LONGHAUL_LEASE_SECONDS"])
NOISE_SECONDS = 2.0
"""For a machine that does other things too."""
AWAY_SECONDS = 3 * LEASE_SECONDS
ALERTS = Path(__file__).parents[2] / "charts" / "longhaul" / "alerts"


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[list[Replica]]:
    """For the test to fill. All are gone at the end."""
    started: list[Replica] = []
    yield started
    for one in started:
        one.end()


async def rung(redis_url: str, queue: str) -> int:
    async with doorbell.create_client(redis_url) as client:
        return (await doorbell.count(client, [queue]))[queue]


@pytest.mark.fault("F26")
async def test_what_an_api_did_not_ring_for_before_it_died_is_rung_within_a_second(
    database_url: str, breakable_redis: EmbeddedValkey, proxies: Toxiproxy, tmp_path: Path, replicas: list[Replica]
) -> None:
    await publish_tasks(database_url)
    link = proxies.proxy("redis", breakable_redis.port)
    # The controller's own look comes once a second, as by default.
    leader = Replica("leader", database_url, breakable_redis.url, tmp_path, LONGHAUL_TICK_SECONDS="1")
    replicas.append(leader)
    environment = {
        "LONGHAUL_DATABASE_URL": database_url,
        "LONGHAUL_REDIS_URL": breakable_redis.tcp_url(port=link.port),
    }
    start = partial(Api, environment=environment, port=free_port(), log=tmp_path / "api.log")
    api = await asyncio.to_thread(start)
    try:
        await asyncio.to_thread(leader.wait_leads)
        link.cut()
        async with httpx2.AsyncClient(base_url=api.url) as client:
            accepted = await client.post("/v1/jobs", json=REPORT)
        api.send(signal.SIGKILL)
        dead_at = time.monotonic()
        assert accepted.status_code == 202

        async def is_rung() -> bool:
            return await rung(breakable_redis.url, "default") == 1

        await eventually(is_rung, what="the controller rang")
        assert time.monotonic() - dead_at < 1 + NOISE_SECONDS
        assert 'rings_total{outcome="rung"}' not in api.log
    finally:
        api.end()


@pytest.mark.fault("F27")
async def test_a_controller_killed_after_its_push_costs_rings_only(
    database_url: str, redis_url: str, tmp_path: Path, replicas: list[Replica]
) -> None:
    """It marks nothing: the next one counts what is there. A relay that marks would push all of it again, as here."""
    first = Replica("first", database_url, redis_url, tmp_path)
    replicas.append(first)
    await asyncio.to_thread(first.wait_leads)

    async def pushed() -> bool:
        return await rung(redis_url, given.QUEUE) >= 20

    async with await connect(database_url, application_name="test") as connection:
        await queues.declare(connection, [given.QUEUE])
        ids = await given.queued(connection, 20)
        await eventually(pushed, what="the doorbells were pushed")
        first.send(signal.SIGKILL)
        async with doorbell.create_client(redis_url) as client:
            await doorbell.ring(client, {given.QUEUE: 20})
        second = Replica("second", database_url, redis_url, tmp_path)
        replicas.append(second)
        claimer = Claimer()
        claims = [await claimer.claim(connection, slots=1) for _ in range(40)]  # one for each doorbell
        assert sorted(claim.job_id for found in claims for claim in found) == sorted(ids)
        assert {claim.epoch for found in claims for claim in found} == {1}
        await asyncio.to_thread(second.wait_leads)

        async def quiet() -> bool:
            return await rung(redis_url, given.QUEUE) == 0

        await eventually(quiet, what="rings that stand for nothing are gone")


@pytest.mark.fault("F29")
@pytest.mark.timeout(180)
async def test_a_dead_reaper_holds_nobody_up_is_told_of_and_catches_up(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    with service(database_url, redis_url, tmp_path, workers=2, slots=2) as running:
        here = running.here
        lost = await here.submit("demo.sleep", {"seconds": 2, "steps": 20})
        started = await here.wait_event(lost, "started")
        owner = next(worker for worker in running.workers if worker.name == started["data"]["worker"])
        running.controller.end()
        owner.send_all(signal.SIGKILL)
        owner.wait_exit(5)
        running.workers.remove(owner)
        dead_at = time.monotonic()
        async with Submitters(running.api.url, running.signing(seconds=0.05), clients=2) as clients:

            async def for_long() -> bool:
                return time.monotonic() > dead_at + AWAY_SECONDS

            await eventually(for_long, timeout_seconds=AWAY_SECONDS + 5, what="nobody reaped for long")
        assert clients.answers.keys() == {202}
        # Two slots were free, and the API rang for each job: none of them needed a controller.
        rows = await promises.kept(here, clients.accepted, timeout_seconds=20)
        running.assert_each_once([UUID(row["id"]) for row in rows])
        assert (await here.job(lost))["state"] == "running"
        with pytest.raises(httpx2.TransportError):
            await running.metrics("controller")  # what the alert is about: nobody tells that it leads
        alert = yaml.safe_load((ALERTS / "LonghaulNoLeader.yaml").read_text())
        assert "absent(longhaul_controller_is_leader" in alert["expr"]
        here.start_controller()
        await here.wait_event(lost, "started", count=2)
        (ended,) = [one for one in await here.history(lost) if one["type"] == "interrupted"]
        assert ended["data"]["ending"] == "lease_lost"
        assert (await here.wait_state(lost, "succeeded"))["attempt"] == 2


@pytest.mark.fault("F28")
async def test_a_leader_frozen_while_it_lost_the_lead_reaps_nothing_twice(
    database_url: str, redis_url: str, tmp_path: Path, replicas: list[Replica]
) -> None:
    """The frozen one wakes up among leases that the other one is reaping."""
    first = Replica("first", database_url, redis_url, tmp_path)
    replicas.append(first)
    await asyncio.to_thread(first.wait_leads)
    first.send(signal.SIGSTOP)
    second = Replica("second", database_url, redis_url, tmp_path)
    replicas.append(second)
    async with await connect(database_url, application_name="test") as connection:
        await queues.declare(connection, [given.QUEUE])
        await given.queued(connection, 400)
        claims = await Claimer().claim(connection, slots=400)
        await asyncio.to_thread(second.wait_leads, 30)
        await given.expired(connection, *(claim.job_id for claim in claims))
        first.send(signal.SIGCONT)

        async def all_given_back() -> bool:
            return await given.count_running(connection) == 0

        await eventually(all_given_back, timeout_seconds=20, what="every expired lease was reaped")
        cursor = await connection.execute(
            "SELECT count(*) AS events, count(DISTINCT job_id) AS jobs FROM job_events WHERE type = 'interrupted'"
        )
        assert await cursor.fetchone() == {"events": 400, "jobs": 400}
        cursor = await connection.execute("SELECT DISTINCT interruptions FROM jobs")
        assert await cursor.fetchall() == [{"interruptions": 1}]
    wait_for(lambda: "longhaul_controller_is_leader" in first.metrics(), what="the first one is awake")
    assert [first.leads(), second.leads()] == [False, True]
    reaped = [one.metrics().get("longhaul_leases_reaped_total", 0) for one in (first, second)]
    assert sum(reaped) == 400


@pytest.mark.fault("F57")
@pytest.mark.long
@pytest.mark.timeout(300)
async def test_two_read_only_minutes_interrupt_nothing(
    breakable_postgres: EmbeddedPostgres, redis_url: str, tmp_path: Path, replicas: list[Replica]
) -> None:
    """With the leases of production: what is reaped after it was lost, and has had a whole lease to say otherwise."""
    lease = {"LONGHAUL_LEASE_SECONDS": "15", "LONGHAUL_RENEW_SECONDS": "3", "LONGHAUL_TICK_SECONDS": "1"}
    claimer = Claimer()
    async with await connect(breakable_postgres.database_url, application_name="test") as admin:
        await queues.declare(admin, [given.QUEUE])
        await given.queued(admin, 21)
        role_url = await create_role(admin, breakable_postgres)
        claims = await claimer.claim(admin, slots=21, lease_seconds=15)
        async with renewing(role_url, claimer, *claims, lease_seconds=15, renew_seconds=3) as held:
            replicas.extend(Replica(name, role_url, redis_url, tmp_path, **lease) for name in ("first", "second"))
            await asyncio.to_thread(wait_for, lambda: any(one.leads() for one in replicas), what="one of them leads")
            async with refused(breakable_postgres.database_url, "read-only"):
                gone, began_at = held.pop(), time.monotonic()

                async def lasted() -> bool:
                    return time.monotonic() - began_at > 120

                await eventually(lasted, timeout_seconds=130, what="two minutes have passed")
                assert all(one.probe("/livez") is not None for one in replicas)
                assert await given.count_running(admin) == 21
            up_at = await read_clock(admin)

            async def reaped() -> bool:
                return await given.state(admin, gone.job_id) == "queued"

            await eventually(reaped, timeout_seconds=30, what="the one that is gone is reaped")
            row = await given.row(admin, gone.job_id)
            assert (row["updated_at"] - up_at).total_seconds() > 15 - 1
            rows = [await given.row(admin, claim.job_id) for claim in held]
            assert {(row["state"], row["epoch"], row["interruptions"]) for row in rows} == {("running", 1, 0)}
    assert sum(one.metrics()["longhaul_leases_reaped_total"] for one in replicas) == 1
