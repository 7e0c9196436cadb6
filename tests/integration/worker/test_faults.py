"""A pod whose parts are killed, frozen, drained or cut off: real processes, real signals. Each test has its own pod."""

from __future__ import annotations

import signal
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
import redis.asyncio
from tests.pods import Platform, Worker, platform
from tests.waiting import eventually, wait_for

from longhaul.ledger import queues
from longhaul_cli.embedded import EmbeddedPostgres

pytestmark = pytest.mark.anyio

LONG = {"seconds": 5, "steps": 40}
LEASE_SECONDS = 3.0


async def run_on_one_of_two(
    here: Platform, task: str, params: dict[str, Any], **environment: str
) -> tuple[UUID, Worker]:
    """A job that runs on one of two workers, and that worker; the other one is there to take over."""
    here.start_controller()
    workers = here.start_workers(2, **environment)
    job_id = await here.submit(task, params)
    started = await here.wait_event(job_id, "started")
    return job_id, next(worker for worker in workers if worker.name == started["data"]["worker"])


@pytest.mark.fault("F2")
async def test_a_killed_child_is_noticed_at_once_and_the_job_resumes(here: Platform) -> None:
    """F2: within two seconds, through the report of its end."""
    here.start_controller()
    worker = here.start_worker()
    job_id = await here.submit("demo.sleep", LONG)
    await here.wait_event(job_id, "checkpoint", count=5)
    killed_at = datetime.now(UTC)
    for child in worker.celery().children():
        child.kill()
    await here.wait_event(job_id, "started", count=2, timeout_seconds=5)
    job = await here.wait_state(job_id, "succeeded")
    first, _ = await here.attempts(job_id)
    assert (first["ending"], first["evidence"]["signal"]) == ("crashed", "SIGKILL")
    assert (first["ended_at"] - killed_at).total_seconds() < 2
    assert first["evidence"]["peak_memory_bytes"] > 1_000_000
    assert job["interruptions"] == 1
    assert job["result"]["steps_done"] == 40
    assert job["result"]["steps_done_here"] <= 36  # resumed from a checkpoint at step 5 or later, one step redone


@pytest.mark.fault("F1")
async def test_a_killed_celery_is_replaced_and_its_jobs_go_on(here: Platform) -> None:
    """F1, Celery's main process alone. The next attempt starts within a lease and two seconds."""
    job_id, worker = await run_on_one_of_two(here, "demo.sleep", LONG)
    await here.wait_event(job_id, "checkpoint", count=3)
    celery, children = worker.celery(), worker.celery().children()
    celery.kill()
    killed_at = datetime.now(UTC)
    wait_for(lambda: not any(child.is_running() for child in children), what="no orphan goes on computing")
    job = await here.wait_state(job_id, "succeeded", timeout_seconds=40)
    assert job["attempt"] == 2
    _, second = await here.attempts(job_id)
    assert (second["started_at"] - killed_at).total_seconds() < LEASE_SECONDS + 2

    def is_replaced() -> bool:
        with suppress(ValueError):  # its guard is there, and it is not
            return worker.celery() != celery
        return False

    wait_for(is_replaced, what="Celery was started again")


@pytest.mark.fault("F6")
async def test_a_claim_that_is_heard_of_too_late_starts_nothing(here: Platform, tmp_path: Path) -> None:
    """The pod freezes while its claim is under way; when it thaws, the job has been given back, and has run elsewhere."""
    here.start_controller()
    frozen = here.start_worker()
    async with await here.connect() as connection:
        await queues.limit(connection, "default", max_running=10)
        async with connection.transaction():
            # Claims from a limited queue take turns.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('longhaul:queue:default', 0))")
            job_id = await here.submit("seam.marks", {"path": str(tmp_path / "marks")})

            async def claim_waits() -> bool:
                cursor = await connection.execute("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
                return await cursor.fetchone() is not None

            await eventually(claim_waits, what="the claim is under way")
            frozen.send_all(signal.SIGSTOP)
    await here.wait_event(job_id, "started")
    here.start_worker()
    await here.wait_state(job_id, "succeeded")
    frozen.send_all(signal.SIGCONT)
    wait_for(lambda: "lease_lost" in frozen.log or "outcome_refused" in frozen.log, what="the pod knows it")
    assert (tmp_path / "marks").read_text() == "2\n"


@pytest.mark.fault("F1")
async def test_a_killed_guard_leaves_no_process_of_a_task_behind(here: Platform, tmp_path: Path) -> None:
    worker = here.start_worker()
    job_id = await here.submit("seam.starts_and_works_on", {"path": str(tmp_path / "pid")})
    await here.wait_event(job_id, "started")
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), what="the task started a program")
    program = psutil.Process(int((tmp_path / "pid").read_text()))
    below = [program, *program.children()]
    psutil.Process(worker.pid).children()[0].kill()
    job = await here.wait_state(job_id, "dead")
    assert job["error"]["code"] == "crash"
    wait_for(lambda: not any(process.is_running() for process in below), what="nothing of it goes on")


