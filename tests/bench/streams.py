"""Rows of the following client: how soon an event arrives, what idle streams cost, how wide one event fans out."""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from tests.bench.fifo import Fifo
from tests.bench.listen import Listeners
from tests.bench.load import exchange, percentile, post, without_gc
from tests.bench.process import Process
from tests.bench.rows import Sides, at_most, figure_at_most, row
from tests.bench.stack import Stack
from tests.bench.submit import JOB

IDLE_STREAMS = 1000
FAN_OUT_STREAMS = 3000
EVENTS_A_RUN = 6


def submit(port: int, prefix: str, job: dict[str, Any]) -> str:
    """Submit a job; the path of its event stream."""
    return f"{prefix}/{json.loads(exchange(port, post(prefix, job)))['id']}/events"


@contextmanager
def followed(port: int, prefix: str, fifo: Fifo, *, streams: int) -> Iterator[Listeners]:
    """A running job of the `events` task, which waits at `fifo` for words, and so many streams of it."""
    path = submit(port, prefix, {"task": "events", "params": {"fifo": str(fifo.path)}})
    with Listeners(port, [path] * streams) as listeners:
        fifo.write("first")
        listeners.latencies()
        yield listeners
        fifo.write("end")


def one_event(fifo: Fifo, listeners: Listeners) -> list[float]:
    """Seconds that one event takes from its task to each stream.

    Sent at a moment of its own, so that a side that polls is met at every phase; more than half a second after the last,
    since Longhaul's keeper writes progress at most so often.
    """
    time.sleep(random.uniform(0.6, 1.6))
    listeners.discard()
    with without_gc():
        fifo.write("go")
        return listeners.latencies()


@row("event-p50", "one event, worker to client, p50", figure_at_most(15), "ms")
def event_p50(stack: Stack) -> Iterator[Sides]:
    with (
        stack.longhaul_api() as ours,
        stack.longhaul_controller(),
        stack.longhaul_worker(),
        stack.blueprint_api() as theirs,
        stack.blueprint_worker(),
        stack.fifo("ours") as our_fifo,
        stack.fifo("theirs") as their_fifo,
        followed(ours.port, "/v1/jobs", our_fifo, streams=1) as our_stream,
        followed(theirs.port, "/jobs", their_fifo, streams=1) as their_stream,
    ):

        def p50(fifo: Fifo, listeners: Listeners) -> float:
            return statistics.median(one_event(fifo, listeners)[0] for _ in range(EVENTS_A_RUN)) * 1000

        yield Sides(lambda: p50(our_fifo, our_stream), lambda: p50(their_fifo, their_stream), warm_up_runs=0)


@row("idle-stream-queries", f"queries by {IDLE_STREAMS:,} idle streams", at_most(0.01), "queries/s")
def idle_stream_queries(stack: Stack) -> Iterator[Sides]:
    with (
        stack.longhaul_api() as ours,
        stack.blueprint_api() as theirs,
        Listeners(ours.port, [submit(ours.port, "/v1/jobs", JOB) for _ in range(IDLE_STREAMS)]),
        Listeners(theirs.port, [submit(theirs.port, "/jobs", JOB) for _ in range(IDLE_STREAMS)]),
    ):

        def rate(side: str) -> float:
            before, began = stack.queries(side), time.monotonic()
            time.sleep(3.0)
            return (stack.queries(side) - before) / (time.monotonic() - began)

        yield Sides(lambda: rate("longhaul"), lambda: rate("blueprint"))


@row("idle-stream-memory", "memory of an idle stream against a bare one", at_most(1.25), "KiB")
def idle_stream_memory(stack: Stack) -> Iterator[Sides]:
    """Each run has a fresh server, because memory that was used once is not given back."""

    def growth(server: Callable[[], AbstractContextManager[Process]], paths: Callable[[int], list[str]]) -> float:
        with server() as process:
            every = paths(process.port)
            with Listeners(process.port, every[:100]) as listeners:
                before = process.resident_bytes()
                listeners.open(every[100:])
                return (process.resident_bytes() - before) / len(every[100:]) / 1024

    def own_job_each(port: int) -> list[str]:
        return [submit(port, "/v1/jobs", JOB) for _ in range(100 + IDLE_STREAMS)]

    yield Sides(
        lambda: growth(stack.longhaul_api, own_job_each),
        lambda: growth(stack.bare, lambda _: ["/stream"] * (100 + IDLE_STREAMS)),
        warm_up_runs=0,
    )


@row("fan-out-p99", f"one event to {FAN_OUT_STREAMS:,} streams, p99", at_most(1.5), "ms")
def fan_out_p99(stack: Stack) -> Iterator[Sides]:
    """Ours comes all the way from the worker; the bare one is published inside its own server."""
    with (
        stack.longhaul_api() as ours,
        stack.longhaul_controller(),
        stack.longhaul_worker(),
        stack.bare() as bare,
        stack.fifo("ours") as fifo,
        followed(ours.port, "/v1/jobs", fifo, streams=FAN_OUT_STREAMS) as our_streams,
        Listeners(bare.port, ["/stream"] * FAN_OUT_STREAMS) as bare_streams,
    ):

        def published() -> list[float]:
            bare_streams.discard()
            with without_gc():
                exchange(bare.port, post("/publish", {}))
                return bare_streams.latencies()

        yield Sides(
            lambda: percentile(one_event(fifo, our_streams), 0.99) * 1000,
            lambda: percentile(published(), 0.99) * 1000,
        )


ROWS = [event_p50, idle_stream_queries, idle_stream_memory, fan_out_p99]
