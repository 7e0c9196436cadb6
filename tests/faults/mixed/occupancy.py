"""I8: nothing stays `running` that no process runs, for longer than a lease and the promised 2 s.

An attempt is `running` from its `started` to its end, as the ledger's history says. A process runs it from the begin of
its execution to its last sign of life, as that process itself wrote down. What lies between is nobody's.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.mixed.executions import BEAT_SECONDS
from tests.faults.mixed.history import History
from tests.faults.mixed.index import NOISE_SECONDS, TERMINAL, Attempt, Index

SLACK_SECONDS = 2.0 + BEAT_SECONDS + NOISE_SECONDS / 2
"""Beyond the lease: what is promised, and how exactly it is known."""
DELAYING = ("postgres.", "leader.")
"""Kinds of faults during which no end can be committed, or nobody reaps."""


def check_occupancy(history: History, index: Index) -> Iterator[str]:
    limit = history.lease_seconds + SLACK_SECONDS
    for attempt in index.every_attempt():
        index.checks["attempts with a process"] += 1
        for since, until in _gaps(attempt, history, index):
            # While the database was away nobody could know; the reaper is silent for a lease after that.
            if until - since > limit and until - _whole_since(history, index, attempt, since, until) > limit:
                yield (
                    f"Attempt {attempt.epoch} of job {attempt.job_id} on {attempt.worker} was running for "
                    f"{until - since:.1f} s, until {until:.1f}, while no process ran it."
                )


def _gaps(attempt: Attempt, history: History, index: Index) -> Iterator[tuple[float, float]]:
    """When the ledger called it running, and no process ran it."""
    if attempt.end is not None:
        until = attempt.end.at
    elif (job := index.jobs.get(attempt.job_id)) and job.state not in TERMINAL and job.epoch == attempt.epoch:
        until = history.ended_at
    else:
        return  # how an attempt is left behind without an end is told by I3
    if attempt.execution is None:
        yield attempt.started.at, until
    else:
        yield attempt.started.at, min(attempt.execution.began_at, until)
        yield attempt.execution.seen_at, until


def _whole_since(history: History, index: Index, attempt: Attempt, since: float, until: float) -> float:
    faults = [one for one in history.faults if one.kind.startswith(DELAYING)] + index.faults[attempt.worker]
    ends = (one.ended_at for one in faults if one.began_at <= until and one.ended_at >= since - NOISE_SECONDS)
    return max((since, *ends))
