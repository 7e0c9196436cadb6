"""Workers killed, frozen and drained at the worst moments: what tests/integration/worker/test_faults.py leaves out."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from tests.faults.service import Service, service
from tests.integration.worker.test_faults import LEASE_SECONDS, run_on_one_of_two
from tests.pods import Platform, Worker
from tests.waiting import eventually, wait_for

from longhaul import doorbell
from longhaul.ledger import queues

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

KILLS = 200
JOBS_BETWEEN_KILLS = 8
MAIN_EVERY = 20
"""One in so many kills is of Celery's main process, which takes seconds to come back."""
RERING_SECONDS = 5.0


@pytest.mark.fault("F3")
async def test_memory_that_runs_out_again_and_again_ends_in_the_dead_letter_queue(here: Platform) -> None:
    """By a limit of the process (RLIMIT_AS). Each try was counted as it was claimed; the neighbour is not disturbed."""
    here.start_controller()
    here.start_worker()
    neighbour = await here.submit("demo.sleep", {"seconds": 3, "steps": 30})
    job_id = await here.submit("sample.out_of_memory", max_interruptions=2)
    job = await here.wait_state(job_id, "dead")
    assert (job["attempt"], job["interruptions"], job["retries"]) == (3, 3, 0)
    assert job["error"]["code"] == "out_of_memory"
    assert [one["ending"] for one in await here.attempts(job_id)] == ["crashed"] * 3
    assert (await here.wait_state(neighbour, "succeeded"))["attempt"] == 1


@pytest.mark.fault("F3")
async def test_a_child_that_is_killed_again_and_again_ends_in_the_dead_letter_queue(here: Platform) -> None:
    """SIGKILL is what the kernel does to a process that is over its memory limit."""
    here.start_controller()
    worker = here.start_worker(LONGHAUL_SLOTS="1")
    job_id = await here.submit("demo.sleep", {"seconds": 60, "steps": 600}, max_interruptions=2)
    for attempt in (1, 2, 3):
        await here.wait_event(job_id, "started", count=attempt)
        kill_children(worker)
    job = await here.wait_state(job_id, "dead")
    assert (job["attempt"], job["interruptions"], job["retries"]) == (3, 3, 0)
    assert job["error"]["code"] == "crash"
    assert [one["evidence"]["signal"] for one in await here.attempts(job_id)] == ["SIGKILL"] * 3


def kill_children(worker: Worker, chance: random.Random | None = None) -> int:
    """SIGKILL the pool's children, with `chance` some of them; how many that were."""
    killed = 0
    with suppress(psutil.NoSuchProcess, ValueError):  # Celery itself may just be gone
        children = worker.celery().children()
        for child in chance.sample(children, chance.randint(1, len(children))) if chance and children else children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
                killed += 1
    return killed


@pytest.fixture
def running(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Service]:
    with service(database_url, redis_url, tmp_path, workers=2, slots=6) as one:
        yield one


@pytest.mark.long
@pytest.mark.fault("F4")
@pytest.mark.timeout(600)
async def test_hundreds_of_kills_lose_no_job(running: Service, redis_url: str) -> None:
    """Children and main processes of Celery at random under load, so that many die with a doorbell in hand."""
    chance = random.Random(4)
    killed = 0
    rerung = "longhaul_doorbells_rerung_total{default}"
    before = (await running.metrics("controller")).get(rerung, 0)

    async def watch() -> float:
        """The longest time in seconds for which fewer doorbells than due jobs were there at every look."""
        longest, enough_at = 0.0, time.monotonic()
        async with await running.here.connect() as connection, doorbell.create_client(redis_url) as client:
            while not over.is_set():
                due = (await queues.count_due(connection))["default"]
                if (await doorbell.count(client, ["default"]))["default"] >= due:
                    enough_at = time.monotonic()
                longest = max(longest, time.monotonic() - enough_at)
                await asyncio.sleep(0.1)
        return longest

    ids: list[UUID] = []
    over = asyncio.Event()

    async def load() -> None:
        """Always about twice as many jobs as slots, however fast this machine is just now."""
        while not over.is_set():
            if len(ids) < running.executed + 2 * running.slots:
                ids.extend(await running.submit(10))
            await asyncio.sleep(0.05)

    watching, loading = asyncio.create_task(watch()), asyncio.create_task(load())
    while killed < KILLS:
        worker = chance.choice(running.workers)
        if chance.random() < 1 / MAIN_EVERY:
            with suppress(psutil.NoSuchProcess, ValueError):
                worker.celery().kill()
                killed += 1
        else:
            killed += kill_children(worker, chance)

        async def goes_on(until: int = running.executed + chance.randint(1, JOBS_BETWEEN_KILLS)) -> bool:
            return running.executed >= until

        await eventually(goes_on, timeout_seconds=60, what="jobs are executed again after a kill")
    over.set()
    await loading
    longest = await watching
    await running.wait_succeeded(ids, timeout_seconds=60)
    assert set(running.executions(ids)) == set(ids)
    lost = (await running.metrics("controller"))[rerung] - before
    print(f"{killed} kills, {len(ids)} jobs, {lost:.0f} doorbells rung again, missing for {longest:.1f} s at most")
    assert longest < RERING_SECONDS
    assert lost  # or the kills hit nobody between a doorbell and its claim


