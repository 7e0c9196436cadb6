"""Rows of the submitting client: how fast a durable `202` is, one by one, in batches, and while Redis is silent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from tests.bench.load import Load, exchange, get, load, post
from tests.bench.rows import Sides, at_least, at_most, row
from tests.bench.stack import Stack

JOB: dict[str, Any] = {"task": "echo", "params": {"text": "the report for March", "pages": 12}}
BATCH_SIZE = 100
BATCH_CONNECTIONS = 4


def submit_longhaul(port: int) -> Load:
    return load(port, [post("/v1/jobs", JOB)]).without_errors()


def submit_blueprint(port: int) -> Load:
    return load(port, [post("/jobs", JOB)]).without_errors()


@row("submit-rate", "durable submits, 50 clients", at_least(2.5), "jobs/s")
def submit_rate(stack: Stack) -> Iterator[Sides]:
    with stack.longhaul_api() as ours, stack.blueprint_api() as theirs:
        yield Sides(lambda: submit_longhaul(ours.port).rate, lambda: submit_blueprint(theirs.port).rate)


@row("submit-p99", "submit p99, 50 clients", at_most(0.5), "ms")
def submit_p99(stack: Stack) -> Iterator[Sides]:
    with stack.longhaul_api() as ours, stack.blueprint_api() as theirs:
        yield Sides(lambda: submit_longhaul(ours.port).p99_ms, lambda: submit_blueprint(theirs.port).p99_ms)


@row("submit-vs-insert", "submits against a bare insert endpoint", at_least(0.85), "requests/s")
def submit_vs_insert(stack: Stack) -> Iterator[Sides]:
    with stack.longhaul_api() as ours, stack.bare() as bare:
        insert = partial(load, bare.port, [post("/insert", JOB)])
        yield Sides(lambda: submit_longhaul(ours.port).rate, lambda: insert().without_errors().rate)


@row("batch-submit", f"batches of {BATCH_SIZE} against the blueprint's submits", at_least(5), "jobs/s")
def batch_submit(stack: Stack) -> Iterator[Sides]:
    """The blueprint has no batch: its client sends one job a request over 50 connections."""
    batch = post("/v1/jobs:batch", {"jobs": [JOB] * BATCH_SIZE})
    with stack.longhaul_api() as ours, stack.blueprint_api() as theirs:
        _check_batch(exchange(ours.port, batch))
        submit = partial(load, ours.port, [batch], connections=BATCH_CONNECTIONS)
        yield Sides(lambda: submit().without_errors().rate * BATCH_SIZE, lambda: submit_blueprint(theirs.port).rate)


def _check_batch(body: bytes) -> None:
    statuses = [one["status"] for one in json.loads(body)["jobs"]]
    if statuses != [202] * BATCH_SIZE:
        raise RuntimeError(f"The batch was not accepted: {statuses}")


@row("status-reads", "status reads, 50 clients", at_least(1.0), "requests/s")
def status_reads(stack: Stack) -> Iterator[Sides]:
    with stack.longhaul_api() as ours, stack.blueprint_api() as theirs:

        def reads(port: int, prefix: str) -> Callable[[], float]:
            ids = [json.loads(exchange(port, post(prefix, JOB)))["id"] for _ in range(100)]
            requests = [get(f"{prefix}/{job_id}") for job_id in ids]
            return lambda: load(port, requests).without_errors().rate

        yield Sides(reads(ours.port, "/v1/jobs"), reads(theirs.port, "/jobs"))


@row("submit-p99-redis-stopped", "submit p99, Redis stopped against running", at_most(1.2), "ms")
def submit_p99_redis_stopped(stack: Stack) -> Iterator[Sides]:
    """Both sides are Longhaul: the reference is the same API while Redis answers."""
    with stack.longhaul_api() as ours:

        def stopped() -> float:
            with stack.redis_stopped():
                return submit_longhaul(ours.port).p99_ms

        yield Sides(stopped, lambda: submit_longhaul(ours.port).p99_ms)


ROWS = [submit_rate, submit_p99, submit_vs_insert, batch_submit, status_reads, submit_p99_redis_stopped]
