"""What `longhaul size` counts for Longhaul's own processes is no less than what real ones take."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import redis
from tests.integration.api.harness import api_settings, publish_tasks, serving
from tests.pods import platform
from tests.waiting import eventually

from longhaul import doorbell
from longhaul.ledger.connection import Connection, connect
from longhaul.sizing import footprint
from longhaul_cli.embedded import EmbeddedValkey

pytestmark = pytest.mark.anyio
SLOTS = 5


async def ledger_connections(connection: Connection) -> int:
    """Those of others to this database."""
    cursor = await connection.execute(
        "SELECT count(*) AS count FROM pg_stat_activity"
        " WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    row = await cursor.fetchone()
    assert row
    return int(row["count"])


async def test_a_busy_worker(database_url: str, breakable_redis: EmbeddedValkey, tmp_path: Path) -> None:
    with platform(database_url, breakable_redis.url, tmp_path) as here, redis.Redis.from_url(here.redis_url) as client:
        worker = here.start_worker(LONGHAUL_SLOTS=str(SLOTS))
        jobs = [await here.submit("demo.sleep", {"seconds": 60, "steps": 600}) for _ in range(SLOTS)]
        for job in jobs:
            await here.wait_state(job, "running")
        async with await here.connect() as connection:
            assert 1 <= await ledger_connections(connection) <= footprint.LEDGER_CONNECTIONS_PER_WORKER
        assert 2 <= len(client.client_list()) - 1 <= footprint.REDIS_CONNECTIONS_PER_WORKER
        own = [psutil.Process(worker.pid), worker.celery()]
        taken_gib = sum(process.memory_full_info().pss for process in own) / 2**30
        assert 0.02 < taken_gib <= footprint.WORKER_MEMORY_GIB


async def test_an_api_under_load(database_url: str, breakable_redis: EmbeddedValkey) -> None:
    await publish_tasks(database_url)
    async with serving(api_settings(database_url, breakable_redis.url)) as api:
        for _ in range(20):
            await api.submit()
        async with await connect(database_url, application_name="test") as connection:

            async def has_settled() -> bool:
                return await ledger_connections(connection) >= 1

            await eventually(has_settled, what="the API is connected")
            assert await ledger_connections(connection) <= footprint.LEDGER_CONNECTIONS_PER_API
        with redis.Redis.from_url(breakable_redis.url) as client:
            assert 1 <= len(client.client_list()) - 1 <= footprint.REDIS_CONNECTIONS_PER_API


def test_a_doorbell_and_its_place_in_the_list(breakable_redis: EmbeddedValkey) -> None:
    with redis.Redis.from_url(breakable_redis.url) as client:
        count = 2000
        for _ in range(2):
            client.lpush(doorbell.key("default"), *doorbell.messages("default", count // 2))
        bytes_each = client.memory_usage(doorbell.key("default"), samples=0) / count
        assert footprint.DOORBELL_BYTES / 2 <= bytes_each <= footprint.DOORBELL_BYTES
        client.sadd(doorbell.running_key("default"), *(f"{number:036}" for number in range(count)))
        assert client.memory_usage(doorbell.running_key("default"), samples=0) / count <= footprint.RUNNING_BYTES
