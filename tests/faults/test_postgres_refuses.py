"""F57: a PostgreSQL that answers and refuses everybody: read-only, without a grant, with a statement that always fails, or
with one that does nothing.

Nobody who runs jobs exits over what the database says. Jobs compute on, nothing is interrupted or reaped, and all of it is
committed once the database takes it again.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
import pytest
from tests import servers
from tests.faults.service import Service, service
from tests.waiting import eventually

from longhaul.ledger.schema import migrate
from longhaul_cli.embedded import EmbeddedPostgres

pytestmark = [pytest.mark.anyio, pytest.mark.fault("F57")]

REFUSAL_SECONDS = float(os.environ.get("FAULTS_REFUSAL_SECONDS", "15"))
"""Five leases of these tests; 120 is what the list of faults asks for."""
JOBS = 20
ROLE = "longhaul_app"


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    with servers.temporary_home() as home, EmbeddedPostgres(home, options=servers.FAST) as server:
        migrate(server.database_url)
        execute(
            server,
            f"CREATE ROLE {ROLE} LOGIN PASSWORD '{ROLE}'",
            f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}",
        )
        yield server


@pytest.fixture(scope="module")
def running(
    postgres: EmbeddedPostgres, redis_server: servers.RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """All of Longhaul, as a role that is no superuser: a grant can be taken from it."""
    url = as_role(postgres.database_url)
    with service(url, redis_server.redis_url(), tmp_path_factory.mktemp("refuses"), workers=2, slots=JOBS // 2) as one:
        yield one


def as_role(url: str) -> str:
    info = psycopg.conninfo.conninfo_to_dict(url)
    host, database = info["host"], info["dbname"]
    return f"postgresql://{ROLE}:{ROLE}@/{database}?host={host}" + (f"&port={info['port']}" if "port" in info else "")


def execute(server: EmbeddedPostgres, *statements: str) -> None:
    with psycopg.connect(server.database_url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@dataclass(frozen=True)
class Refusal:
    """What makes the database refuse, and what undoes it."""

    begin: Callable[[EmbeddedPostgres], None]
    end: Callable[[EmbeddedPostgres], None]


def _set_read_only(on: str) -> Callable[[EmbeddedPostgres], None]:
    return lambda server: execute(
        server, f"ALTER SYSTEM SET default_transaction_read_only = {on}", "SELECT pg_reload_conf()"
    )


BROKEN = """
CREATE FUNCTION always_fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'a broken trigger'; END $$
"""
SWALLOWS = "CREATE FUNCTION swallows() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"
NO_SUCCESS = """
CREATE FUNCTION no_success() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF NEW.state = 'succeeded' THEN RAISE division_by_zero; END IF; RETURN NEW; END $$
"""
REFUSALS = {
    "read-only": Refusal(_set_read_only("on"), _set_read_only("off")),
    "a missing grant": Refusal(
        lambda server: execute(server, f"REVOKE INSERT ON job_events FROM {ROLE}"),
        lambda server: execute(server, f"GRANT INSERT ON job_events TO {ROLE}"),
    ),
    "no table may be touched": Refusal(
        lambda server: execute(server, f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {ROLE}"),
        lambda server: execute(server, f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}"),
    ),
    "a trigger that raises": Refusal(
        lambda server: execute(
            server,
            BROKEN,
            "CREATE TRIGGER broken BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION always_fails()",
        ),
        lambda server: execute(server, "DROP TRIGGER broken ON jobs", "DROP FUNCTION always_fails"),
    ),
    "a trigger that swallows every update": Refusal(
        lambda server: execute(
            server,
            SWALLOWS,
            "CREATE TRIGGER swallows BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION swallows()",
        ),
        lambda server: execute(server, "DROP FUNCTION swallows CASCADE"),
    ),
    "rows that nobody may see": Refusal(
        lambda server: execute(server, "ALTER TABLE jobs ENABLE ROW LEVEL SECURITY"),
        lambda server: execute(server, "ALTER TABLE jobs DISABLE ROW LEVEL SECURITY"),
    ),
    "a trigger that takes every success for a bad value": Refusal(
        lambda server: execute(
            server,
            NO_SUCCESS,
            "CREATE TRIGGER no_success BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION no_success()",
        ),
        lambda server: execute(server, "DROP FUNCTION no_success CASCADE"),
    ),
    "a constraint that nothing meets": Refusal(
        lambda server: execute(server, "ALTER TABLE job_events ADD CONSTRAINT never CHECK (false) NOT VALID"),
        lambda server: execute(server, "ALTER TABLE job_events DROP CONSTRAINT never"),
    ),
}


@pytest.mark.timeout(REFUSAL_SECONDS + 120)
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
async def test_a_database_that_refuses_everybody_interrupts_nothing(
    postgres: EmbeddedPostgres, running: Service, refusal: Refusal
) -> None:
    here = running.here
    ends_meanwhile = [await running.submit_long(REFUSAL_SECONDS / 2) for _ in range(JOBS // 2)]
    ends_after_it = [await running.submit_long(REFUSAL_SECONDS + 8) for _ in range(JOBS // 2)]
    for job_id in (*ends_meanwhile, *ends_after_it):
        await here.wait_event(job_id, "progress", timeout_seconds=60)
    pids = [running.controller.pid, *((worker.pid, worker.celery().pid) for worker in running.workers)]
    async with running.staying_live():
        refusal.begin(postgres)
        began_at = time.monotonic()
        try:

            async def is_over() -> bool:
                return time.monotonic() > began_at + REFUSAL_SECONDS

            await eventually(is_over, timeout_seconds=REFUSAL_SECONDS + 30, what="the database refused long enough")
        finally:
            refusal.end(postgres)
        await running.wait_succeeded([*ends_meanwhile, *ends_after_it], timeout_seconds=60)
    for job_id in (*ends_meanwhile, *ends_after_it):
        job = await here.job(job_id)
        assert (job["attempt"], job["interruptions"]) == (1, 0)
    assert pids == [running.controller.pid, *((worker.pid, worker.celery().pid) for worker in running.workers)]
    async with running.client() as client:
        answer = await asyncio.wait_for(client.get("/readyz"), 10)
        assert answer.status_code == 200
