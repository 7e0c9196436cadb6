"""The scaler sees what runs on a pod also while no controller is there to publish it."""

from __future__ import annotations

import signal
from pathlib import Path
from uuid import UUID

import pytest
from tests.pods import Platform, platform
from tests.waiting import eventually

from longhaul import doorbell
from longhaul_cli.embedded import EmbeddedValkey

pytestmark = pytest.mark.anyio


async def wait_published(redis_url: str, *jobs: UUID) -> None:
    expected = {str(job).encode() for job in jobs}
    async with doorbell.create_client(redis_url) as client:

        async def is_published() -> bool:
            # The controller corrects the sets of the pools that are listed.
            return bool(
                await client.smembers(doorbell.running_key("default")) == expected
                and await client.smembers(doorbell.POOLS_KEY) == {b"default"}
            )

        await eventually(is_published, what=f"the pool's set holds {len(jobs)} jobs")


async def test_what_runs_is_told_at_once_and_until_it_ends(here: Platform, redis_url: str) -> None:
    here.start_worker(LONGHAUL_SLOTS="2")
    long = await here.submit("demo.sleep", {"seconds": 60, "steps": 600})
    short = await here.submit("demo.sleep", {"seconds": 3, "steps": 30})
    await wait_published(redis_url, long, short)
    await here.wait_state(short, "succeeded")
    await wait_published(redis_url, long)


async def test_what_runs_on_a_pod_that_must_go_is_no_demand(here: Platform, redis_url: str) -> None:
    worker = here.start_worker(LONGHAUL_DRAIN_SECONDS="60")
    job = await here.submit("demo.sleep", {"seconds": 8, "steps": 80})
    await wait_published(redis_url, job)
    worker.send(signal.SIGTERM)
    await wait_published(redis_url)
    await here.wait_state(job, "succeeded")


async def test_an_outage_of_redis_delays_it(database_url: str, breakable_redis: EmbeddedValkey, tmp_path: Path) -> None:
    with platform(database_url, breakable_redis.url, tmp_path) as here:
        here.start_worker()
        job = await here.submit("demo.sleep", {"seconds": 3, "steps": 30})
        await wait_published(breakable_redis.url, job)
        breakable_redis.stop()
        await here.wait_state(job, "succeeded")
        breakable_redis.start()
        await wait_published(breakable_redis.url)
