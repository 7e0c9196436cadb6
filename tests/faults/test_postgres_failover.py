"""The primary dies, and its synchronous standby takes over at the same address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import httpx2
import pytest
from tests import servers
from tests.faults import promises
from tests.faults.service import Service, service
from tests.faults.standby import PRIMARY_OPTIONS, Standby
from tests.faults.submitters import Submitters
from tests.faults.toxiproxy import Proxy, Toxiproxy
from tests.integration.api.harness import Api, api_settings, publish_tasks, serving
from tests.waiting import eventually

from longhaul.ledger.schema import migrate
from longhaul_cli.embedded import EmbeddedPostgres

pytestmark = pytest.mark.anyio

DEADLINE_SECONDS = 2.0


@pytest.fixture
def primary() -> Iterator[EmbeddedPostgres]:
    with servers.temporary_home() as home, EmbeddedPostgres(home, tcp=True, options=PRIMARY_OPTIONS) as server:
        migrate(server.database_url)
        yield server


@pytest.fixture
def link(proxies: Toxiproxy, primary: EmbeddedPostgres) -> Proxy:
    """Between the primary and its standby."""
    return proxies.proxy("replication", primary.port)


@pytest.fixture
def standby(primary: EmbeddedPostgres, link: Proxy) -> Iterator[Standby]:
    with servers.temporary_home() as home:
        one = Standby(home, primary, link=link.port)
        try:
            one.follow()
            yield one
        finally:
            one.stop(immediate=True)


@pytest.fixture
def address(proxies: Toxiproxy, primary: EmbeddedPostgres) -> Proxy:
    """Where all processes believe PostgreSQL to be."""
    return proxies.proxy("postgres", primary.port)


@pytest.fixture
def running(primary: EmbeddedPostgres, address: Proxy, redis_url: str, tmp_path: Path) -> Iterator[Service]:
    settings = {"LONGHAUL_DEADLINE_SECONDS": str(DEADLINE_SECONDS)}
    url = primary.tcp_url(port=address.port)
    with service(url, redis_url, tmp_path, workers=1, slots=4, **settings) as one:
        yield one


async def fail_over(primary: EmbeddedPostgres, standby: Standby, address: Proxy) -> None:
    """As an operator of a cluster does it: the primary is gone for good before the other one takes its place."""
    await asyncio.to_thread(primary.kill)
    await asyncio.to_thread(standby.promote)
    assert standby.port is not None
    address.move(standby.port)


@pytest.mark.fault("F23")
async def test_a_failover_under_load_loses_nothing_that_was_accepted(
    primary: EmbeddedPostgres, standby: Standby, link: Proxy, address: Proxy, running: Service
) -> None:
    long = await running.here.submit("demo.sleep", {"seconds": 8, "steps": 80})
    await running.here.wait_event(long, "checkpoint", count=2)
    async with running.staying_live(), Submitters(running.api.url, running.signing(seconds=0.1)) as clients:
        await clients.more(60)
        # Commits that the primary has made and its standby has not: nobody may be told yes, and they are gone.
        link.silence()
        await clients.more_answers(503, 8)
        await fail_over(primary, standby, address)
        await clients.more(60)
    assert set(clients.answers) <= {200, 202, 503}
    assert clients.refused_without_hint == 0
    rows = await promises.kept(running.here, clients.accepted)
    running.assert_each_once([UUID(row["id"]) for row in rows])
    job = await running.here.wait_state(long, "succeeded")
    assert (job["attempt"], job["interruptions"], job["result"]["steps_done_here"]) == (1, 0, 80)
    assert len(await promises.interrupted(running.here)) <= 2 * running.slots


@pytest.fixture
async def api(primary: EmbeddedPostgres, address: Proxy, redis_url: str) -> AsyncIterator[Api]:
    await publish_tasks(primary.database_url)
    settings = api_settings(primary.tcp_url(port=address.port), redis_url, deadline_seconds=DEADLINE_SECONDS)
    async with serving(settings) as one:
        yield one


@pytest.mark.fault("F23")
async def test_a_repeat_is_not_told_yes_before_the_standby_has_the_job(
    primary: EmbeddedPostgres, standby: Standby, link: Proxy, address: Proxy, api: Api
) -> None:
    """A commit that gave up waiting for the standby is visible on the primary, and lost with it: a repeat under its
    key finds it there, and must not take it for an accepted job."""

    async def submit(key: str) -> httpx2.Response:
        body = {"task": "report.write", "params": {"text": "March"}}
        return await api.client.post("/v1/jobs", json=body, headers={"Idempotency-Key": key})

    assert (await submit("before")).status_code == 202
    link.silence()
    answers = [await submit("march") for _ in range(4)]
    await fail_over(primary, standby, address)

    async def accepted() -> httpx2.Response | None:
        answer = await submit("march")
        return answer if answer.status_code != 503 else None

    after = await eventually(accepted, what="the new primary takes submits")
    told = {answer.json()["id"] for answer in (*answers, after) if answer.status_code in (200, 202)}
    assert len(told) == 1, "a job was accepted, and is gone"
    assert {answer.status_code for answer in answers} == {503}
