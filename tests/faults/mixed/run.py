"""One mixed run: a stack under load and under faults, until everything that was accepted has ended or had its time to."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import redis
from tests.faults.mixed.history import History
from tests.faults.mixed.hostile.verdict import LEFT_SECONDS
from tests.faults.mixed.load import Load
from tests.faults.mixed.plan import Planned
from tests.faults.mixed.stack import Stack
from tests.faults.mixed.striker import Striker
from tests.faults.mixed.work import Order, meeting

LOOK_SECONDS = 1.0
TELL_SECONDS = 30.0


@dataclass(frozen=True)
class Settings:
    """`seed` decides the jobs and, through the plan, the faults."""

    seed: int
    minutes: float
    """The load ends after this, or with the last order."""
    jobs_per_second: float
    settle_seconds: float
    """How long jobs may take to end once nothing is broken any more."""
    waiting_at_most: int = 300
    """With more jobs in the queue than this, the client holds back: it is about faults, not about overload."""


@dataclass(frozen=True)
class Outcome:
    history: History
    errors: list[str]
    """What the run itself could not do."""
    minutes: float
    """What the load took."""
    settled_seconds: float | None
    """From the end of the load until every job had ended; None where some had not by `settle_seconds`."""
    left_in_queue: int
    """Messages in Redis then."""


def run(
    side: type[Stack], settings: Settings, plan: Sequence[Planned], orders: Iterator[Order], *, logs: Path
) -> Outcome:
    """Load and break one side. The logs of its processes are kept in the folder `logs`."""
    with side() as stack:
        history = stack.new_history()
        load = Load(stack.urls, stack.dialect, orders, settings.jobs_per_second, settings.seed)
        striker = Striker(stack, plan, history)
        began = time.monotonic()
        load.start()
        striker.start()
        try:
            _watch(stack, load, striker, history, settings)
        finally:
            striker.finish()
            minutes = (time.monotonic() - began) / 60
            load.finish(history, last=meeting("meeting", stack.meeting_size))
            shutil.copytree(stack.logs, logs, dirs_exist_ok=True)
        settled = _settle(stack, settings.settle_seconds)
        _wait_alone(stack)
        with stack.redis() as client:
            left = int(client.execute_command("LLEN", stack.queue_key))
        history.exits += stack.fleet.exits
        stack.collect(history)
        shutil.copytree(stack.logs, logs, dirs_exist_ok=True)
        return Outcome(history, striker.errors, minutes, settled, left)


def _watch(stack: Stack, load: Load, striker: Striker, history: History, settings: Settings) -> None:
    """Hold the load back where the queue is deep, and tell how it goes, until its time or its orders are over."""
    began = told = time.monotonic()
    while (now := time.monotonic()) < began + settings.minutes * 60 and not load.is_exhausted:
        with suppress(psycopg.Error, redis.RedisError):  # broken just now: as it was
            load.is_held = stack.waiting() > settings.waiting_at_most
        if now >= told + TELL_SECONDS:
            told = now
            passed = (now - began) / 60
            counts = (
                f"{load.accepted_count:,} jobs accepted, {len(history.faults)} faults, {len(striker.errors)} errors"
            )
            print(f"  {stack.name}, {passed:.1f} min: {counts}", file=sys.stderr, flush=True)
        time.sleep(min(LOOK_SECONDS, 10 / settings.jobs_per_second))


def _settle(stack: Stack, seconds: float) -> float | None:
    """How long it took until no job was unfinished."""
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        with suppress(psycopg.Error):  # not whole yet
            if stack.unfinished() == 0:
                return time.monotonic() - began
        time.sleep(LOOK_SECONDS)
    return None


def _wait_alone(stack: Stack) -> None:
    """What tasks started may have as long to end as it ever has; whoever is alive then is counted."""
    until = time.monotonic() + 2 * LEFT_SECONDS
    while stack.census.count() and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