@pytest.mark.fault("F47")
async def test_a_task_that_writes_to_all_sockets_reaches_no_connection_of_celery(here: Platform) -> None:
    """Nor is what its own module opened taken from it. Celery's first children are older than its connection to Redis."""
    worker = here.start_worker()
    await here.wait_state(await here.submit("seam.echo"), "succeeded")
    before = worker.celery().children()
    for child in before:
        child.kill()
    wait_for(lambda: not any(child.is_running() for child in before), what="the children are replaced")
    for job_id in [await here.submit("seam.writes_to_sockets") for _ in range(4)]:
        assert (await here.wait_state(job_id, "succeeded"))["result"] == {"text": "reached 0, arrived"}


@pytest.mark.fault("F2", "F12")
async def test_a_child_that_is_born_while_celery_handles_an_error_of_redis_knows_nothing_of_it(here: Platform) -> None:
    """Python gives an error that is raised in a handler the handled one as its context: in all jobs of such a child."""
    worker = here.start_worker()
    await here.wait_state(await here.submit("seam.echo"), "succeeded")
    celery, before = worker.celery(), worker.celery().children()
    celery.suspend()
    async with redis.asyncio.Redis.from_url(here.redis_url) as client:
        await client.client_kill_filter(_type="normal", skipme=True)
    for child in before:
        child.kill()
    wait_for(lambda: {child.status() for child in before} == {psutil.STATUS_ZOMBIE}, what="they are dead")
    celery.resume()
    jobs = [await here.submit("seam.looks_around") for _ in range(8)]
    results = [(await here.wait_state(id, "succeeded"))["result"]["text"].partition(" ") for id in jobs]
    assert not {str(child.pid) for child in before} & {pid for pid, _, _ in results}
    assert {seen for _, _, seen in results} == {"None"}


@pytest.mark.fault("F1")
@pytest.mark.parametrize("whole", [False, True], ids=["the keeper alone", "the whole worker"])
async def test_a_killed_keeper_leaves_no_orphan_and_its_jobs_resume_elsewhere(here: Platform, whole: bool) -> None:
    """F1. The next attempt starts within a lease and two seconds."""
    job_id, doomed = await run_on_one_of_two(here, "demo.sleep", LONG)
    await here.wait_event(job_id, "checkpoint", count=3)
    orphans = doomed.descendants()
    assert orphans
    if whole:
        doomed.send_all(signal.SIGKILL)
    else:
        doomed.send(signal.SIGKILL)
    doomed.wait_exit(5)
    wait_for(lambda: not any(orphan.is_running() for orphan in orphans), what="no orphan goes on computing")
    job = await here.wait_state(job_id, "succeeded", timeout_seconds=40)
    first, second = await here.attempts(job_id)
    assert (first["ending"], first["attempt"], second["attempt"]) == ("lease_lost", 1, 2)
    assert (second["started_at"] - first["ended_at"]).total_seconds() < 2
    assert first["evidence"]["overdue_seconds"] < 2
    assert job["result"]["steps_done_here"] < 40


@pytest.mark.fault("F8")
async def test_a_drain_lets_a_short_job_finish(here: Platform) -> None:
    """F8."""
    worker = here.start_worker()
    job_id = await here.submit("demo.sleep", {"seconds": 2, "steps": 20})
    await here.wait_event(job_id, "started")
    waiting = await here.submit("demo.echo")
    await here.wait_state(waiting, "succeeded")
    worker.send(signal.SIGTERM)
    assert worker.wait_exit(20) == 0
    job = await here.job(job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 1)
    async with await here.connect() as connection:
        cursor = await connection.execute("SELECT count(*) AS workers FROM workers")
        assert await cursor.fetchone() == {"workers": 0}


