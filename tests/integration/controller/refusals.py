"""A ledger that answers reads and refuses what a renewal writes, and the owners that live through it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psycopg
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer

from longhaul.ledger import leases
from longhaul.ledger.claims import Claim
from longhaul.ledger.connection import Connection, connect
from longhaul_cli.embedded import EmbeddedPostgres

RAISE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused by a trigger'; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON {table} FOR EACH {each} EXECUTE FUNCTION refuse();
"""
SWALLOW = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION refuse();
"""
ALL = "ALL ON ALL TABLES IN SCHEMA public"
CHANGES = {
    "read-only": ("ALTER SYSTEM SET default_transaction_read_only = on", "ALTER SYSTEM RESET ALL"),
    "no grant": ("REVOKE UPDATE ON jobs FROM platform", "GRANT UPDATE ON jobs TO platform"),
    "no grant at all": (f"REVOKE {ALL} FROM platform", f"GRANT {ALL} TO platform"),
    "a trigger of each job": (RAISE.format(table="jobs", each="ROW"), "DROP FUNCTION refuse CASCADE"),
    "a trigger of the jobs": (RAISE.format(table="jobs", each="STATEMENT"), "DROP FUNCTION refuse CASCADE"),
    "a trigger that swallows": (SWALLOW, "DROP FUNCTION refuse CASCADE"),
    "hidden rows": ("ALTER TABLE jobs ENABLE ROW LEVEL SECURITY", "ALTER TABLE jobs DISABLE ROW LEVEL SECURITY"),
    "a lock": ("BEGIN; LOCK TABLE jobs IN SHARE MODE", "COMMIT"),  # as CREATE INDEX takes it
}


async def create_role(admin: Connection, server: EmbeddedPostgres) -> str:
    """The ledger's URL for a new role that owns nothing, and may do what the platform needs."""
    await admin.execute(f"CREATE ROLE platform LOGIN PASSWORD 'platform'; GRANT {ALL} TO platform")
    return f"postgresql://platform:platform@127.0.0.1:{server.port}/{admin.info.dbname}"


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
async def renewing(
    role_url: str, claimer: Claimer, *claims: Claim, lease_seconds: float, renew_seconds: float
) -> AsyncIterator[list[Claim]]:
    """Within the block an owner is alive: it tries to renew what it holds at its interval, as a keeper does."""
    held = list(claims)

    async def renew() -> None:
        while True:
            with suppress(psycopg.Error):
                async with await connect(role_url, application_name="owner") as connection:
                    while True:
                        now = [given.lease(claim) for claim in held]
                        await leases.renew(connection, now, worker_id=claimer.id, lease_seconds=lease_seconds)
                        await asyncio.sleep(renew_seconds)
            await asyncio.sleep(renew_seconds)

    task = asyncio.create_task(renew())
    yield held
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
