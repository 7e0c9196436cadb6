"""A worker that reaches PostgreSQL and not Redis."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.faults.toxiproxy import Proxy, Toxiproxy
from tests.pods import Worker, platform
from tests.waiting import eventually

from longhaul_cli.embedded import EmbeddedValkey

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


@pytest.mark.fault("F32")
@pytest.mark.parametrize("how", ["cut", "silence"])
async def test_a_worker_without_redis_finishes_and_commits(
    database_url: str, breakable_redis: EmbeddedValkey, proxies: Toxiproxy, tmp_path: Path, how: str
) -> None:
    """Connections that end, and connections that stay open with nothing coming through."""
    with platform(database_url, breakable_redis.tcp_url(), tmp_path) as here:
        here.start_controller()
        proxy = proxies.proxy("redis", breakable_redis.port)
        worker = here.start_worker(LONGHAUL_REDIS_URL=breakable_redis.tcp_url(port=proxy.port))
        job_id = await here.submit("demo.sleep", {"seconds": 8, "steps": 40})
        await here.wait_event(job_id, "checkpoint", count=3)
        cut_off(proxy, how)
        job = await here.wait_state(job_id, "succeeded")
        assert (job["attempt"], job["interruptions"], job["result"]["steps_done_here"]) == (1, 0, 40)
        assert is_live(worker)
        waiting = await here.submit("demo.echo")
        proxy.restore()

        async def is_done() -> bool:
            assert is_live(worker)
            return bool((await here.job(waiting))["state"] == "succeeded")

        await eventually(is_done, timeout_seconds=10, what="the worker hears again")


def cut_off(proxy: Proxy, how: str) -> None:
    if how == "cut":
        proxy.cut()
    else:
        proxy.silence()


def is_live(worker: Worker) -> bool:
    answer = worker.probe("/livez")
    return answer is not None and answer.status_code == 200
