"""I7 of the checker: whatever is booked to an attempt that did not compute it is found, and whatever is missing."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.faults.mixed.checker import check
from tests.faults.mixed.history import Event, Execution, History
from tests.faults.mixed.payload import Payload, digest, size_bytes
from tests.unit.faults.histories import JOB, KEY, SECOND_JOB, SECOND_KEY, STEPS, good, good_hostile

REPORTS = ("log", "progress", "checkpoint")


def said(history: History) -> list[str]:
    """What I7 has to say."""
    return [one.sentence for one in check(history).violations if one.promise == "I7"]


def events(history: History, type: str, job_id: str = JOB, epoch: int = 2) -> list[Event]:
    return [one for one in history.events if (one.job_id, one.epoch, one.type) == (job_id, epoch, type)]


def execution(history: History, epoch: int, job_id: str = JOB) -> Execution:
    return next(one for one in history.executions if (one.job_id, one.epoch) == (job_id, epoch))


def remove(history: History, event: Event) -> None:
    """With its number, so that only what it said is missing."""
    history.events.remove(event)
    renumber(history)


def insert(history: History, event: Event, *, after: Event) -> None:
    history.events.insert(history.events.index(after) + 1, replace(event, job_id=after.job_id, epoch=after.epoch))
    renumber(history)


def renumber(history: History) -> None:
    for job_id in (JOB, SECOND_JOB):
        for number, event in enumerate((one for one in history.events if one.job_id == job_id), 1):
            event.seq = number


def result_of_a_neighbour(history: History) -> None:
    one, other = history.jobs
    history.jobs = [replace(one, result=other.result), replace(other, result=one.result)]


def result_of_a_neighbour_under_its_own_name(history: History) -> None:
    """As a task would return it that ran with a neighbour's params."""
    one = history.jobs[0]
    token = "tk-0000000000000002"
    history.jobs[0] = replace(one, result={**one.result, "token": token, "digest": digest(token, STEPS)})


def result_that_stopped_early(history: History) -> None:
    one = history.jobs[0]
    short = {**one.result, "steps": STEPS - 1, "digest": digest("tk-0000000000000001", STEPS - 1)}
    history.jobs[0] = replace(one, result=short)


def results_shifted_by_one(history: History) -> None:
    history.jobs[1] = replace(history.jobs[1], result=history.jobs[0].result)


def line_of_another_job(history: History) -> None:
    events(history, "log")[1].data = events(history, "log", SECOND_JOB, 3)[1].data


def line_of_another_job_too_many(history: History) -> None:
    insert(history, events(history, "log", SECOND_JOB)[0], after=events(history, "log")[-1])


def line_of_an_earlier_epoch(history: History) -> None:
    insert(history, events(history, "log", epoch=1)[-1], after=events(history, "log")[0])


def line_repeated(history: History) -> None:
    line = events(history, "log")[1]
    insert(history, line, after=line)


def lines_out_of_order(history: History) -> None:
    one, other = events(history, "log")[1:3]
    one.data, other.data = other.data, one.data


def first_line_lost(history: History) -> None:
    remove(history, events(history, "log")[0])


def last_line_lost(history: History) -> None:
    remove(history, events(history, "log")[-1])


def all_lines_lost(history: History) -> None:
    for event in events(history, "log"):
        remove(history, event)


def line_lost_in_the_middle_of_a_killed_attempt(history: History) -> None:
    remove(history, events(history, "log", SECOND_JOB, 1)[1])


def line_changed(history: History) -> None:
    line = events(history, "log")[0]
    line.data = {**line.data, "message": line.data["message"] + " "}


def line_at_another_level(history: History) -> None:
    line = events(history, "log")[0]
    line.data = {**line.data, "level": "error"}


def traceback_lost(history: History) -> None:
    remove(history, events(history, "log", SECOND_JOB)[-1])


def traceback_of_another_job(history: History) -> None:
    line, stranger = events(history, "log", SECOND_JOB)[-1], Payload("tk-0000000000000001", JOB, 2).raised()
    line.data = {**line.data, "message": stranger, "fields": {"traceback": stranger}}


def traceback_repeated(history: History) -> None:
    line = events(history, "log", SECOND_JOB)[-1]
    insert(history, line, after=line)


def traceback_in_an_attempt_that_succeeded(history: History) -> None:
    insert(history, events(history, "log", SECOND_JOB)[-1], after=events(history, "log")[-1])