@pytest.mark.fault("F4", "F5")
@pytest.mark.parametrize("frozen", ["children", "whole"], ids=["heard, and not claimed", "an idle worker, frozen"])
async def test_doorbells_that_died_with_their_hearer_are_rung_again(
    here: Platform, redis_url: str, frozen: str
) -> None:
    """The moment itself: BRPOP has taken the doorbell out of Redis, the claim has not reached the ledger."""
    here.start_controller()
    doomed = here.start_worker()
    children = doomed.celery().children()
    async with doorbell.create_client(redis_url) as client:

        async def rung() -> int:
            return (await doorbell.count(client, ["default"]))["default"]

        async def is_swallowed() -> bool:
            return await rung() == 0

        async def swallows_while_frozen() -> bool:
            doomed.send_all(signal.SIGSTOP)
            await doorbell.ring(client, {"default": 1})
            if await is_swallowed():
                return True
            doomed.send_all(signal.SIGCONT)  # it was between two BRPOPs: once more
            await eventually(is_swallowed, what="the worker heard it")
            return False

        if frozen == "whole":
            await eventually(swallows_while_frozen, timeout_seconds=30, what="the frozen worker took the doorbell")
            job_id = await here.submit("demo.echo", ring=False)
        else:
            for child in children:
                child.suspend()
            job_id = await here.submit("demo.echo")
            await eventually(is_swallowed, what="the worker took the doorbell")
        doomed.send_all(signal.SIGKILL)
        doomed.wait_exit(5)
        killed_at = time.monotonic()

        async def is_rung() -> bool:
            return await rung() == 1

        await eventually(is_rung, timeout_seconds=RERING_SECONDS, what="the doorbell is rung again")
        assert time.monotonic() - killed_at < RERING_SECONDS
    here.start_worker()
    assert (await here.wait_state(job_id, "succeeded"))["attempt"] == 1


@pytest.mark.fault("F6")
async def test_a_finish_that_comes_after_the_lease_is_rejected(here: Platform) -> None:
    """The keeper alone is frozen, so that its child ends the job meanwhile; the outcome waits in the socket."""
    params = {"seconds": 2, "steps": 4, "checkpoint_every": 0, "payload": "once"}
    job_id, late = await run_on_one_of_two(here, "demo.sleep", params)
    late.send(signal.SIGSTOP)
    await here.wait_event(job_id, "started", count=2, timeout_seconds=LEASE_SECONDS + 4)
    late.send(signal.SIGCONT)
    wait_for(lambda: "lease_lost" in late.log or "outcome_refused" in late.log, what="the late finish is refused")
    job = await here.wait_state(job_id, "succeeded")
    assert (job["attempt"], job["result"]["attempt"]) == (2, 2)
    history = await here.history(job_id)
    assert [event["attempt"] for event in history if event["type"] == "succeeded"] == [2]


@pytest.mark.fault("F7")
async def test_a_freeze_of_three_seconds_changes_nothing(here: Platform) -> None:
    """With the lease that is the default."""
    here.environment |= {"LONGHAUL_LEASE_SECONDS": "15", "LONGHAUL_RENEW_SECONDS": "3"}
    here.start_controller()
    worker = here.start_worker()
    job_id = await here.submit("demo.sleep", {"seconds": 6, "steps": 30})
    await here.wait_event(job_id, "checkpoint", count=3)
    worker.send_all(signal.SIGSTOP)
    frozen_at = time.monotonic()
    wait_for(lambda: time.monotonic() - frozen_at > 3, what="it was frozen for three seconds")
    worker.send_all(signal.SIGCONT)
    job = await here.wait_state(job_id, "succeeded")
    assert (job["attempt"], job["interruptions"]) == (1, 0)
    assert job["result"]["steps_done_here"] == 30


@pytest.mark.fault("F10")
async def test_a_pod_that_is_killed_at_the_end_of_its_grace_resumes_from_its_checkpoint(here: Platform) -> None:
    """The grace period is shorter than the drain, as with a wrong setting or an eviction."""
    job_id, doomed = await run_on_one_of_two(
        here, "demo.sleep", {"seconds": 6, "steps": 30}, LONGHAUL_DRAIN_SECONDS="60", LONGHAUL_HANDOVER_SECONDS="1"
    )
    await here.wait_event(job_id, "checkpoint", count=3)
    doomed.send(signal.SIGTERM)
    wait_for(lambda: "drain_started" in doomed.log, what="it drains")
    saved = (await here.wait_event(job_id, "checkpoint", count=10))["id"]
    doomed.send_all(signal.SIGKILL)
    killed_at = time.monotonic()
    doomed.wait_exit(5)
    await here.wait_event(job_id, "started", count=2, timeout_seconds=LEASE_SECONDS + 4)
    assert time.monotonic() - killed_at < LEASE_SECONDS + 2
    job = await here.wait_state(job_id, "succeeded")
    assert job["attempt"] == 2
    checkpoints = [
        event for event in await here.history(job_id) if (event["type"], event["attempt"]) == ("checkpoint", 1)
    ]
    assert saved in [event["id"] for event in checkpoints]
    assert job["result"]["steps_done_here"] == 30 - len(checkpoints)


@pytest.mark.fault("F11")
async def test_celery_that_hangs_after_the_last_job_is_ended_within_half_a_minute(here: Platform) -> None:
    """With the setting that is the default."""
    worker = here.start_worker()
    job_id = await here.submit("demo.sleep", {"seconds": 2, "steps": 10})
    await here.wait_event(job_id, "started")
    worker.send(signal.SIGTERM)
    wait_for(lambda: "drain_started" in worker.log, what="it drains")
    celery = worker.celery()
    celery.suspend()
    await here.wait_state(job_id, "succeeded")
    ended_at = time.monotonic()
    assert worker.wait_exit(40) == 0
    assert time.monotonic() - ended_at < 30
    wait_for(lambda: not celery.is_running(), what="Celery is gone")
