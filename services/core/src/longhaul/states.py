"""The state machine of a job, pure: which states there are, and what the end of an attempt makes of a job.

The ledger applies what is decided here with one conditional statement; the simulation and the tests use it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class State(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"
    """For other jobs (workflows)."""
    QUEUED = "queued"
    """May be claimed, from `run_after` on."""
    RUNNING = "running"
    """Has an owner, a lease and an epoch."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """A permanent error: not worth repeating."""
    DEAD = "dead"
    """Retries or interruptions used up: in the dead-letter queue."""
    CANCELLED = "cancelled"


TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.DEAD, State.CANCELLED})

TRANSITIONS: dict[State, frozenset[State]] = {
    State.WAITING: frozenset({State.QUEUED, State.CANCELLED}),
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED}),
    State.RUNNING: frozenset({State.QUEUED, *TERMINAL}),
    **{state: frozenset[State]() for state in TERMINAL},
}


class Ending(StrEnum):
    """How one attempt ended."""

    SUCCEEDED = "succeeded"
    TRANSIENT = "transient"
    """The task raised an error that may pass."""
    TIMED_OUT = "timed_out"
    PERMANENT = "permanent"
    """The task raised an error that another try would meet again."""
    CANCELLED = "cancelled"
    HANDED_OVER = "handed_over"
    """The pod had to go; the checkpoint is saved."""
    CRASHED = "crashed"
    """The process that ran it died."""
    LEASE_LOST = "lease_lost"
    """Its owner was not heard of for a whole lease."""


PRIORITY_STEP_SECONDS = 300
"""One step of priority is worth this much waiting: a job of priority 1 goes before those of priority 0 that have waited
up to five minutes longer, and after those that have waited more. So order is by priority, then age, and none starves."""

LONGEST_DELAY_SECONDS = 365 * 24 * 3600.0
"""Whatever backoff or wish says: a longer delay would pass what PostgreSQL's and Python's times can hold."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a job may still cost. Constant while an attempt runs, since only its end changes it."""

    retries: int
    """Retries used so far."""
    retries_max: int
    interruptions: int
    max_interruptions: int
    backoff_seconds: float
    backoff_max_seconds: float


@dataclass(frozen=True, kw_only=True)
class Transition:
    """What the end of an attempt makes of the job."""

    state: State
    event: str
    retries_used: int = 0
    interruptions_used: int = 0
    delay_seconds: float = 0.0
    """Until the job is due again, where it is queued."""


def decide(ending: Ending, budget: Budget, *, jitter: float, delay_seconds: float | None = None) -> Transition:
    """What becomes of a job whose attempt ended so.

    `jitter` is a random number from 0 to 1; `delay_seconds` is a wish for the next try instead of the backoff.
    """
    match ending:
        case Ending.SUCCEEDED:
            return Transition(state=State.SUCCEEDED, event="succeeded")
        case Ending.PERMANENT:
            return Transition(state=State.FAILED, event="failed")
        case Ending.CANCELLED:
            return Transition(state=State.CANCELLED, event="cancelled")
        case Ending.TRANSIENT | Ending.TIMED_OUT:
            if budget.retries >= budget.retries_max:
                return Transition(state=State.DEAD, event="dead")
            wait_seconds = _bounded(backoff_seconds(budget, jitter) if delay_seconds is None else delay_seconds)
            return Transition(state=State.QUEUED, event="retrying", retries_used=1, delay_seconds=wait_seconds)
        case Ending.HANDED_OVER:
            # A drain is the platform's doing alone, and it made progress: it may happen any number of times.
            return Transition(state=State.QUEUED, event="interrupted")
        case Ending.CRASHED | Ending.LEASE_LOST:
            if budget.interruptions >= budget.max_interruptions:
                return Transition(state=State.DEAD, event="dead", interruptions_used=1)
            wait_seconds = _bounded(suspicion_seconds(budget, jitter) if delay_seconds is None else delay_seconds)
            return Transition(state=State.QUEUED, event="interrupted", interruptions_used=1, delay_seconds=wait_seconds)


def _bounded(wait_seconds: float) -> float:
    return min(max(0.0, wait_seconds), LONGEST_DELAY_SECONDS)


def suspicion_seconds(budget: Budget, jitter: float) -> float:
    """How long a job waits whose process or worker was lost: not at all the first time, since that is most likely the
    platform's doing; from then on its own backoff, so that one which kills its workers leaves its neighbours in peace."""
    if not budget.interruptions:
        return 0.0
    return backoff_seconds(replace(budget, retries=budget.interruptions - 1), jitter)


def backoff_seconds(budget: Budget, jitter: float) -> float:
    """Exponential backoff with jitter over its upper half, so that a burst of failures spreads out."""
    # The exponent is bounded: 2**63 seconds is past every cap, and a float overflows at 1024.
    full = min(budget.backoff_max_seconds, budget.backoff_seconds * 2.0 ** min(budget.retries, 63))
    return full * (0.5 + 0.5 * jitter)