def error_of_another_attempt(history: History) -> None:
    (retrying,) = events(history, "retrying", SECOND_JOB)
    stranger = Payload("tk-0000000000000002", SECOND_JOB, 1).raised()
    retrying.data = {**retrying.data, "error": {"code": "task_failed", "message": stranger}}


def failed_for_nothing(history: History) -> None:
    history.orders[1] = replace(history.orders[1], fails=0)


def progress_of_another_job(history: History) -> None:
    events(history, "progress")[0].data = events(history, "progress", SECOND_JOB, 1)[0].data


def progress_of_an_earlier_epoch(history: History) -> None:
    events(history, "progress")[0].data = events(history, "progress", epoch=1)[0].data


def progress_repeated(history: History) -> None:
    progress = events(history, "progress")[0]
    insert(history, progress, after=progress)


def last_progress_lost(history: History) -> None:
    remove(history, events(history, "progress")[-1])


def message_of_another_job(history: History) -> None:
    history.jobs[0] = replace(history.jobs[0], progress_message=history.jobs[1].progress_message)


def checkpoint_of_another_job_found(history: History) -> None:
    execution(history, 2).found = execution(history, 2, SECOND_JOB).found


def checkpoint_of_nobody_found(history: History) -> None:
    execution(history, 2).found = {**execution(history, 2).found, "digest": "0"}


def checkpoint_not_found(history: History) -> None:
    execution(history, 2).found = None


def older_checkpoint_found(history: History) -> None:
    payload = Payload("tk-0000000000000002", SECOND_JOB, 1)
    execution(history, 2, SECOND_JOB).found = payload.checkpoint(1, digest(payload.token, 1))


def checkpoint_found_that_was_never_sent(history: History) -> None:
    payload = Payload("tk-0000000000000002", SECOND_JOB, 1)
    execution(history, 2, SECOND_JOB).found = payload.checkpoint(3, digest(payload.token, 3))


def checkpoint_of_a_later_attempt_found(history: History) -> None:
    payload = Payload("tk-0000000000000001", JOB, 2)
    execution(history, 2).found = payload.checkpoint(2, digest(payload.token, 2))


def checkpoint_left_of_another_job(history: History) -> None:
    history.jobs[0] = replace(history.jobs[0], checkpoint=history.jobs[1].checkpoint)


def no_checkpoint_left(history: History) -> None:
    history.jobs[0] = replace(history.jobs[0], checkpoint=None)


def older_checkpoint_left(history: History) -> None:
    payload = Payload("tk-0000000000000001", JOB, 2)
    history.jobs[0] = replace(history.jobs[0], checkpoint=payload.checkpoint(3, digest(payload.token, 3)))


def checkpoint_event_of_another_step(history: History) -> None:
    payload = Payload("tk-0000000000000001", JOB, 2)
    events(history, "checkpoint")[0].data = {"size_bytes": size_bytes(payload.checkpoint(3, digest(payload.token, 3)))}


def checkpoint_event_of_nobody(history: History) -> None:
    insert(history, replace(events(history, "checkpoint")[0], data={"size_bytes": 9}), after=events(history, "log")[0])


def reports_of_an_attempt_that_no_process_ran(history: History) -> None:
    history.executions.remove(execution(history, 1))


def job_that_nobody_ordered(history: History) -> None:
    history.jobs[0] = replace(history.jobs[0], key="key-3")


def result_of_a_job_that_failed(history: History) -> None:
    history.jobs[0] = replace(history.jobs[0], state="dead")


@pytest.mark.parametrize(
    "break_it",
    [
        result_of_a_neighbour,
        result_of_a_neighbour_under_its_own_name,
        result_that_stopped_early,
        results_shifted_by_one,
        line_of_another_job,
        line_of_another_job_too_many,
        line_of_an_earlier_epoch,
        line_repeated,
        lines_out_of_order,
        first_line_lost,
        last_line_lost,
        all_lines_lost,
        line_lost_in_the_middle_of_a_killed_attempt,
        line_changed,
        line_at_another_level,
        traceback_lost,
        traceback_of_another_job,
        traceback_repeated,
        traceback_in_an_attempt_that_succeeded,
        error_of_another_attempt,
        failed_for_nothing,
        progress_of_another_job,
        progress_of_an_earlier_epoch,
        progress_repeated,
        last_progress_lost,
        message_of_another_job,
        checkpoint_of_another_job_found,
        checkpoint_of_nobody_found,
        checkpoint_not_found,
        older_checkpoint_found,
        checkpoint_found_that_was_never_sent,
        checkpoint_of_a_later_attempt_found,
        checkpoint_left_of_another_job,
        no_checkpoint_left,
        older_checkpoint_left,
        checkpoint_event_of_another_step,
        checkpoint_event_of_nobody,
        reports_of_an_attempt_that_no_process_ran,
        job_that_nobody_ordered,
        result_of_a_job_that_failed,
    ],
    ids=lambda break_it: break_it.__name__,
)
def test_what_an_attempt_did_not_compute_is_found(break_it: Callable[[History], None]) -> None:
    history = good()
    break_it(history)
    assert said(history)


