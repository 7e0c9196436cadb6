"""Assumptions that follow from jobs that really ran."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Final

PEAK_SECONDS: Final = 300
"""The peak is the busiest five minutes: shorter ones are bursts, which waiting evens out."""


@dataclass(frozen=True, slots=True)
class Run:
    """One job: when it might start and when it did, in seconds of any one clock, and how long it ran."""

    due: float
    started: float
    run_seconds: float


def measure(runs: Iterable[Run]) -> dict[str, float]:
    """Values for `Assumptions`: rate, durations and their spread, the longest job, the most that waited.

    Raises ValueError where there are no runs.
    """
    known = list(runs)
    if not known:
        raise ValueError("no job has run")
    durations = [run.run_seconds for run in known]
    mean = sum(durations) / len(durations)
    variance = sum((one - mean) ** 2 for one in durations) / len(durations)
    mean = max(mean, 0.001)
    return {
        "jobs_per_second": _most_within(sorted(run.due for run in known), PEAK_SECONDS) / PEAK_SECONDS,
        "task_seconds": mean,
        "task_seconds_cv": sqrt(variance) / mean,
        "max_job_seconds": max(1, ceil(max(durations))),
        "waiting_jobs": _most_waiting(known),
    }


def _most_within(moments: list[float], seconds: float) -> int:
    """The most of them in any stretch of so many seconds."""
    most = first = 0
    for index, moment in enumerate(moments):
        while moments[first] <= moment - seconds:
            first += 1
        most = max(most, index - first + 1)
    return most


def _most_waiting(runs: list[Run]) -> int:
    changes = sorted([(run.due, 1) for run in runs] + [(run.started, -1) for run in runs])
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most
