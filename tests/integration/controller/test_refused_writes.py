"""F57: a ledger that answers reads and refuses writes ends no controller, and takes no job from an owner that is alive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
from tests.integration.controller.conftest import StartReplica
from tests.integration.controller.refusals import CHANGES, create_role, refused, renewing
from tests.integration.controller.replica import Replica
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer
from tests.waiting import eventually, wait_for

from longhaul.ledger import events, queues
from longhaul.ledger.connection import Connection, connect, read_clock
from longhaul_cli.embedded import EmbeddedPostgres

pytestmark = [pytest.mark.anyio, pytest.mark.fault("F57")]

LEASE_SECONDS = 3.0
RENEW_SECONDS = 1.0
REFUSED_SECONDS = 2 * LEASE_SECONDS
"""Counted from when the last lease has run out."""


@pytest.fixture
async def admin(breakable_postgres: EmbeddedPostgres) -> AsyncIterator[Connection]:
    """A superuser's connection. Nothing that the test does refuses its reads."""
    async with await connect(breakable_postgres.database_url, application_name="test") as connection:
        await queues.declare(connection, [given.QUEUE])
        yield connection


@pytest.fixture
async def role_url(breakable_postgres: EmbeddedPostgres, admin: Connection) -> str:
    return await create_role(admin, breakable_postgres)


@pytest.fixture
def controllers(role_url: str, redis_url: str, start_replica: StartReplica) -> list[Replica]:
    """Two replicas, one of which leads."""
    settings = {"LONGHAUL_LEASE_SECONDS": str(LEASE_SECONDS), "LONGHAUL_RENEW_SECONDS": str(RENEW_SECONDS)}
    replicas = [start_replica(role_url, redis_url, **settings) for _ in range(2)]
    for replica in replicas:
        replica.wait_probes()
    wait_for(lambda: any(replica.leads() for replica in replicas), what="one of them leads")
    return replicas


@pytest.mark.parametrize("kind", CHANGES)
async def test_an_owner_that_could_not_renew_has_a_whole_lease_to_do_so(
    admin: Connection,
    breakable_postgres: EmbeddedPostgres,
    role_url: str,
    controllers: list[Replica],
    kind: str,
) -> None:
    claimer = Claimer()
    await given.queued(admin, 3)
    first, alive, gone = await claimer.claim(admin, slots=3, lease_seconds=LEASE_SECONDS)
    await given.expired(admin, first.job_id)

    async def reaps() -> bool:
        return await given.state(admin, first.job_id) == "queued"

    async with renewing(
        role_url, claimer, alive, gone, lease_seconds=LEASE_SECONDS, renew_seconds=RENEW_SECONDS
    ) as held:
        await eventually(reaps, timeout_seconds=20, what="the reaper is at work")
        async with refused(breakable_postgres.database_url, kind):
            held.remove(gone)

            async def lasted() -> bool:
                expires_at: datetime = (await given.row(admin, alive.job_id))["lease_expires_at"]
                return await read_clock(admin) - expires_at > timedelta(seconds=REFUSED_SECONDS)

            await eventually(lasted, timeout_seconds=30, what="no lease could be renewed for long")
            for controller in controllers:
                probe = controller.probe("/livez")
                assert probe is not None, controller.log[-2000:]
                assert probe.status_code == 200
            assert await given.count_running(admin) == 2
        up_at = await read_clock(admin)

        async def reaped() -> bool:
            return await given.state(admin, gone.job_id) == "queued"

        await eventually(reaped, timeout_seconds=4 * LEASE_SECONDS, what="the one that is gone is reaped")
        ends = [event for event in await events.read(admin, gone.job_id, after=0) if event["type"] == "interrupted"]
        assert (ends[0]["at"] - up_at).total_seconds() >= LEASE_SECONDS - 0.5
        row = await given.row(admin, alive.job_id)
    assert (row["state"], row["epoch"], row["interruptions"]) == ("running", 1, 0)
    assert sum(controller.metrics()["longhaul_leases_reaped_total"] for controller in controllers) == 2
