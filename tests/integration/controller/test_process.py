"""The controller as a process: its duties together, its probes, its metrics, its way out."""

from __future__ import annotations

import signal
import socket

import pytest
import redis.asyncio as redis
from tests.integration.controller.conftest import StartReplica
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer
from tests.pods import free_port
from tests.waiting import eventually, wait_for

from longhaul import doorbell
from longhaul.ledger import jobs
from longhaul.ledger.connection import Connection
from longhaul.states import Ending
from longhaul_cli.embedded import EmbeddedValkey

pytestmark = pytest.mark.anyio


def test_a_wrong_setting_is_a_sentence_and_no_start(start_replica: StartReplica, redis_url: str) -> None:
    replica = start_replica("mysql://nobody", redis_url, LONGHAUL_TICK_SECONDS="0")
    assert replica.wait_exit(10) == 2
    first, second = replica.log.strip().splitlines()
    assert first.startswith("LONGHAUL_DATABASE_URL: must look like postgresql://")
    assert second == "LONGHAUL_TICK_SECONDS: Input should be greater than 0."


def test_a_probe_port_that_is_taken_ends_it(start_replica: StartReplica, database_url: str, redis_url: str) -> None:
    """Not a controller that nobody can probe."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        replica = start_replica(database_url, redis_url, LONGHAUL_CONTROLLER_PROBE_PORT=port)
        assert replica.wait_exit(10) == 2
    assert f"Nothing can listen on 127.0.0.1:{port}" in replica.log


def test_no_dependency_that_is_away_fails_a_probe(start_replica: StartReplica) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    replica = start_replica(f"postgresql://user:pass@{nowhere}/longhaul", f"redis://{nowhere}/0")
    replica.wait_probes()
    wait_for(lambda: "ledger_away" in replica.log, what="it says that the ledger is away")
    for path, status in {"/livez": 200, "/readyz": 200, "/metrics": 200, "/": 404}.items():
        answer = replica.probe(path)
        assert answer is not None
        assert (path, answer.status_code) == (path, status)
    assert not replica.leads()
    replica.send(signal.SIGTERM)
    assert replica.wait_exit(3) == 0


async def test_a_redis_that_goes_and_comes_back_costs_seconds(
    connection: Connection, database_url: str, breakable_redis: EmbeddedValkey, start_replica: StartReplica
) -> None:
    """F15 and F16 as the controller meets them: jobs are reaped meanwhile, and rung for afterwards."""
    replica = start_replica(database_url, breakable_redis.url)
    await given.queued(connection, 2)
    replica.wait_leads()

    async def all_rung() -> bool:
        async with doorbell.create_client(breakable_redis.url) as client:
            return (await doorbell.count(client, [given.QUEUE]))[given.QUEUE] == 2

    await eventually(all_rung, what="both are rung for")
    breakable_redis.kill()
    claim = await Claimer().claim_one(connection)
    await given.expired(connection, claim.job_id)

    async def reaped() -> bool:
        return await given.state(connection, claim.job_id) == "queued"

    await eventually(reaped, what="the lost job is given back")
    wait_for(
        lambda: replica.metrics().get("longhaul_controller_duty_failures_total{rering}"), what="failures are counted"
    )
    assert replica.leads()
    breakable_redis.start()
    await eventually(all_rung, timeout_seconds=5, what="both are rung for again")
    assert replica.log.count("duty_failed") <= 4  # once an outage for each duty, not once a second
    breakable_redis.pause()
    failures = replica.metrics()["longhaul_controller_duty_failures_total{rering}"]
    wait_for(
        lambda: replica.metrics()["longhaul_controller_duty_failures_total{rering}"] > failures,
        timeout_seconds=4,
        what="a Redis that hangs is given up",
    )
    replica.send(signal.SIGTERM)
    assert replica.wait_exit(4) == 0


async def test_the_duties_run_beside_each_other_and_are_told_as_metrics(
    connection: Connection, client: redis.Redis, start_replica: StartReplica, database_url: str, redis_url: str
) -> None:
    old = await given.finished(connection, Ending.SUCCEEDED)
    await connection.execute("UPDATE jobs SET finished_at = now() - interval '1 hour' WHERE id = %s", (old,))
    (lost, *_) = await given.queued(connection, 3)
    claim = await Claimer().claim_one(connection)
    assert claim.job_id == lost
    await given.expired(connection, lost)
    replica = start_replica(
        database_url, redis_url, LONGHAUL_RETENTION_SECONDS="60", LONGHAUL_RETENTION_INTERVAL_SECONDS="0.5"
    )

    async def done() -> bool:
        reaped = await given.state(connection, lost) == "queued"
        rung = (await doorbell.count(client, [given.QUEUE]))[given.QUEUE] == 3
        return reaped and rung and not await jobs.read(connection, [old])

    await eventually(done, timeout_seconds=20, what="reaped, rung and purged")
    wait_for(lambda: replica.metrics().get("longhaul_jobs_due{work}") == 3, what="the gauge follows")
    metrics = replica.metrics()
    assert metrics["longhaul_controller_is_leader"] == 1
    assert metrics["longhaul_leases_reaped_total"] == 1
    assert metrics["longhaul_jobs_purged_total"] == 1
    for duty in ("reap", "rering", "demand", "purge_expired"):
        assert metrics[f"longhaul_controller_duty_seconds_count{{{duty}}}"] >= 1
        assert metrics[f"longhaul_controller_duty_failures_total{{{duty}}}"] == 0
    replica.send(signal.SIGINT)
    assert replica.wait_exit(3) == 0
    # The lead goes with the process: nobody waits for a timeout.
    cursor = await connection.execute("SELECT pg_try_advisory_lock(hashtextextended('longhaul:controller', 0)) AS free")
    assert await cursor.fetchone() == {"free": True}
