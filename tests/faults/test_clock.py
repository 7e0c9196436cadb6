"""Wall clocks that are wrong, or jump: leases go by PostgreSQL's clock, limits by monotonic ones."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from tests.faults.wrong_clock import WrongClock
from tests.integration.controller.replica import LEASE_SECONDS, Replica
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer
from tests.pods import FAST_LEASE, Platform, platform
from tests.waiting import eventually

from longhaul.ledger import leases, queues
from longhaul.ledger.connection import connect

pytestmark = pytest.mark.anyio

HOUR = 3600
NOISE_SECONDS = 5.0
"""For a machine that does other things too."""
END_OF_SUMMER_TIME = datetime(2026, 10, 25, 1, 0, tzinfo=UTC)
"""In Berlin 03:00 becomes 02:00."""


@pytest.fixture
def clock(tmp_path: Path) -> WrongClock:
    return WrongClock(tmp_path)


async def lease_left(here: Platform, id: UUID) -> float:
    """Seconds that a job's lease has left, by PostgreSQL's clock."""
    async with await here.connect() as connection:
        cursor = await connection.execute(
            "SELECT extract(epoch FROM lease_expires_at - now())::float8 AS seconds FROM jobs WHERE id = %s", (id,)
        )
        row = await cursor.fetchone()
    assert row is not None
    left: float = row["seconds"]
    return left


@pytest.mark.fault("F30")
async def test_a_clock_that_jumps_under_a_worker_changes_nothing(
    database_url: str, redis_url: str, tmp_path: Path, clock: WrongClock
) -> None:
    """An hour forward, two back, and over the end of summer time, under one running job with a limit of a minute."""
    lease_seconds = float(FAST_LEASE["LONGHAUL_LEASE_SECONDS"])
    with platform(database_url, redis_url, tmp_path) as here:
        here.start_controller()
        clock.shift(HOUR)
        assert abs(clock.read() - time.time() - HOUR) < NOISE_SECONDS
        worker = here.start_worker(**clock.environment, TZ="Europe/Berlin")
        job_id = await here.submit("demo.sleep", {"seconds": 8, "steps": 40}, timeout_seconds=60.0)
        began = time.monotonic()
        steps = 1
        for offset in (HOUR, -HOUR, int(END_OF_SUMMER_TIME.timestamp() - time.time()) - 1):
            clock.shift(offset)
            steps += 8
            await here.wait_event(job_id, "checkpoint", count=steps)
            assert 0 < await lease_left(here, job_id) <= lease_seconds
        job = await here.wait_state(job_id, "succeeded")
        assert (job["attempt"], job["interruptions"], job["result"]["steps_done_here"]) == (1, 0, 40)
        assert 7 < time.monotonic() - began < 8 + NOISE_SECONDS
        # A limit of seconds is one of seconds, whichever way the clock jumps meanwhile.
        limited = await here.submit("demo.sleep", {"seconds": 60, "steps": 300}, timeout_seconds=3.0, retries_max=0)
        started = await here.wait_event(limited, "started")
        clock.shift(-HOUR)
        await here.wait_event(limited, "checkpoint", count=3)
        clock.shift(HOUR)
        (attempt,) = await here.attempts(limited)
        assert attempt["ending"] is None
        await eventually(lambda: _is_finished(here, limited), timeout_seconds=15, what="the limit was kept")
        (attempt,) = await here.attempts(limited)
        assert attempt["ending"] == "timed_out"
        last = (await here.history(limited))[-1]
        assert 2.9 < (last["at"] - started["at"]).total_seconds() < 3 + NOISE_SECONDS
        # The events of all this have PostgreSQL's times.
        assert abs(time.time() - last["at"].timestamp()) < HOUR / 2
        live = await asyncio.to_thread(worker.probe, "/livez")
        assert live is not None
        assert live.status_code == 200


async def _is_finished(here: Platform, id: UUID) -> bool:
    return (await here.job(id))["finished_at"] is not None


@pytest.mark.fault("F30")
@pytest.mark.parametrize("offset", [HOUR, -HOUR], ids=["fast", "slow"])
async def test_a_controller_with_a_wrong_clock_reaps_what_is_expired_and_nothing_else(
    database_url: str, redis_url: str, tmp_path: Path, clock: WrongClock, offset: int
) -> None:
    clock.shift(offset)
    controller = Replica("controller", database_url, redis_url, tmp_path, **clock.environment)
    try:
        await asyncio.to_thread(controller.wait_leads)
        claimer = Claimer()
        async with await connect(database_url, application_name="test") as connection:
            await queues.declare(connection, [given.QUEUE])
            await given.queued(connection, 2)
            alive, gone = await claimer.claim(connection, slots=2)
            cursor = await connection.execute("SELECT now() AS at")
            row = await cursor.fetchone()
            assert row is not None
            await leases.renew(connection, [given.lease(gone)], worker_id=claimer.id, lease_seconds=LEASE_SECONDS)

            async def reaped() -> bool:
                held = await leases.renew(
                    connection, [given.lease(alive)], worker_id=claimer.id, lease_seconds=LEASE_SECONDS
                )
                assert alive.job_id in held
                return await given.state(connection, gone.job_id) == "queued"

            await eventually(reaped, what="the one that is gone is reaped")
            cursor = await connection.execute("SELECT at FROM job_events WHERE type = 'interrupted'")
            (event,) = await cursor.fetchall()
            assert LEASE_SECONDS <= (event["at"] - row["at"]).total_seconds() < LEASE_SECONDS + 2 + NOISE_SECONDS
            assert await given.state(connection, alive.job_id) == "running"
    finally:
        controller.end()