def test_an_attempt_that_was_killed_may_be_cut_short() -> None:
    history = good()
    # What it had said and nobody had written yet went with it: its last line, and the progress of the same moment.
    remove(history, events(history, "log", epoch=1)[-1])
    remove(history, events(history, "progress", epoch=1)[-1])
    assert said(history) == []


def test_of_progress_only_the_newest_is_kept() -> None:
    history = good()
    remove(history, events(history, "progress")[0])
    assert said(history) == []


@dataclass
class Place:
    """Where something stands that an attempt has said."""

    kind: str
    holder: Any
    field: str

    @property
    def value(self) -> Any:
        return getattr(self.holder, self.field)

    @value.setter
    def value(self, value: Any) -> None:
        setattr(self.holder, self.field, value)


def places(history: History) -> list[Place]:
    found = [Place(one.type, one, "data") for one in history.events if one.type in REPORTS]
    found += [Place("error", one, "data") for one in history.events if one.ending == "transient"]
    found += [Place("state", one, "found") for one in history.executions if one.epoch > 1]
    found += [Place("state", one, "checkpoint") for one in history.jobs]
    found += [Place("result", one, "result") for one in history.jobs]
    found += [Place("message", one, "progress_message") for one in history.jobs]
    return found


PAIRS = [
    (one, other)
    for (one, here), (other, there) in itertools.permutations(enumerate(places(good())), 2)
    if here.kind == there.kind and here.value != there.value
]
"""Places whose values can be told apart."""


@settings(max_examples=500)
@given(st.sampled_from(PAIRS))
def test_any_two_that_change_places_are_found(pair: tuple[int, int]) -> None:
    history = good()
    here, there = (places(history)[at] for at in pair)
    here.value, there.value = there.value, here.value
    assert said(history)


@settings(max_examples=500)
@given(st.sampled_from(PAIRS))
def test_any_that_stands_where_another_belongs_is_found(pair: tuple[int, int]) -> None:
    history = good()
    here, there = (places(history)[at] for at in pair)
    here.value = there.value
    assert said(history)


@given(st.data())
def test_any_report_that_is_lost_from_the_log_is_found(data: st.DataObject) -> None:
    history = good()
    lines = [one for one in history.events if one.type == "log"]
    line = data.draw(st.sampled_from(lines))
    of_attempt = [one for one in lines if (one.job_id, one.epoch) == (line.job_id, line.epoch)]
    assume(line.epoch > 1 or line is not of_attempt[-1])  # the first attempts were killed
    remove(history, line)
    assert said(history)


@given(st.data())
def test_any_report_that_is_repeated_is_found(data: st.DataObject) -> None:
    history = good()
    reports = [one for one in history.events if one.type in REPORTS]
    report = data.draw(st.sampled_from(reports))
    later = [one for one in history.events if one.job_id == report.job_id and one.seq >= report.seq and one.epoch > 0]
    after = data.draw(st.sampled_from([one for one in later if one.type in (*REPORTS, "started")]))
    insert(history, report, after=after)
    assert said(history)


def test_what_a_ghost_says_is_found() -> None:
    history = good_hostile()
    payload = Payload("tk-0000000000000001", JOB, 1)
    line = next(one for one in history.events if one.type == "log")
    insert(history, replace(line, data={"level": "info", "message": payload.ghost(0)}), after=line)
    assert said(history)


def test_what_a_hostile_job_says_of_another_is_found() -> None:
    history = good_hostile()
    stranger = Payload("tk-0000000000000009", SECOND_JOB, 1)
    line = next(one for one in history.events if one.type == "log")
    line.data = {"level": "info", "message": f"Nothing much, but {stranger.stamp} stands in it.", "fields": {}}
    assert said(history)


def test_the_orders_are_those_of_the_client() -> None:
    """Not the ledger's: it might have mixed up the params themselves."""
    history = good()
    one, other = history.orders
    history.orders = [replace(one, key=SECOND_KEY), replace(other, key=KEY)]
    assert said(history)