@pytest.mark.fault("F9")
async def test_a_drain_makes_a_long_job_hand_over(here: Platform) -> None:
    """F9: the checkpoint is saved, the lease given back, the next attempt starts within two seconds."""
    params = {"seconds": 6, "steps": 60}
    job_id, worker = await run_on_one_of_two(here, "demo.sleep", params, LONGHAUL_DRAIN_SECONDS="2")
    await here.wait_event(job_id, "checkpoint", count=3)
    worker.send(signal.SIGTERM)
    assert worker.wait_exit(20) == 0
    job = await here.wait_state(job_id, "succeeded", timeout_seconds=40)
    first, second = await here.attempts(job_id)
    assert (first["ending"], first["evidence"]) == ("handed_over", None)
    assert (second["started_at"] - first["ended_at"]).total_seconds() < 2
    assert (job["interruptions"], job["retries"]) == (0, 0)
    saved = [event for event in await here.history(job_id) if (event["type"], event["attempt"]) == ("checkpoint", 1)]
    # Nothing was done twice. (The drain may save the newest step once more.)
    assert job["result"]["steps_done_here"] in (60 - len(saved), 61 - len(saved))


async def test_a_drain_reaches_through_a_group_of_tasks(here: Platform) -> None:
    tasks = {"LONGHAUL_TASKS": "tests.seam_tasks", "LONGHAUL_DRAIN_SECONDS": "2"}
    job_id, worker = await run_on_one_of_two(here, "seam.group", {"text": "drain"}, **tasks)
    await here.wait_event(job_id, "checkpoint")
    worker.send(signal.SIGTERM)
    assert worker.wait_exit(20) == 0
    await here.wait_state(job_id, "succeeded", timeout_seconds=40)
    assert [attempt["ending"] for attempt in await here.attempts(job_id)] == ["handed_over", "succeeded"]


async def test_a_drain_gives_back_what_can_not_hand_over(here: Platform) -> None:
    params = {"value": 5}
    job_id, worker = await run_on_one_of_two(here, "sample.not_interruptible", params, LONGHAUL_DRAIN_SECONDS="2")
    await here.wait_event(job_id, "progress")
    worker.send(signal.SIGTERM)
    assert worker.wait_exit(20) == 0
    await here.wait_state(job_id, "succeeded", timeout_seconds=40)
    first, second = await here.attempts(job_id)
    assert (first["ending"], first["error"]["code"]) == ("handed_over", "drained")
    assert (second["started_at"] - first["ended_at"]).total_seconds() < 2


async def test_a_keeper_that_restarts_in_an_outage_commits_what_it_spooled(
    breakable_postgres: EmbeddedPostgres, redis_url: str, tmp_path: Path
) -> None:
    with platform(breakable_postgres.database_url, redis_url, tmp_path) as here:
        worker = here.start_worker()
        job_id = await here.submit("demo.sleep", {"seconds": 1, "steps": 10})
        await here.wait_event(job_id, "checkpoint", count=2)
        breakable_postgres.stop()
        wait_for(lambda: list((tmp_path / "spool").glob("*.json")), timeout_seconds=20, what="the outcome is on disk")
        worker.send_all(signal.SIGKILL)
        worker.wait_exit(5)
        breakable_postgres.start()
        here.start_worker()
        job = await here.wait_state(job_id, "succeeded")
        assert job["attempt"] == 1


async def test_a_deaf_worker_fails_its_liveness_and_a_busy_one_does_not(here: Platform) -> None:
    here.start_controller()
    worker = here.start_worker(LONGHAUL_DEAF_SECONDS="1", LONGHAUL_SLOTS="1")
    await here.wait_state(await here.submit("demo.echo"), "succeeded")
    worker.celery().suspend()
    await here.submit("demo.echo")

    async def is_deaf() -> bool:
        answer = worker.probe("/livez")
        return answer is not None and answer.status_code == 503 and "doorbells" in answer.json()["problems"]

    await eventually(is_deaf, timeout_seconds=20, what="a deaf worker is not live")
    worker.celery().resume()

    async def is_live() -> bool:
        answer = worker.probe("/livez")
        return answer is not None and answer.status_code == 200

    await eventually(is_live, timeout_seconds=20, what="a worker that hears again is live")
    busy = await here.submit("demo.sleep", {"seconds": 6, "steps": 60})
    await here.wait_event(busy, "started")
    await here.submit("demo.echo", count=5)
    await here.wait_event(busy, "checkpoint", count=40)
    assert await is_live()
