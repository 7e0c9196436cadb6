"""Who rings is killed between the push and its own next step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis.asyncio as redis
from tests.faults.service import Service, service
from tests.waiting import eventually

from longhaul import doorbell

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

JOBS = 1500
"""More than one push holds (`doorbell.PUSH_AT_MOST`), so that a kill also falls between two of them."""
ROUNDS = 3


@pytest.fixture
def running(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Service]:
    with service(database_url, redis_url, tmp_path, workers=1, slots=4) as one:
        yield one


@pytest.mark.fault("F27")
async def test_a_relay_that_dies_after_its_push_costs_doorbells_at_most(running: Service, redis_url: str) -> None:
    """The controller is killed at the first sight of what it pushed; its successor knows nothing of that."""
    async with doorbell.create_client(redis_url) as client, running.deaf():
        running.controller.end()
        ids = await running.submit(JOBS)
        for _ in range(ROUNDS):
            await client.flushall()
            controller = running.here.start_controller()

            async def some_rung() -> bool:
                return await rung(client) > 0

            await eventually(some_rung, timeout_seconds=30, what="the relay has pushed")
            controller.end()  # SIGKILL
            assert 0 < await rung(client) <= JOBS
        successor = running.here.start_controller()
        await doorbell.ring(client, {"default": JOBS})  # what a relay pushes that counted before its twin's push

        async def as_many_as_due() -> bool:
            return await rung(client) == JOBS

        await eventually(as_many_as_due, timeout_seconds=30, what="its successor brings the doorbells in line")
        assert "Traceback" not in successor.log
    await running.wait_succeeded(ids, timeout_seconds=60)
    running.assert_each_once(ids)


async def rung(client: redis.Redis) -> int:
    return (await doorbell.count(client, ["default"]))["default"]
