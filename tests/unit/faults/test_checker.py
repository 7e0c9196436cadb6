"""The checker of the mixed run, on small histories written by hand: a good one, and one for each way to break a promise.

What I7 promises has tests of its own, in test_provenance.py, and so has what hostile jobs must become, in test_hostile.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.faults.mixed.checker import PROMISES, check
from tests.faults.mixed.history import Accepted, Event, Execution, Exit, Fault, History, Job, Request, load
from tests.faults.mixed.recovery import figures, recoveries
from tests.faults.mixed.work import meeting
from tests.unit.faults.histories import (
    JOB,
    KEY,
    KILLED_AT,
    OTHER,
    SECOND_JOB,
    SECOND_KEY,
    WORKER,
    good,
    good_hostile,
)


def broken(history: History) -> set[str]:
    return {violation.promise for violation in check(history).violations}


@pytest.mark.parametrize("make", [good, good_hostile])
def test_a_good_history_breaks_nothing(make: Callable[[], History]) -> None:
    assert check(make()).violations == []


def event(history: History, type: str, epoch: int | None = None) -> int:
    """Where the first job's event of a type is."""
    return next(
        i
        for i, one in enumerate(history.events)
        if (one.job_id, one.type) == (JOB, type) and epoch in (None, one.epoch)
    )


def forget_attempt(history: History, epoch: int) -> None:
    """As if this attempt of the first job had never been."""
    history.events = [one for one in history.events if (one.job_id, one.epoch) != (JOB, epoch)]
    history.executions = [one for one in history.executions if (one.job_id, one.epoch) != (JOB, epoch)]


def lost(history: History) -> None:
    forget_attempt(history, 2)
    history.jobs[0] = replace(history.jobs[0], state="queued", commits=0, result=None)


def vanished(history: History) -> None:
    history.jobs = [job for job in history.jobs if job.job_id != JOB]


def doubled_by_the_key(history: History) -> None:
    history.accepted.append(Accepted(10.2, KEY, "job-2"))
    history.jobs.append(Job("job-2", KEY, "cancelled", 0, commits=0))


def committed_twice(history: History) -> None:
    history.jobs[0] = replace(history.jobs[0], commits=2)


def succeeded_without_a_commit(history: History) -> None:
    history.jobs[0] = replace(history.jobs[0], commits=0, result=None)


def result_of_another_attempt(history: History) -> None:
    history.jobs[0] = replace(history.jobs[0], result={**history.jobs[0].result, "epoch": 1})


def write_of_an_older_epoch(history: History) -> None:
    last = history.events[event(history, "succeeded")]
    history.events.append(Event(JOB, last.seq, "checkpoint", 1, 29.5, data={"size_bytes": 1}))
    last.seq += 1


def gap(history: History) -> None:
    history.events[event(history, "succeeded")].seq += 1


def event_after_the_end(history: History) -> None:
    seq = history.events[event(history, "succeeded")].seq + 1
    history.events.append(Event(JOB, seq, "progress", 2, 31.5, data={"message": ""}))


def one_epoch_started_twice(history: History) -> None:
    for one in history.events:
        if one.job_id == JOB:
            one.epoch = min(one.epoch, 1)


def attempt_that_never_started(history: History) -> None:
    history.events[event(history, "succeeded")].epoch = 3


def late_recovery(history: History) -> None:
    for one in history.executions:
        if (one.job_id, one.epoch) == (JOB, 2):
            one.began_at, one.seen_at = 40.0, 41.0
    history.events[event(history, "succeeded")].at = 41.5


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


def interrupted_beside_a_hostile_job(history: History) -> None:
    interrupted_for_nothing(history)
    neighbour = good_hostile()
    for facts in (neighbour.jobs, neighbour.events, neighbour.executions, neighbour.accepted):
        for one in facts:
            one.job_id = one.job_id[:-1] + "9"
    neighbour.orders[0] = replace(neighbour.orders[0], key="key-9")
    neighbour.jobs[0].key = "key-9"
    history.orders += neighbour.orders
    history.jobs += neighbour.jobs
    history.events += [one for one in neighbour.events if one.type in ("queued", "started", "failed")]
    history.executions += neighbour.executions


def healthy_job_that_was_given_up(history: History) -> None:
    history.jobs[0] = replace(history.jobs[0], state="dead", commits=0, result=None)
    one = history.events[event(history, "succeeded")]
    one.type, one.ending = "dead", "crashed"


def process_that_ended_by_itself(history: History) -> None:
    history.exits.append(Exit("controller-0.1", 20.0, 1, was_told=False))


def execution(history: History, epoch: int) -> Execution:
    return next(one for one in history.executions if (one.job_id, one.epoch) == (JOB, epoch))


def orphan_that_went_on(history: History) -> None:
    execution(history, 1).seen_at = 30.5


def two_at_once_without_a_fault(history: History) -> None:
    interrupted_for_nothing(history)
    orphan_that_went_on(history)


