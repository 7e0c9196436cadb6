"""What the end of an attempt makes of a job, for every ending and budget."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longhaul.states import (
    LONGEST_DELAY_SECONDS,
    TERMINAL,
    TRANSITIONS,
    Budget,
    Ending,
    State,
    Transition,
    backoff_seconds,
    decide,
)

FRESH = Budget(
    retries=0, retries_max=3, interruptions=0, max_interruptions=5, backoff_seconds=2.0, backoff_max_seconds=600.0
)
NO_RETRY_LEFT = replace(FRESH, retries=3)
NO_INTERRUPTION_LEFT = replace(FRESH, interruptions=5)


@pytest.mark.parametrize(
    ("ending", "budget", "expected"),
    [
        (Ending.SUCCEEDED, FRESH, Transition(state=State.SUCCEEDED, event="succeeded")),
        (Ending.PERMANENT, FRESH, Transition(state=State.FAILED, event="failed")),
        (Ending.CANCELLED, FRESH, Transition(state=State.CANCELLED, event="cancelled")),
        (
            Ending.TRANSIENT,
            FRESH,
            Transition(state=State.QUEUED, event="retrying", retries_used=1, delay_seconds=2.0),
        ),
        (
            Ending.TIMED_OUT,
            FRESH,
            Transition(state=State.QUEUED, event="retrying", retries_used=1, delay_seconds=2.0),
        ),
        (Ending.TRANSIENT, NO_RETRY_LEFT, Transition(state=State.DEAD, event="dead")),
        (Ending.TIMED_OUT, NO_RETRY_LEFT, Transition(state=State.DEAD, event="dead")),
        (Ending.TRANSIENT, replace(FRESH, retries_max=0), Transition(state=State.DEAD, event="dead")),
        (Ending.HANDED_OVER, FRESH, Transition(state=State.QUEUED, event="interrupted")),
        (Ending.HANDED_OVER, NO_INTERRUPTION_LEFT, Transition(state=State.QUEUED, event="interrupted")),
        (Ending.CRASHED, FRESH, Transition(state=State.QUEUED, event="interrupted", interruptions_used=1)),
        (Ending.LEASE_LOST, FRESH, Transition(state=State.QUEUED, event="interrupted", interruptions_used=1)),
        (Ending.CRASHED, NO_INTERRUPTION_LEFT, Transition(state=State.DEAD, event="dead", interruptions_used=1)),
        (Ending.LEASE_LOST, NO_INTERRUPTION_LEFT, Transition(state=State.DEAD, event="dead", interruptions_used=1)),
        # Suspected from the second time on, and then left waiting for longer each time.
        (
            Ending.CRASHED,
            replace(FRESH, interruptions=1),
            Transition(state=State.QUEUED, event="interrupted", interruptions_used=1, delay_seconds=2.0),
        ),
        (
            Ending.LEASE_LOST,
            replace(FRESH, interruptions=4),
            Transition(state=State.QUEUED, event="interrupted", interruptions_used=1, delay_seconds=16.0),
        ),
        # Each budget is its own: a job without retries is still moved, one that was moved often is still retried.
        (Ending.CRASHED, NO_RETRY_LEFT, Transition(state=State.QUEUED, event="interrupted", interruptions_used=1)),
        (
            Ending.TRANSIENT,
            NO_INTERRUPTION_LEFT,
            Transition(state=State.QUEUED, event="retrying", retries_used=1, delay_seconds=2.0),
        ),
    ],
)
def test_each_ending_makes_of_a_job_what_its_budget_allows(
    ending: Ending, budget: Budget, expected: Transition
) -> None:
    assert decide(ending, budget, jitter=1.0) == expected


@pytest.mark.parametrize(("wish", "waits"), [(0.0, 0.0), (7.5, 7.5), (-3.0, 0.0), (math.inf, LONGEST_DELAY_SECONDS)])
def test_a_task_may_wish_for_its_own_delay(wish: float, waits: float) -> None:
    decided = decide(Ending.TRANSIENT, FRESH, jitter=0.3, delay_seconds=wish)
    assert decided.delay_seconds == waits
    assert decide(Ending.TRANSIENT, NO_RETRY_LEFT, jitter=0.3, delay_seconds=wish).state is State.DEAD


budgets = st.builds(
    Budget,
    retries=st.integers(0, 5000),
    retries_max=st.integers(0, 5000),
    interruptions=st.integers(0, 20),
    max_interruptions=st.integers(0, 20),
    backoff_seconds=st.floats(0, 1e6),
    backoff_max_seconds=st.floats(0, 1e300),
)
jitters = st.floats(0, 1)


@given(st.sampled_from(Ending), budgets, jitters, st.none() | st.floats(allow_nan=True))
def test_every_decision_is_a_transition_from_running(
    ending: Ending, budget: Budget, jitter: float, delay_seconds: float | None
) -> None:
    decided = decide(ending, budget, jitter=jitter, delay_seconds=delay_seconds)
    assert decided.state in TRANSITIONS[State.RUNNING]
    assert 0 <= decided.delay_seconds <= LONGEST_DELAY_SECONDS
    assert decided.delay_seconds == 0 or decided.event in {"retrying", "interrupted"}
    assert (decided.retries_used, decided.interruptions_used) in {(0, 0), (1, 0), (0, 1)}
    assert decided.retries_used == (decided.event == "retrying")
    if decided.retries_used:
        assert budget.retries < budget.retries_max
    assert (decided.state in TERMINAL) == (decided.event in {"succeeded", "failed", "dead", "cancelled"})


@given(budgets, jitters)
def test_backoff_spreads_over_the_upper_half_of_its_bound(budget: Budget, jitter: float) -> None:
    full = backoff_seconds(budget, 1.0)
    assert full <= budget.backoff_max_seconds
    assert full / 2 <= backoff_seconds(budget, jitter) <= full


@given(budgets, jitters)
def test_backoff_never_falls_from_one_retry_to_the_next(budget: Budget, jitter: float) -> None:
    later = replace(budget, retries=budget.retries + 1)
    assert backoff_seconds(budget, jitter) <= backoff_seconds(later, jitter)


def test_backoff_doubles_until_its_cap() -> None:
    waits = [backoff_seconds(replace(FRESH, retries=retries), 1.0) for retries in range(11)]
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]


def test_every_state_has_its_transitions_and_the_terminal_ones_have_none() -> None:
    assert set(TRANSITIONS) == set(State)
    assert {state for state, nexts in TRANSITIONS.items() if not nexts} == TERMINAL
    reachable = {decide(ending, budget, jitter=0.0).state for ending in Ending for budget in (FRESH, NO_RETRY_LEFT)}
    assert reachable == TRANSITIONS[State.RUNNING]
