"""F35: migrations under workers that run. One that expands disturbs nobody; one that contracts, or that has not come yet,
keeps those from work that it is not for, and they say why."""

from __future__ import annotations

import psycopg
import pytest
from tests.pods import Platform, Worker
from tests.waiting import wait_for

from longhaul.ledger import schema

pytestmark = [pytest.mark.anyio, pytest.mark.fault("F35")]

EXPAND = """
ALTER TABLE jobs ADD COLUMN weight integer;
ALTER TABLE job_events ADD COLUMN source text;
ALTER TABLE workers ADD COLUMN zone text DEFAULT 'a';
UPDATE alembic_version SET version_num = '9000';
"""
CONTRACT = """
ALTER TABLE jobs RENAME COLUMN run_after TO due_at;
UPDATE alembic_version SET version_num = '9001_serves_9000';
"""
UNDO = f"""
ALTER TABLE jobs RENAME COLUMN due_at TO run_after;
UPDATE alembic_version SET version_num = '{schema.HEAD}';
"""


def migrate(here: Platform, statements: str) -> None:
    """In one transaction, as Alembic does."""
    with psycopg.connect(here.database_url) as connection:
        connection.execute(statements.encode())


def why_not_ready(worker: Worker) -> str:
    answer = worker.probe("/readyz")
    return "" if answer is None or answer.status_code == 200 else answer.text


async def test_a_migration_that_expands_disturbs_nobody(here: Platform) -> None:
    here.start_controller()
    worker = here.start_worker()
    running = await here.submit("demo.sleep", {"seconds": 4, "steps": 8})
    await here.wait_event(running, "checkpoint", count=2)
    migrate(here, EXPAND)
    after = await here.submit("demo.echo", {"payload": 1})
    for job_id in (after, running):
        assert (await here.wait_state(job_id, "succeeded"))["attempt"] == 1
    assert worker.probe("/readyz") is not None
    assert why_not_ready(worker) == ""
    assert "ledger_away" not in worker.log


async def test_a_migration_that_contracts_cuts_old_workers_off(here: Platform) -> None:
    """They claim nothing more, say why, live on, and go on where it is undone."""
    worker = here.start_worker()
    await here.wait_state(await here.submit("demo.echo"), "succeeded")
    waiting = await here.submit("demo.echo", ring=False)
    migrate(here, CONTRACT)
    wait_for(lambda: "9001_serves_9000" in why_not_ready(worker), timeout_seconds=20, what="the worker says why")
    assert f"this version knows those up to {schema.HEAD}: update it" in why_not_ready(worker)
    assert "schema_mismatch" in worker.log
    live = worker.probe("/livez")
    assert live is not None
    assert live.status_code == 200
    migrate(here, UNDO)
    assert (await here.job(waiting))["attempt"] == 0
    worker.wait_ready()
    here.start_controller()  # it rings for what waits
    assert (await here.wait_state(waiting, "succeeded"))["attempt"] == 1


async def test_a_new_worker_waits_for_its_migration(here: Platform) -> None:
    migrate(here, "UPDATE alembic_version SET version_num = '0000'")
    worker = here.launch_worker()
    sentence = f"is at 0000, and this version needs {schema.HEAD}: run `longhaul migrate`"
    wait_for(lambda: sentence in why_not_ready(worker), timeout_seconds=60, what="the worker says what it waits for")
    migrate(here, f"UPDATE alembic_version SET version_num = '{schema.HEAD}'")
    worker.wait_ready()
    await here.wait_state(await here.submit("demo.echo"), "succeeded")
