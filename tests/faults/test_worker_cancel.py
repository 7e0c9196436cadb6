"""Cancels that race with everything else that may happen to a job."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

import pytest
from tests import servers
from tests.faults.service import Service, service
from tests.pods import FAST_LEASE
from tests.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

RACERS = 20
"""More than there are slots, so that some jobs are cancelled before their claim."""
RACES = 10
"""Of each."""
RENEW_SECONDS = float(FAST_LEASE["LONGHAUL_RENEW_SECONDS"])
TERMINAL = ("succeeded", "failed", "dead", "cancelled")


@pytest.fixture(scope="module")
def running(
    file_database_url: str,
    redis_server: servers.RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("cancel")
    with service(file_database_url, redis_server.redis_url(), folder, workers=2, slots=3) as one:
        yield one


@pytest.mark.fault("F33")
async def test_a_cancel_at_any_moment_leaves_one_end(running: Service) -> None:
    """Before the claim, with it, during the run, with the finish and after it: whatever came first holds."""
    chance = random.Random(33)
    accepted: list[UUID] = []

    async def race() -> None:
        runs_seconds = chance.choice([0.0, 0.2, 2 * RENEW_SECONDS])
        (id,) = await running.submit(seconds=runs_seconds)
        accepted.append(id)
        await asyncio.sleep(chance.uniform(0, runs_seconds + 0.1))
        async with running.client() as client:
            answer = await client.post(f"/v1/jobs/{id}/cancel")
        assert answer.status_code in (200, 202, 409), answer.text

    async def racer() -> None:
        for _ in range(RACES):
            await race()

    await asyncio.gather(*(racer() for _ in range(RACERS)))

    async def all_over() -> bool:
        states = await running.states(accepted)
        return states["queued"] + states["running"] == 0

    await eventually(all_over, timeout_seconds=30, what="all jobs ended")
    states = await running.states(accepted)
    assert states.total() == RACERS * RACES
    assert set(states) == {"succeeded", "cancelled"}, "no race was won by one side: change the times"
    executions = running.executions(accepted)
    claimed: Counter[UUID] = Counter()
    async with await running.here.connect() as connection:
        cursor = await connection.execute(
            "SELECT id, state, array_agg(type ORDER BY seq) AS events FROM jobs JOIN job_events ON job_id = id"
            " WHERE id = ANY(%s) GROUP BY id",
            (accepted,),
        )
        for row in await cursor.fetchall():
            assert [type for type in row["events"] if type in TERMINAL] == [row["state"]]
            assert row["events"][-1] == row["state"]
            assert row["events"].count("started") <= 1
            claimed[row["id"]] = row["events"].count("started")
    assert all(executions[id] <= claimed[id] for id in accepted)
    print(dict(states), f"{sum(claimed.values())} claimed")


@pytest.mark.fault("F33")
async def test_a_cancel_reaches_a_running_job_within_a_renewal(running: Service) -> None:
    ids = await running.submit(running.slots, seconds=30)

    async def all_run() -> bool:
        return len(running.executions(ids)) == len(ids)

    await eventually(all_run, what="all of them run")
    await asyncio.gather(*(running.here.cancel(id) for id in ids))
    for id in ids:
        await running.here.wait_state(id, "cancelled", timeout_seconds=5)
        at = {event["type"]: event["at"] for event in await running.here.history(id)}
        asked, ended = (datetime.fromisoformat(str(at[type])) for type in ("cancel_requested", "cancelled"))
        assert (ended - asked).total_seconds() < RENEW_SECONDS + 1  # and the way to the child and back