def ran_after_the_end(history: History) -> None:
    history.executions.append(Execution(KEY, JOB, 3, 300, 32.0, 32.1, "completed"))


def running_without_a_process(history: History) -> None:
    """Its task had returned, and nobody ended it."""
    execution(history, 2).seen_at = 30.9
    history.events[event(history, "succeeded")].at = 55.0


def running_for_ever(history: History) -> None:
    del history.events[event(history, "succeeded")]
    history.jobs[0] = replace(history.jobs[0], state="running", commits=0, result=None)


def claimed_by_nobody(history: History) -> None:
    """Its process was told of another job."""
    history.executions.remove(execution(history, 2))
    history.events[event(history, "succeeded")].at = 55.0


def slot_that_does_not_serve(history: History) -> None:
    add_meeting(history, met=2, of=3)


def add_meeting(history: History, *, met: int, of: int) -> None:
    for number, order in enumerate(meeting("meeting", of)):
        history.orders.append(order)
        began_at = 50.0 + number if number < met else 70.0
        history.executions.append(Execution(order.key, order.key, 1, number, began_at, 60.0, "completed"))


@pytest.mark.parametrize(
    ("break_it", "promise"),
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
        (running_without_a_process, "I8"),
        (running_for_ever, "I8"),
        (claimed_by_nobody, "I8"),
        (interrupted_beside_a_hostile_job, "neighbours"),
        (slot_that_does_not_serve, "slots"),
        (orphan_that_went_on, "twice"),
        (two_at_once_without_a_fault, "twice"),
        (ran_after_the_end, "twice"),
    ],
    ids=lambda value: value.__name__ if callable(value) else value,
)
def test_each_broken_promise_is_seen(break_it: Callable[[History], None], promise: str) -> None:
    history = good()
    break_it(history)
    assert promise in broken(history) <= PROMISES.keys()


def test_what_a_fault_explains_is_no_violation() -> None:
    history = good()
    # The API is killed under a request, and the worker was frozen past its lease: both ran until the loser was told.
    history.faults += [Fault("api.kill", 20.0, 24.0, ["api-0"])]
    history.requests.append(Request(19.9, 20.1, "api-0", None))
    history.faults[0] = Fault("worker.freeze_past_lease", KILLED_AT, 32.0, [WORKER])
    execution(history, 1).seen_at, execution(history, 1).ending = 33.0, "left"
    assert check(history).violations == []


def test_an_attempt_whose_claim_was_never_heard_of_may_be_reaped() -> None:
    history = good()
    history.faults = [Fault("postgres.restart_fast", 11.9, 12.5, ["postgres"])]
    for job_id in (JOB, SECOND_JOB):
        history.executions = [one for one in history.executions if (one.job_id, one.epoch) != (job_id, 1)]
        history.events = [
            one
            for one in history.events
            if (one.job_id, one.epoch) != (job_id, 1) or one.type in ("started", "interrupted")
        ]
    assert broken(history) == {"I3", "I7"}  # the numbers and the checkpoints of what was taken away, and no more


def test_a_job_may_be_running_without_a_process_while_the_database_is_away() -> None:
    history = good()
    running_without_a_process(history)
    history.faults.append(Fault("postgres.freeze", 30.5, 50.0, ["postgres"]))
    assert broken(history) == set()


def test_a_worker_that_was_cut_off_commits_once_it_is_back() -> None:
    history = good()
    running_without_a_process(history)
    history.faults.append(Fault("worker.cut_postgres", 30.5, 50.0, [OTHER, "worker-1"]))
    assert broken(history) == set()


def test_slots_that_all_serve_meet() -> None:
    history = good()
    add_meeting(history, met=3, of=3)
    assert broken(history) == set()
    assert check(history).checks["slots"] == 3


def test_a_recovery_counts_from_the_last_fault_before_it() -> None:
    history = good()
    late_recovery(history)
    history.faults.append(Fault("postgres.freeze", 20.0, 26.0, ["postgres"]))
    (recovery,) = [one for one in recoveries(history) if one.job_id == JOB]
    assert recovery.seconds == pytest.approx(26.0)
    assert recovery.seconds_since_whole == pytest.approx(14.0)
    assert check(history).violations == []


def test_the_figures_of_a_run() -> None:
    ours = figures(good())
    assert (ours.accepted, ours.lost, ours.run_twice, ours.committed_twice) == (2, 0, 0, 0)
    assert (ours.killed, ours.recovered) == (2, 2)
    assert ours.recovery_max_seconds == pytest.approx(15.01)

    history = good()
    lost(history)
    theirs = figures(history)
    assert (theirs.lost, theirs.killed, theirs.recovered) == (1, 2, 1)

    history = good()
    orphan_that_went_on(history)
    committed_twice(history)
    assert (figures(history).run_twice, figures(history).committed_twice) == (1, 1)


def test_a_history_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "build" / "history.gz"
    for history in (good(), good_hostile()):
        history.save(path)
        assert load(path) == history
    assert SECOND_KEY in {order.key for order in good().orders}
