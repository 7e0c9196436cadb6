"""A pod whose output can't be written runs its jobs as any other: the log collector is gone, or the disk is full."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.pods import Platform, Worker, platform

pytestmark = pytest.mark.anyio


@pytest.fixture
def here(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Platform]:
    with platform(database_url, redis_url, tmp_path) as one:
        one.start_controller()
        yield one


def start_worker(here: Platform, output: str) -> Worker:
    """With an output that takes nothing any more once it runs."""
    reader, writer = (None, os.open("/dev/full", os.O_WRONLY)) if output == "full disk" else os.pipe()
    worker = here.launch_worker(writer)
    os.close(writer)
    worker.wait_ready()
    if reader is not None:
        os.close(reader)
    return worker


@pytest.mark.parametrize("output", ["no reader", "full disk"])
async def test_an_output_that_takes_nothing_costs_no_job(here: Platform, output: str) -> None:
    worker = start_worker(here, output)
    sleeps = await here.submit("demo.sleep", {"seconds": 3, "steps": 30})
    await here.wait_event(sleeps, "progress")
    for number in range(3):
        echo = await here.submit("demo.echo", {"text": str(number)})
        await here.wait_state(echo, "succeeded")
    # An outage is something to log as well, in the keeper's loop.
    with psycopg.connect(here.database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'longhaul-worker%'"
        )
    job = await here.wait_state(sleeps, "succeeded")
    assert (job["attempt"], job["interruptions"]) == (1, 0)
    last = await here.submit("demo.sleep", {"seconds": 2, "steps": 4})
    await here.wait_event(last, "started")
    worker.send(signal.SIGTERM)
    assert worker.wait_exit(60) == 0
    job = await here.wait_state(last, "succeeded")
    assert (job["attempt"], job["interruptions"]) == (1, 0)
