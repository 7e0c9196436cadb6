"""Results that are too large for the ledger, from a real worker through a real store to a client."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import pytest
from tests import servers
from tests.integration.api.harness import api_settings, serving
from tests.pods import FAST_LEASE, Platform, Worker, platform
from tests.stores import keys, store_away
from tests.waiting import wait_for

from longhaul.client import AsyncClient
from longhaul.ledger import jobs

pytestmark = pytest.mark.anyio

INLINE_BYTES = 100_000
LIMIT_BYTES = 8 * 1024 * 1024
LEASE_SECONDS = float(FAST_LEASE["LONGHAUL_LEASE_SECONDS"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def here(
    file_database_url: str,
    redis_server: servers.RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
    folder: Path,
) -> Iterator[Platform]:
    settings = {
        "LONGHAUL_RESULT_STORE_URL": f"file://{folder}",
        "LONGHAUL_RESULT_STORE_OPTIONS": '{"secret": "unused by folders"}',
        "LONGHAUL_RESULT_INLINE_BYTES": str(INLINE_BYTES),
        "LONGHAUL_STORED_RESULT_LIMIT_BYTES": str(LIMIT_BYTES),
    }
    with platform(file_database_url, redis_server.redis_url(), tmp_path_factory.mktemp("results"), **settings) as one:
        one.start_controller()
        yield one


@pytest.fixture(scope="module")
def worker(here: Platform) -> Worker:
    return here.start_worker(LONGHAUL_CANCEL_GRACE_SECONDS="0.2")


async def row(here: Platform, job_id: UUID) -> dict[str, Any]:
    async with await here.connect() as connection:
        found = await jobs.read_result(connection, job_id)
    assert found is not None
    return found


@pytest.mark.usefixtures("worker")
async def test_a_large_result_goes_through_the_store_and_comes_out_like_any_other(here: Platform, folder: Path) -> None:
    size = 5_000_000
    large = await here.submit("sample.large_text", {"size": size})
    small = await here.submit("sample.large_text", {"size": INLINE_BYTES // 2})
    await here.wait_state(large, "succeeded")
    await here.wait_state(small, "succeeded")
    assert (await row(here, small))["stored"] is None
    stored = await row(here, large)
    assert stored["result"] is None
    assert stored["stored"].key == f"results/default/{large}/1.json"
    assert f"{large}/1.json" in keys(folder)
    settings = api_settings(here.database_url, here.redis_url, result_store_url=f"file://{folder}")
    async with serving(settings) as api, AsyncClient(api.url) as client:
        answer = await api.client.get(f"/v1/jobs/{large}/result")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert int(answer.headers["content-length"]) == len(answer.content)
        expected = {"text": "attempt 1 " + "x" * size}
        assert answer.json() == {"id": str(large), "result": expected}
        assert await client.result(large) == expected
        assert await client.result(small) == {"text": "attempt 1 " + "x" * (INLINE_BYTES // 2)}


@pytest.mark.usefixtures("worker")
async def test_user_code_does_not_learn_of_the_store(here: Platform, folder: Path) -> None:
    job = await here.wait_state(await here.submit("sample.environment"), "succeeded")
    assert "LONGHAUL_REDIS_URL" in job["result"]["text"]
    assert "RESULT_STORE" not in job["result"]["text"]
    assert str(folder) not in job["result"]["text"]


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("size", [LIMIT_BYTES, 40 * 1024 * 1024])
async def test_a_result_past_the_store_s_limit_fails_once(here: Platform, size: int) -> None:
    """The second is larger than any frame of the keeper's socket: that must not look like a crash."""
    job = await here.wait_state(await here.submit("sample.large_text", {"size": size}), "failed")
    assert (job["attempt"], job["error"]["code"]) == (1, "result_too_large")
    assert f"{LIMIT_BYTES:,}" in job["error"]["message"]


@pytest.mark.usefixtures("worker")
async def test_a_result_waits_for_a_store_that_is_away(here: Platform, folder: Path) -> None:
    """Longer than the lease, which goes on: the job is not run again."""
    with store_away(folder):
        job_id = await here.submit("sample.large_text", {"size": 200_000})
        other = await here.submit("sample.large_text", {"size": 10})  # on the other slot
        await here.wait_state(other, "succeeded")
        await here.wait_event(job_id, "started")
        ends_at = time.monotonic() + 2 * LEASE_SECONDS
        while time.monotonic() < ends_at:
            assert (await here.job(job_id))["state"] == "running"
            await anyio.sleep(0.2)
    job = await here.wait_state(job_id, "succeeded")
    assert (job["attempt"], job["retries"], job["interruptions"]) == (1, 0, 0)
    assert f"{job_id}/1.json" in keys(folder)


async def test_a_cancelled_job_does_not_wait_for_the_store(here: Platform, folder: Path, worker: Worker) -> None:
    with store_away(folder):
        job_id = await here.submit("sample.large_text", {"size": 200_000})
        wait_for(lambda: str(job_id) in waiting(worker), timeout_seconds=30, what="the result waits")
        await here.cancel(job_id)
        await here.wait_state(job_id, "cancelled")


async def test_a_store_that_stays_away_ends_the_attempt(here: Platform, folder: Path) -> None:
    impatient = here.start_worker(LONGHAUL_QUEUES="impatient", LONGHAUL_RESULT_STORE_WAIT_SECONDS="0.5")
    with store_away(folder):
        job_id = await here.submit("sample.large_text", {"size": 200_000}, queue="impatient", retries_max=1)
        job = await here.wait_state(job_id, "dead")
    impatient.end()
    assert (job["attempt"], job["retries"]) == (2, 1)
    assert job["error"]["code"] == "result_store_unavailable"
    assert [attempt["ending"] for attempt in await here.attempts(job_id)] == ["transient"] * 2


async def test_a_pod_that_must_go_hands_over_a_job_whose_result_waits(here: Platform, folder: Path) -> None:
    going = here.start_worker(LONGHAUL_QUEUES="going", LONGHAUL_DRAIN_SECONDS="4")
    with store_away(folder):
        job_id = await here.submit("sample.large_text", {"size": 200_000}, queue="going")
        wait_for(lambda: str(job_id) in waiting(going), timeout_seconds=30, what="the result waits")
        going.send(signal.SIGTERM)
        assert going.wait_exit(40) == 0
    assert [attempt["ending"] for attempt in await here.attempts(job_id)] == ["handed_over"]
    assert (await here.job(job_id))["state"] == "queued"


def waiting(worker: Worker) -> str:
    """What its keeper logged of results that wait for the store."""
    return "\n".join(line for line in worker.log.splitlines() if "result_waits" in line)
