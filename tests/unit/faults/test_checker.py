"""The checker of the mixed run, on small histories written by hand: a good one, and one for each way to break a promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.faults.mixed.checker import check
from tests.faults.mixed.history import Accepted, Event, Execution, Exit, Fault, History, Job, Request, load
from tests.faults.mixed.recovery import figures, recoveries

JOB, KEY, WORKER, OTHER = "job-1", "key-1", "worker-0.1", "worker-1.1"
KILLED_AT, KEEPER, CHILD = 14.0, 100, 101


def good() -> History:
    """A job whose worker is killed at 14 s, and that runs again, to its end, 15 s later."""
    return History(
        lease_seconds=15.0,
        renew_seconds=3.0,
        deadline_seconds=5.0,
        requests=[Request(10.0, 10.1, "api-0", 202)],
        accepted=[Accepted(10.1, KEY, JOB)],
        faults=[Fault("worker.kill", KILLED_AT, 14.1, [WORKER], [KEEPER, CHILD])],
        exits=[Exit(WORKER, 14.1, -9, was_told=True)],
        events=[
            Event(JOB, 1, "queued", 0, 10.0),
            Event(JOB, 2, "started", 1, 12.0, WORKER),
            Event(JOB, 3, "interrupted", 1, 28.5, ending="lease_lost"),
            Event(JOB, 4, "started", 2, 29.0, OTHER),
            Event(JOB, 5, "succeeded", 2, 31.0, ending="succeeded"),
        ],
        jobs=[Job(JOB, KEY, "succeeded", 2, commits=1, result_epoch=2)],
        executions=[
            Execution(KEY, JOB, 1, CHILD, 12.01, 13.9, "killed"),
            Execution(KEY, JOB, 2, 200, 29.01, 30.99, "completed"),
        ],
    )


def test_a_good_history_breaks_nothing() -> None:
    assert check(good()) == []


def lost(history: History) -> None:
    history.jobs[0] = replace(history.jobs[0], state="queued", commits=0, result_epoch=None)
    del history.events[-2:], history.executions[1:]


def vanished(history: History) -> None:
    history.jobs.clear()


def doubled_by_the_key(history: History) -> None:
    history.accepted.append(Accepted(10.2, KEY, "job-2"))
    history.jobs.append(Job("job-2", KEY, "cancelled", 0, commits=0))


def committed_twice(history: History) -> None:
    history.jobs[0] = replace(history.jobs[0], commits=2)


def succeeded_without_a_commit(history: History) -> None:
    history.jobs[0] = replace(history.jobs[0], commits=0, result_epoch=None)


def result_of_another_attempt(history: History) -> None:
    history.jobs[0] = replace(history.jobs[0], result_epoch=1)


def write_of_an_older_epoch(history: History) -> None:
    history.events.insert(4, Event(JOB, 5, "checkpoint", 1, 29.5))
    history.events[5] = replace(history.events[5], seq=6)


def gap(history: History) -> None:
    history.events[-1] = replace(history.events[-1], seq=6)


def event_after_the_end(history: History) -> None:
    history.events.append(Event(JOB, 6, "progress", 2, 31.5))


def one_epoch_started_twice(history: History) -> None:
    history.events[3] = replace(history.events[3], epoch=1)
    history.events[4] = replace(history.events[4], epoch=1)
    history.jobs[0] = replace(history.jobs[0], result_epoch=1)
    history.executions[1] = replace(history.executions[1], epoch=1)


def attempt_that_never_started(history: History) -> None:
    history.events[4] = replace(history.events[4], epoch=3)
    history.jobs[0] = replace(history.jobs[0], result_epoch=3)


def late_recovery(history: History) -> None:
    history.executions[1] = replace(history.executions[1], began_at=40.0, seen_at=41.0)
    history.events[4] = replace(history.events[4], at=41.5)


def silent_api(history: History) -> None:
    history.requests.append(Request(20.0, 30.0, "api-0", None))


def slow_answer(history: History) -> None:
    history.requests.append(Request(20.0, 27.5, "api-0", 202))


def refusal_that_says_not_when_to_come_back(history: History) -> None:
    history.requests.append(Request(20.0, 20.1, "api-0", 503, has_retry_after=False))


def error_of_the_api(history: History) -> None:
    history.requests.append(Request(20.0, 20.1, "api-0", 500))


def interrupted_for_nothing(history: History) -> None:
    history.faults[0] = replace(history.faults[0], targets=["worker-2.1"])


def interrupted_by_a_short_freeze(history: History) -> None:
    history.faults[0] = Fault("worker.freeze_3s", KILLED_AT, 17.0, [WORKER])


def healthy_job_that_was_given_up(history: History) -> None:
    history.jobs[0] = replace(history.jobs[0], state="dead", commits=0, result_epoch=None)
    history.events[-1] = replace(history.events[-1], type="dead", ending="crashed")


def process_that_ended_by_itself(history: History) -> None:
    history.exits.append(Exit("controller-0.1", 20.0, 1, was_told=False))


def orphan_that_went_on(history: History) -> None:
    history.executions[0] = replace(history.executions[0], seen_at=30.5)


def two_at_once_without_a_fault(history: History) -> None:
    interrupted_for_nothing(history)
    orphan_that_went_on(history)


def ran_after_the_end(history: History) -> None:
    history.executions.append(Execution(KEY, JOB, 3, 300, 32.0, 32.1, "completed"))


@pytest.mark.parametrize(
    ("break_it", "invariant"),
    [
        (lost, "I1"),
        (vanished, "I1"),
        (doubled_by_the_key, "I1"),
        (committed_twice, "I2"),
        (succeeded_without_a_commit, "I2"),
        (result_of_another_attempt, "I2"),
        (write_of_an_older_epoch, "I3"),
        (gap, "I3"),
        (event_after_the_end, "I3"),
        (one_epoch_started_twice, "I3"),
        (attempt_that_never_started, "I3"),
        (late_recovery, "I4"),
        (silent_api, "I5"),
        (slow_answer, "I5"),
        (refusal_that_says_not_when_to_come_back, "I5"),
        (error_of_the_api, "I5"),
        (interrupted_for_nothing, "I6"),
        (interrupted_by_a_short_freeze, "I6"),
        (healthy_job_that_was_given_up, "I6"),
        (process_that_ended_by_itself, "I6"),
        (orphan_that_went_on, "twice"),
        (two_at_once_without_a_fault, "twice"),
        (ran_after_the_end, "twice"),
    ],
    ids=lambda value: value.__name__ if callable(value) else value,
)
def test_each_broken_promise_is_seen(break_it: Callable[[History], None], invariant: str) -> None:
    history = good()
    break_it(history)
    assert invariant in {violation.invariant for violation in check(history)}


def test_what_a_fault_explains_is_no_violation() -> None:
    history = good()
    # The API is killed under a request, and the worker was frozen past its lease: both ran until the loser was told.
    history.faults += [Fault("api.kill", 20.0, 24.0, ["api-0"])]
    history.requests.append(Request(19.9, 20.1, "api-0", None))
    history.faults[0] = Fault("worker.freeze_past_lease", KILLED_AT, 32.0, [WORKER])
    history.executions[0] = replace(history.executions[0], seen_at=33.0, ending="left")
    assert check(history) == []


def test_an_attempt_whose_claim_was_never_heard_of_may_be_reaped() -> None:
    history = good()
    history.faults = [Fault("postgres.restart_fast", 11.9, 12.5, ["postgres"])]
    history.executions = history.executions[1:]
    assert check(history) == []


def test_a_recovery_counts_from_the_last_fault_before_it() -> None:
    history = good()
    late_recovery(history)
    history.faults.append(Fault("postgres.freeze", 20.0, 26.0, ["postgres"]))
    (recovery,) = recoveries(history)
    assert recovery.seconds == pytest.approx(26.0)
    assert recovery.seconds_since_whole == pytest.approx(14.0)
    assert check(history) == []


def test_the_figures_of_a_run() -> None:
    ours = figures(good())
    assert (ours.accepted, ours.lost, ours.run_twice, ours.committed_twice) == (1, 0, 0, 0)
    assert (ours.killed, ours.recovered) == (1, 1)
    assert ours.recovery_max_seconds == pytest.approx(15.01)

    history = good()
    lost(history)
    theirs = figures(history)
    assert (theirs.lost, theirs.killed, theirs.recovered, theirs.recovery_max_seconds) == (1, 1, 0, None)

    history = good()
    orphan_that_went_on(history)
    committed_twice(history)
    assert (figures(history).run_twice, figures(history).committed_twice) == (1, 1)


def test_a_history_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "build" / "history.gz"
    good().save(path)
    assert load(path) == good()
