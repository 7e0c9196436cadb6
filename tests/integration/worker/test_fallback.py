"""While Redis is away idle slots ask the ledger directly; when it is back they hear doorbells again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as sync_redis
from tests.pods import Platform, Worker, platform
from tests.waiting import wait_for

from longhaul import doorbell
from longhaul_cli.embedded import EmbeddedValkey

pytestmark = pytest.mark.anyio

SILENCE_SECONDS = "3"
"""Instead of 30."""


@pytest.fixture
def here(database_url: str, breakable_redis: EmbeddedValkey, tmp_path: Path) -> Iterator[Platform]:
    with platform(database_url, breakable_redis.url, tmp_path, LONGHAUL_REDIS_SILENCE_SECONDS=SILENCE_SECONDS) as one:
        yield one


def wait_fallback(worker: Worker, on: bool) -> None:
    line = f"longhaul_keeper_fallback {float(on)}"

    def is_so() -> bool:
        answer = worker.probe("/metrics")
        return answer is not None and line in answer.text

    wait_for(is_so, timeout_seconds=20, what=line)


@pytest.mark.fault("F15", "F32")
async def test_jobs_start_without_redis_and_doorbells_are_heard_again_after_it(
    here: Platform, breakable_redis: EmbeddedValkey
) -> None:
    worker = here.start_worker()
    celery = worker.celery()
    for _ in range(2):  # it goes back and forth as often as need be
        breakable_redis.kill()
        wait_fallback(worker, on=True)
        # More than the two slots, so that a slot that gets free takes the next one.
        ids = [await here.submit("demo.echo", ring=False) for _ in range(5)]
        for job_id in ids:
            assert (await here.wait_state(job_id, "succeeded"))["attempt"] == 1
        breakable_redis.start()
        wait_fallback(worker, on=False)
        after = await here.submit("demo.echo")
        assert (await here.wait_state(after, "succeeded"))["attempt"] == 1
    assert worker.celery() == celery  # the same process all the time
    live = worker.probe("/livez")
    assert live is not None
    assert live.status_code == 200


async def test_a_worker_that_starts_without_redis_works(here: Platform, breakable_redis: EmbeddedValkey) -> None:
    breakable_redis.kill()
    here.start_worker()
    job_id = await here.submit("demo.echo", ring=False)
    assert (await here.wait_state(job_id, "succeeded"))["attempt"] == 1


async def test_a_job_that_runs_when_redis_goes_is_not_disturbed(
    here: Platform, breakable_redis: EmbeddedValkey
) -> None:
    """Nor when it is back: Celery changes its broker twice meanwhile."""
    worker = here.start_worker()
    job_id = await here.submit("demo.sleep", {"seconds": 10, "steps": 100})
    await here.wait_event(job_id, "started")
    breakable_redis.kill()
    wait_fallback(worker, on=True)
    breakable_redis.start()
    wait_fallback(worker, on=False)
    job = await here.wait_state(job_id, "succeeded")
    assert (job["attempt"], job["result"]["steps_done_here"]) == (1, 100)
    assert worker.log.count("ledger_asked_directly") == 1  # a Redis that is well is not taken for a silent one


REFUSALS = {
    "a replica": ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
    "no grant": ("ACL SETUSER default -brpop -lpush", "ACL SETUSER default +@all"),
    "a value of another type": (f"SET {doorbell.key('default')} text", f"DEL {doorbell.key('default')}"),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
async def test_jobs_start_while_redis_answers_and_refuses_doorbells(
    here: Platform, breakable_redis: EmbeddedValkey, refusal: tuple[str, str]
) -> None:
    begin, end = refusal
    worker = here.start_worker()
    with sync_redis.Redis.from_url(breakable_redis.url) as client:
        client.execute_command(begin)
        try:
            wait_fallback(worker, on=True)
            ids = [await here.submit("demo.echo", ring=False) for _ in range(5)]
            for job_id in ids:
                assert (await here.wait_state(job_id, "succeeded"))["attempt"] == 1
        finally:
            client.execute_command(end)
    wait_fallback(worker, on=False)
    after = await here.submit("demo.echo")
    assert (await here.wait_state(after, "succeeded"))["attempt"] == 1


async def test_what_is_under_the_keys_of_kombu_holds_up_no_doorbell(
    here: Platform, breakable_redis: EmbeddedValkey
) -> None:
    here.start_worker()
    with sync_redis.Redis.from_url(breakable_redis.url) as client:
        for key in ("unacked", "unacked_index"):
            client.set(key, "text")
    began_at = time.monotonic()
    job_id = await here.submit("demo.echo")
    assert (await here.wait_state(job_id, "succeeded"))["attempt"] == 1
    assert time.monotonic() - began_at < float(SILENCE_SECONDS)
