"""The SQL that gives each component an account of its own, on a real PostgreSQL."""

from __future__ import annotations

import re

import psycopg
import pytest
from tests.infra.terraform import Outcome
from tests.pods import Platform

pytestmark = pytest.mark.anyio


@pytest.fixture
def accounts(guide: Outcome, here: Platform) -> dict[str, str]:
    """URLs by component, after the SQL has run twice."""
    sql = guide.outputs["guide"]["accounts_sql"]
    with psycopg.connect(here.database_url, autocommit=True) as connection:
        for _ in range(2):
            connection.execute(sql.encode())
    passwords = dict(re.findall(r"ALTER ROLE longhaul_(\w+) PASSWORD '(\w+)'", sql))
    assert set(passwords) == {"api", "worker", "controller"}
    return {
        component: re.sub("//[^@/]*@", f"//longhaul_{component}:{password}@", here.database_url)
        for component, password in passwords.items()
    }


async def test_a_job_runs_with_fewer_rights(accounts: dict[str, str], here: Platform) -> None:
    here.start_controller(LONGHAUL_DATABASE_URL=accounts["controller"])
    here.start_worker(LONGHAUL_DATABASE_URL=accounts["worker"])
    job_id = await here.submit("demo.echo")
    await here.wait_state(job_id, "succeeded")


async def test_no_component_changes_tables(accounts: dict[str, str]) -> None:
    for url in accounts.values():
        with psycopg.connect(url, autocommit=True) as connection:
            assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (0,)
            for statement in (b"DROP TABLE jobs", b"CREATE TABLE mine (id int)", b"ALTER TABLE jobs ADD mine int"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement)


async def test_workers_know_no_keys(accounts: dict[str, str]) -> None:
    with psycopg.connect(accounts["worker"]) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT * FROM api_keys")
    with psycopg.connect(accounts["api"]) as connection:
        connection.execute("SELECT * FROM api_keys")
