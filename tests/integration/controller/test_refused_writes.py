"""F57: a ledger that answers reads and refuses writes ends no controller, and takes no job from an owner that is alive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta

import psycopg
import pytest
from tests.integration.controller.conftest import StartReplica
from tests.integration.controller.replica import Replica
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer
from tests.waiting import eventually, wait_for

from longhaul.ledger import events, leases, queues
from longhaul.ledger.claims import Claim
from longhaul.ledger.connection import Connection, connect, read_clock
from longhaul_cli.embedded import EmbeddedPostgres

pytestmark = [pytest.mark.anyio, pytest.mark.fault("F57")]

LEASE_SECONDS = 3.0
RENEW_SECONDS = 1.0
REFUSED_SECONDS = 2 * LEASE_SECONDS
"""Counted from when the last lease has run out."""

RAISE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused by a trigger'; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON {table} FOR EACH {each} EXECUTE FUNCTION refuse();
"""
ALL = "ALL ON ALL TABLES IN SCHEMA public"
CHANGES = {
    "read-only": ("ALTER SYSTEM SET default_transaction_read_only = on", "ALTER SYSTEM RESET ALL"),
    "no grant": ("REVOKE UPDATE ON jobs FROM platform", "GRANT UPDATE ON jobs TO platform"),
    "no grant at all": (f"REVOKE {ALL} FROM platform", f"GRANT {ALL} TO platform"),
    "a trigger of each job": (RAISE.format(table="jobs", each="ROW"), "DROP FUNCTION refuse CASCADE"),
    "a trigger of the jobs": (RAISE.format(table="jobs", each="STATEMENT"), "DROP FUNCTION refuse CASCADE"),
    "a lock": ("BEGIN; LOCK TABLE jobs IN SHARE MODE", "COMMIT"),  # as CREATE INDEX takes it
}


@pytest.fixture
async def admin(breakable_postgres: EmbeddedPostgres) -> AsyncIterator[Connection]:
    """A superuser's connection. Nothing that the test does refuses its reads."""
    async with await connect(breakable_postgres.database_url, application_name="test") as connection:
        await connection.execute(f"CREATE ROLE platform LOGIN PASSWORD 'platform'; GRANT {ALL} TO platform")
        await queues.declare(connection, [given.QUEUE])
        yield connection


@pytest.fixture
def role_url(breakable_postgres: EmbeddedPostgres, admin: Connection) -> str:
    """The ledger as a role that owns nothing."""
    return f"postgresql://platform:platform@127.0.0.1:{breakable_postgres.port}/{admin.info.dbname}"


@pytest.fixture
def controllers(role_url: str, redis_url: str, start_replica: StartReplica) -> list[Replica]:
    """Two replicas, one of which leads."""
    settings = {"LONGHAUL_LEASE_SECONDS": str(LEASE_SECONDS), "LONGHAUL_RENEW_SECONDS": str(RENEW_SECONDS)}
    replicas = [start_replica(role_url, redis_url, **settings) for _ in range(2)]
    for replica in replicas:
        replica.wait_probes()
    wait_for(lambda: any(replica.leads() for replica in replicas), what="one of them leads")
    return replicas


@asynccontextmanager
async def refused(database_url: str, kind: str) -> AsyncIterator[None]:
    """Within the block PostgreSQL refuses what a renewal writes."""
    do, undo = CHANGES[kind]
    async with await connect(database_url, application_name="test") as connection:
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute("SET idle_in_transaction_session_timeout = 0")
        await connection.execute(do)
        await connection.execute("SELECT pg_reload_conf()")
        yield
        await connection.execute(undo)
        await connection.execute("SELECT pg_reload_conf()")


@asynccontextmanager
async def renewing(role_url: str, claimer: Claimer, *claims: Claim) -> AsyncIterator[list[Claim]]:
    """Within the block an owner is alive: it tries to renew these at its interval, as a keeper does."""
    held = list(claims)

    async def renew() -> None:
        while True:
            with suppress(psycopg.Error):
                async with await connect(role_url, application_name="owner") as connection:
                    while True:
                        now = [given.lease(claim) for claim in held]
                        await leases.renew(connection, now, worker_id=claimer.id, lease_seconds=LEASE_SECONDS)
                        await asyncio.sleep(RENEW_SECONDS)
            await asyncio.sleep(RENEW_SECONDS)

    task = asyncio.create_task(renew())
    yield held
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


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

    async with renewing(role_url, claimer, alive, gone) as held:
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
