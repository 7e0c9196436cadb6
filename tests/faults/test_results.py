"""Results in the result store whose end was never committed: nobody ever sees them, and they are collected."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from tests.integration.api.harness import api_settings, serving
from tests.pods import Platform, Worker, platform
from tests.stores import keys
from tests.waiting import wait_for

from longhaul.ledger.connection import Connection

pytestmark = [pytest.mark.anyio, pytest.mark.fault("F40")]

SIZE = 50_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def here(database_url: str, redis_url: str, tmp_path: Path, folder: Path) -> Iterator[Platform]:
    settings = {
        "LONGHAUL_RESULT_STORE_URL": f"file://{folder}",
        "LONGHAUL_RESULT_INLINE_BYTES": "10000",
        "LONGHAUL_RESULT_COLLECT_INTERVAL_SECONDS": "0.5",
        "LONGHAUL_RESULT_ORPHAN_SECONDS": "0.5",
    }
    with platform(database_url, redis_url, tmp_path, **settings) as one:
        yield one


async def stored_but_not_committed(here: Platform, connection: Connection, folder: Path) -> UUID:
    """A job whose first attempt has put its result into the store. Its end waits for the row, which `connection` locks."""
    job_id = await here.submit("sample.large_text", {"size": SIZE, "seconds": 2})
    await here.wait_event(job_id, "started")
    await connection.execute("BEGIN")
    await connection.execute("SELECT FROM jobs WHERE id = %s FOR UPDATE", (job_id,))
    wait_for(lambda: keys(folder) == [f"{job_id}/1.json"], timeout_seconds=20, what="the result is in the store")
    return job_id


async def check_the_second_attempt_is_all_there_is(here: Platform, job_id: UUID, folder: Path) -> None:
    job = await here.wait_state(job_id, "succeeded", timeout_seconds=60)
    assert (job["attempt"], job["interruptions"]) == (2, 1)
    settings = api_settings(here.database_url, here.redis_url, result_store_url=f"file://{folder}")
    async with serving(settings) as api:
        answer = await api.client.get(f"/v1/jobs/{job_id}/result")
        assert answer.json()["result"] == {"text": "attempt 2 " + "x" * SIZE}
        wait_for(lambda: f"{job_id}/1.json" not in keys(folder), timeout_seconds=20, what="the orphan is collected")
        assert keys(folder) == [f"{job_id}/2.json"]
        assert (await api.client.get(f"/v1/jobs/{job_id}/result")).content == answer.content


async def test_a_keeper_killed_between_store_and_commit_leaves_an_orphan_that_nobody_sees(
    here: Platform, folder: Path
) -> None:
    killed = here.start_worker(LONGHAUL_SLOTS="1")
    async with await here.connect() as connection:
        job_id = await stored_but_not_committed(here, connection, folder)
        killed.send_all(signal.SIGKILL)
        killed.wait_exit(5)
        await connection.execute("ROLLBACK")
    assert (await here.job(job_id))["state"] == "running"
    here.start_worker()
    here.start_controller()
    await check_the_second_attempt_is_all_there_is(here, job_id, folder)


async def test_a_stale_keeper_s_result_is_refused_although_it_is_in_the_store(here: Platform, folder: Path) -> None:
    """It freezes before its commit, is reaped, and wakes up when another attempt has ended."""
    frozen = here.start_worker(LONGHAUL_SLOTS="1")
    async with await here.connect() as connection:
        job_id = await stored_but_not_committed(here, connection, folder)
        frozen.send_all(signal.SIGSTOP)
        # The statement that waits for the lock would go on without its keeper.
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
            (f"longhaul-worker {frozen.name}",),
        )
        await connection.execute("ROLLBACK")
    here.start_worker()
    here.start_controller()
    await here.wait_state(job_id, "succeeded", timeout_seconds=60)
    frozen.send_all(signal.SIGCONT)
    wait_for(lambda: _is_refused(frozen), timeout_seconds=30, what="the late end is refused")
    await check_the_second_attempt_is_all_there_is(here, job_id, folder)


async def test_results_of_deleted_jobs_are_deleted_after_them(here: Platform, folder: Path) -> None:
    here.start_worker()
    job_id = await here.submit("sample.large_text", {"size": SIZE})
    await here.wait_state(job_id, "succeeded")
    assert keys(folder) == [f"{job_id}/1.json"]
    here.start_controller(LONGHAUL_RETENTION_SECONDS="1", LONGHAUL_RETENTION_INTERVAL_SECONDS="0.2")
    wait_for(lambda: keys(folder) == [], timeout_seconds=30, what="the object is deleted")


def _is_refused(worker: Worker) -> bool:
    return "outcome_refused" in worker.log or "lease_lost" in worker.log
