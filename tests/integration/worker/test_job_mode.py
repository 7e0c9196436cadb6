"""A worker that ends by itself: after so many jobs, or after so long without one. For pods that run one job each."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.pods import Platform, platform
from tests.waiting import wait_for

from longhaul_cli.embedded import EmbeddedPostgres, EmbeddedValkey

pytestmark = pytest.mark.anyio

ONE_JOB = {"LONGHAUL_SLOTS": "1", "LONGHAUL_EXIT_AFTER_JOBS": "1"}


async def test_a_worker_takes_one_job_and_ends(here: Platform) -> None:
    worker = here.start_worker(**ONE_JOB)
    last = await here.submit("demo.sleep", {"seconds": 1, "steps": 5}, count=3)
    assert worker.wait_exit(20) == 0
    async with await here.connect() as connection:
        cursor = await connection.execute("SELECT state, count(*) AS jobs FROM jobs GROUP BY state")
        states = {row["state"]: row["jobs"] for row in await cursor.fetchall()}
        cursor = await connection.execute("SELECT count(*) AS workers FROM workers")
        assert await cursor.fetchone() == {"workers": 0}
    assert states == {"succeeded": 1, "queued": 2}
    assert (await here.job(last))["interruptions"] == 0


async def test_a_job_that_fails_counts_as_one(here: Platform) -> None:
    here.start_controller()
    worker = here.start_worker(**ONE_JOB)
    job_id = await here.submit("sample.odd_error", {"text": "connection"})
    assert worker.wait_exit(20) == 0
    assert (await here.job(job_id))["attempt"] == 1
    assert here.launch_worker(**ONE_JOB).wait_exit(30) == 0
    job = await here.wait_state(job_id, "succeeded")
    assert job["attempt"] == 2


async def test_several_jobs_side_by_side_and_none_more(here: Platform) -> None:
    """A free slot neither claims a job past the last one, nor takes doorbells from others while it waits."""
    here.start_controller()
    worker = here.start_worker(LONGHAUL_SLOTS="2", LONGHAUL_EXIT_AFTER_JOBS="3")
    await here.submit("demo.sleep", {"seconds": 1.5, "steps": 5}, count=5)
    assert worker.wait_exit(30) == 0
    async with await here.connect() as connection:
        cursor = await connection.execute("SELECT state, count(*) AS jobs FROM jobs GROUP BY state")
        states = {row["state"]: row["jobs"] for row in await cursor.fetchall()}
    assert states == {"succeeded": 3, "queued": 2}


async def test_a_worker_that_gets_no_job_ends(here: Platform) -> None:
    worker = here.start_worker(**ONE_JOB, LONGHAUL_EXIT_IDLE_SECONDS="1.5")
    ready_at = time.monotonic()
    assert worker.wait_exit(20) == 0
    assert time.monotonic() - ready_at > 0.5
    assert "worker_done" in worker.log


async def test_a_job_is_no_idleness(here: Platform) -> None:
    worker = here.start_worker(LONGHAUL_SLOTS="1", LONGHAUL_EXIT_IDLE_SECONDS="1.5")
    job_id = await here.submit("demo.sleep", {"seconds": 4, "steps": 8})
    await here.wait_state(job_id, "succeeded")
    assert worker.wait_exit(20) == 0
    assert (await here.job(job_id))["attempt"] == 1


async def test_an_outage_of_the_database_is_no_idleness(
    breakable_postgres: EmbeddedPostgres, redis_url: str, tmp_path: Path
) -> None:
    with platform(breakable_postgres.database_url, redis_url, tmp_path) as here:
        worker = here.start_worker(**ONE_JOB, LONGHAUL_EXIT_IDLE_SECONDS="4")
        breakable_postgres.stop()
        stopped_at = time.monotonic()
        wait_for(lambda: time.monotonic() - stopped_at > 7, what="the outage is longer than a worker may be idle")
        assert worker.probe("/livez") is not None
        breakable_postgres.start()
        assert worker.wait_exit(20) == 0


async def test_an_outage_of_redis_restarts_nobody_and_nobody_forgets_its_child(
    database_url: str, breakable_redis: EmbeddedValkey, tmp_path: Path
) -> None:
    """F15. Celery's own wait for Redis has no pulse, and its loop starts empty afterwards."""
    with platform(database_url, breakable_redis.url, tmp_path, LONGHAUL_PULSE_SECONDS="6") as here:
        here.start_controller()
        worker = here.start_worker(LONGHAUL_SLOTS="1")
        breakable_redis.stop()
        stopped_at = time.monotonic()

        def outlived() -> bool:
            answer = worker.probe("/livez")
            assert answer is not None
            assert answer.status_code == 200, answer.text
            return time.monotonic() - stopped_at > 12

        wait_for(outlived, timeout_seconds=20, what="it stays live for twice its pulse")
        breakable_redis.start()
        started_at = time.monotonic()
        job_id = await here.submit("demo.sleep", {"seconds": 5, "steps": 20})
        await here.wait_event(job_id, "checkpoint", count=2)
        assert time.monotonic() - started_at < 5
        assert worker.log.count("redis_away") == 1
        for child in worker.celery().children():
            child.kill()
        await here.wait_event(job_id, "started", count=2, timeout_seconds=5)
        first, *_ = await here.attempts(job_id)
        assert (first["ending"], first["evidence"]["signal"]) == ("crashed", "SIGKILL")
