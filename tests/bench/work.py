"""Rows of the work itself: doorbells, from commit to start, no-op jobs through two slots, and leases."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import uuid4

import uvloop
from tests.bench.fifo import Fifo
from tests.bench.load import exchange, percentile, post
from tests.bench.process import Process, run_seconds
from tests.bench.rows import Sides, at_least, at_most, figure_at_most, row
from tests.bench.stack import LONGHAUL, SLOTS, Stack

from longhaul import doorbell
from longhaul.ledger.claims import claim
from longhaul.ledger.connection import Connection, connect
from longhaul.ledger.leases import Lease, renew

QUEUE = "default"
RING_SECONDS = 1.0
RINGS_AT_ONCE = 50
"""What the submits of 50 clients come to in one push."""
STARTS_A_RUN = 40
NOOPS = 1000
LEASES = 1000
RENEWALS_A_RUN = 10
RENEW_SECONDS = 3.0
LEASE_SECONDS = 15.0


def submit(port: int, task: str, **params: Any) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(exchange(port, post("/v1/jobs", {"task": task, "params": params})))
    return answer


def submit_noops(port: int, count: int) -> None:
    answers = json.loads(exchange(port, post("/v1/jobs:batch", {"jobs": [{"task": "noop"}] * count})))["jobs"]
    if any(one["status"] != 202 for one in answers):
        raise RuntimeError(f"The batch was not accepted: {answers[0]}")


@row("ring-rate", f"doorbells, {RINGS_AT_ONCE} a push, against an apply_async loop", at_least(10), "rings/s")
def ring_rate(stack: Stack) -> Iterator[Sides]:
    noop = stack.blueprint_tasks().noop
    client = doorbell.create_client(stack.redis_url)

    async def ring_once() -> int:
        await doorbell.ring(client, {QUEUE: RINGS_AT_ONCE})
        return RINGS_AT_ONCE

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, stack.redis() as server:

        async def pushes() -> float:
            rung, began = 0, time.perf_counter()
            while (now := time.perf_counter()) < began + RING_SECONDS:
                rung += await ring_once()
            return rung / (now - began)

        def ours() -> float:
            server.flushall()
            return runner.run(pushes())

        def theirs() -> float:
            server.flushall()
            sent, began = 0, time.perf_counter()
            while (now := time.perf_counter()) < began + RING_SECONDS:
                noop.apply_async()
                sent += 1
            return sent / (now - began)

        yield Sides(ours, theirs)
        runner.run(client.aclose())


@row("commit-to-start", "commit to start on an idle worker, p95", at_most(3), "ms")
def commit_to_start(stack: Stack) -> Iterator[Sides]:
    """Ours from `created_at`, which PostgreSQL takes before the commit; plain Celery from just before `apply_async`."""
    stamp = stack.blueprint_tasks().stamp
    with (
        stack.longhaul_api() as api,
        stack.longhaul_controller(),
        stack.longhaul_worker(),
        stack.blueprint_worker(),
        stack.fifo("starts") as fifo,
    ):

        def ours() -> float:
            created_at = submit(api.port, "stamp", fifo=str(fifo.path))["created_at"]
            return datetime.fromisoformat(created_at).timestamp()

        def theirs() -> float:
            sent = time.time()
            stamp.apply_async(args=(str(fifo.path),))
            return sent

        def p95(send: Callable[[], float]) -> float:
            delays = []
            for _ in range(STARTS_A_RUN):
                sent = send()
                delays.append(fifo.read_clock() - sent)
                time.sleep(0.05)  # idle again
            return percentile(delays, 0.95) * 1000

        yield Sides(lambda: p95(ours), lambda: p95(theirs))


@row(
    "noop-rate",
    f"no-op jobs through {SLOTS} slots, against plain Celery",
    at_least(0.35),
    "jobs/s",
    cause="a job is two durable commits, its claim and its end, one after another on the keeper's one connection",
)
def noop_rate(stack: Stack) -> Iterator[Sides]:
    """Each worker finds its queue full: a job that stamps the clock, the no-ops, and another that stamps the clock."""
    tasks = stack.blueprint_tasks()
    with (
        stack.longhaul_api() as api,
        stack.longhaul_controller(),
        stack.longhaul_worker() as our_worker,
        stack.blueprint_worker() as their_worker,
        stack.fifo("stamps") as fifo,
    ):
        path = str(fifo.path)

        def send_ours() -> None:
            submit(api.port, "stamp", fifo=path)
            submit_noops(api.port, NOOPS)
            submit(api.port, "stamp", fifo=path)

        def send_theirs() -> None:
            tasks.stamp.apply_async(args=(path,))
            for _ in range(NOOPS):
                tasks.noop.apply_async()
            tasks.stamp.apply_async(args=(path,))

        send_ours()
        send_theirs()
        for _ in range(4):
            fifo.read_clock(timeout_seconds=60)  # both workers are up
        yield Sides(lambda: drained(our_worker, send_ours, fifo), lambda: drained(their_worker, send_theirs, fifo))


def drained(worker: Process, send: Callable[[], None], fifo: Fifo) -> float:
    with worker.frozen():
        send()
    began = fifo.read_clock()
    return NOOPS / (fifo.read_clock(timeout_seconds=60) - began)


@row("renew-leases", f"renewing {LEASES:,} leases every {RENEW_SECONDS:g} s", figure_at_most(0.02), "cores")
def renew_leases(stack: Stack) -> Iterator[Sides]:
    """CPU time of the keeper's renewal and of its PostgreSQL backend, for one keeper that holds them all."""
    with stack.longhaul_api() as api:
        submit_noops(api.port, LEASES)
    worker_id = uuid4()

    async def claim_all() -> tuple[Connection, list[Lease]]:
        connection = await connect(stack.database_url(LONGHAUL), application_name="bench")
        claims = await claim(
            connection,
            queue=QUEUE,
            slots=range(LEASES),
            tasks=["noop"],
            worker_id=worker_id,
            worker="bench",
            lease_seconds=LEASE_SECONDS,
        )
        return connection, [Lease(job_id=one.job_id, epoch=one.epoch) for one in claims]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        connection, leases = runner.run(claim_all())
        if len(leases) != LEASES:
            raise RuntimeError(f"{len(leases)} of {LEASES} jobs were claimed.")

        async def renewal() -> None:
            held = await renew(connection, leases, worker_id=worker_id, lease_seconds=LEASE_SECONDS)
            if len(held) != LEASES:
                raise RuntimeError(f"{LEASES - len(held)} leases were lost.")

        def cores() -> float:
            backend = connection.info.backend_pid
            began = time.process_time() + run_seconds(backend)
            for _ in range(RENEWALS_A_RUN):
                runner.run(renewal())
            return (time.process_time() + run_seconds(backend) - began) / RENEWALS_A_RUN / RENEW_SECONDS

        yield Sides(cores)
        runner.run(connection.close())


ROWS = [ring_rate, commit_to_start, noop_rate, renew_leases]
