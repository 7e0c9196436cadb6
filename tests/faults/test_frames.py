"""F45, F47: random and malformed frames, values and texts against a keeper whose other slots run honest jobs."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from pathlib import Path
from random import Random

import psutil
import pytest
from tests.fuzz_tasks import any_text
from tests.pods import Platform, Worker
from tests.waiting import eventually

from longhaul_worker.session import frames

pytestmark = pytest.mark.anyio

FRAMES = int(os.environ.get("FAULTS_FRAMES", "6000"))
"""100,000 is what was asked for; `FAULTS_FRAMES=100000` says all of them."""
FRAMES_A_JOB = 500
GROWTH_BYTES = 96 * 1024 * 1024
SECONDS = max(120, FRAMES // 50)


@pytest.mark.fault("F45", "F47")
@pytest.mark.timeout(SECONDS + 120)
async def test_no_frame_and_no_value_reaches_a_neighbour(here: Platform) -> None:
    worker = here.start_worker(
        LONGHAUL_SLOTS="4", LONGHAUL_TASKS="longhaul_examples.demo,tests.fuzz_tasks", LONGHAUL_MAX_JOBS_PER_CHILD="1000"
    )
    here.start_controller()
    keeper = psutil.Process(worker.pid)
    neighbours = [await here.submit("demo.sleep", {"seconds": SECONDS, "steps": 20 * SECONDS}) for _ in range(2)]
    for job_id in neighbours:
        await here.wait_event(job_id, "checkpoint")
    before = keeper.memory_info().rss
    jobs = FRAMES // 2 // FRAMES_A_JOB // 2 or 1
    strangers = asyncio.create_task(asyncio.to_thread(speak_as_a_stranger, worker, FRAMES // 2))
    ids = {
        task: [
            await here.submit(task, {"seed": seed, "count": FRAMES_A_JOB}, timeout_seconds=120.0)
            for seed in range(jobs)
        ]
        for task in ("fuzz.frames", "fuzz.values")
    }
    ends: Counter[tuple[str, str, str | None]] = Counter()
    for task, task_ids in ids.items():
        for job_id in task_ids:

            async def has_ended(job_id=job_id) -> bool:  # type: ignore[no-untyped-def]  # the loop's own
                return (await here.job(job_id))["state"] not in ("queued", "running")

            await eventually(has_ended, timeout_seconds=SECONDS, what="a job that says anything ended")
            job = await here.job(job_id)
            ends[task, job["state"], (job["error"] or {}).get("code")] += 1
            messages = [str(event["data"]) for event in await here.history(job_id)]
            assert not any("ghost" in message for message in messages)
    assert await strangers == FRAMES // 2
    assert ends == {
        ("fuzz.frames", "dead", "protocol_error"): jobs,
        ("fuzz.values", "succeeded", None): jobs,
    }
    assert keeper.memory_info().rss - before < GROWTH_BYTES
    for job_id in neighbours:
        job = await here.job(job_id)
        assert (job["state"], job["attempt"], job["interruptions"]) == ("running", 1, 0)
        await here.cancel(job_id)
        await here.wait_state(job_id, "cancelled")


def speak_as_a_stranger(worker: Worker, count: int) -> int:
    """From a process that is no pool child: nobody there listens, and nothing is answered."""
    random = Random(1)
    (path,) = {
        one.laddr
        for one in psutil.Process(worker.pid).net_connections("unix")
        if str(one.laddr).endswith("keeper.sock")
    }
    assert Path(str(path)).is_socket()
    for _ in range(count):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(path))
            said = random.choice(
                [
                    random.randbytes(random.randint(0, 100)),
                    frames.encode(frames.Hello(pid=os.getpid())),
                    frames.encode(frames.Pulse()),
                    frames.encode(
                        frames.ClaimRequest(number=1, queue=any_text(random).encode(errors="replace").decode())
                    ),
                    frames.HEADER.pack(random.getrandbits(32), random.getrandbits(32)),
                ]
            )
            connection.sendall(said)
            connection.shutdown(socket.SHUT_WR)
            try:
                assert connection.recv(100) == b""
            except ConnectionResetError:
                continue
    return count
