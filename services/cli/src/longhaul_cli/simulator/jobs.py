"""What is simulated of a job, and what becomes of it on a pod that must go."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import NamedTuple

KILL_MARGIN_SECONDS = 2.0
"""As `longhaul_worker.drain`: what still runs is killed so long before the drain ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One job, as it comes. Times are seconds."""

    due_seconds: float
    """From the start of the simulation to when it may first start."""
    run_seconds: float
    """How long it works, if nothing interrupts it."""
    queue: str = "default"
    task: str = "job"
    priority: int = 0
    checkpoint_seconds: float | None = None
    """Work between two checkpoints, 0 for all the time; None where it can't hand over and would begin anew."""


class Way(StrEnum):
    """How an attempt ends."""

    FINISHED = "finished"
    HANDED_OVER = "handed_over"
    """Asked to go, it saved a checkpoint; nothing is lost."""
    KILLED = "killed"
    """At the end of the drain: what it did since its last checkpoint is lost."""
    CUT = "cut"
    """With its pod, before the drain was over: that is lost as well, and its lease must run out first."""


class End(NamedTuple):
    """When and how an attempt ends, and how much of its work is kept."""

    at: float
    way: Way
    kept_seconds: float


def kept_seconds(worked_seconds: float, checkpoint_seconds: float | None) -> float:
    """How much of an attempt's work its last checkpoint holds."""
    if checkpoint_seconds is None:
        return 0.0
    if checkpoint_seconds == 0:
        return worked_seconds
    return worked_seconds // checkpoint_seconds * checkpoint_seconds


def end_on_going_pod(
    *,
    started: float,
    finishes: float,
    checkpoint_seconds: float | None,
    now: float,
    drain_seconds: float,
    handover_seconds: float,
    killed_at: float,
) -> End:
    """What becomes of an attempt on a pod that got SIGTERM now, as the worker's drain does it.

    It may finish; `handover_seconds` before the drain ends, at the latest half way, it is asked to hand over, which it
    does at its next checkpoint; what still runs at the end is killed. `killed_at` is when SIGKILL comes.
    """
    ends_at = now + drain_seconds
    asked_at = ends_at - min(handover_seconds, drain_seconds / 2)
    stopped_at = ends_at - min(KILL_MARGIN_SECONDS, drain_seconds / 4)
    last = min(stopped_at, killed_at)
    saved_at = _next_checkpoint(started, asked_at, checkpoint_seconds)
    if saved_at is not None and saved_at < finishes and saved_at <= last:
        return End(saved_at, Way.HANDED_OVER, saved_at - started)
    if finishes <= last:
        return End(finishes, Way.FINISHED, finishes - started)
    way = Way.KILLED if stopped_at <= killed_at else Way.CUT
    return End(last, way, kept_seconds(last - started, checkpoint_seconds))


def _next_checkpoint(started: float, after: float, checkpoint_seconds: float | None) -> float | None:
    if checkpoint_seconds is None:
        return None
    if checkpoint_seconds == 0:
        return max(started, after)
    return started + ceil(max(0.0, after - started) / checkpoint_seconds) * checkpoint_seconds
