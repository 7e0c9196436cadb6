"""I7: every result, checkpoint, progress and log line was computed by the attempt that it is booked to.

What each attempt had to say follows from the order, the job's id and the epoch (`payload`), so nothing is looked for: it
is computed again and compared. What an attempt says whose process was killed may be cut short, never be different.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from tests.faults.mixed.history import Event, History, Job
from tests.faults.mixed.index import Attempt, Index
from tests.faults.mixed.payload import GHOST, STAMP, UNREADABLE, Payload, digest, size_bytes
from tests.faults.mixed.work import Order

REPORTED = frozenset({"succeeded", "transient", "permanent", "cancelled", "handed_over", "timed_out"})
"""Endings that a task brings about itself, after which nothing of what it said may be missing."""


def check_provenance(history: History, index: Index) -> Iterator[str]:
    """Of all honest jobs."""
    for job in history.jobs:
        order = index.order(job.job_id)
        if order is None:
            yield f"Job {job.job_id} has the key {job.key}, which nobody ordered."
        elif not order.is_hostile:
            attempts = index.attempts.get(job.job_id, [])
            yield from check_result(job, order, attempts, index)
            yield from _checkpoints(job, order, attempts, index)
            yield from _last_message(job, attempts)
            for attempt in attempts:
                yield from _reports(attempt, order, index)


def check_result(job: Job, order: Order, attempts: Sequence[Attempt], index: Index) -> Iterator[str]:
    """The result is that of the attempt that committed it."""
    committed = next((one for one in attempts if one.end is not None and one.end.type == "succeeded"), None)
    if job.state != "succeeded" or committed is None:
        if job.result is not None:
            yield f"Job {job.job_id} is {job.state} and has a result: {shorten(job.result)}."
        return
    index.checks["results"] += 1
    payload = index.payload(order, committed)
    # How far a hostile job came depends on its limits; that it computed the whole way does not.
    steps = order.steps if not order.is_hostile else _steps_of(job.result)
    expected = payload.result(steps, digest(order.token, steps))
    found = job.result
    if order.is_hostile and isinstance(found, dict):
        found = {name: value for name, value in found.items() if name != "value"}
    if found != expected:
        yield (
            f"Attempt {committed.epoch} of job {job.job_id} committed a result that it did not compute: "
            f"{shorten(job.result)}, not {shorten(expected)}."
        )


def _steps_of(result: Any) -> int:
    steps = result.get("steps") if isinstance(result, dict) else None
    return steps if isinstance(steps, int) and 0 <= steps < 1_000_000 else 0


def _reports(attempt: Attempt, order: Order, index: Index) -> Iterator[str]:
    payload = index.payload(order, attempt)
    if attempt.execution is None and attempt.reports:
        yield f"{name(attempt)} has reports, and no process ran it."
    yield from check_lines(attempt, payload, index, extra=[])
    yield from _progress(attempt, order, payload, index)
    must_raise = attempt.epoch <= order.fails
    if attempt.ending == "transient" and not (must_raise and attempt.error.get("message") == payload.raised()):
        yield f"{name(attempt)} ended with an error that it did not raise: {shorten(attempt.error)}."
    yield from check_traceback(attempt, payload.raised())


def check_lines(attempt: Attempt, payload: Payload, index: Index, *, extra: Sequence[Event]) -> Iterator[str]:
    """The log of an attempt: its lines from 0 on in order, all of them where it ended by itself. `extra` are lines that
    are not its own and may be there, beside its traceback."""
    number, has_ended = 0, False
    for event in attempt.reported("log"):
        index.checks["log lines"] += 1
        if event.data == payload.line(number) and not has_ended:
            number += 1
        elif event in extra or has_traceback(event):
            has_ended = has_ended or has_traceback(event)
            yield from check_stamps(event.data, [payload], f"{name(attempt)}, event {event.seq}")
        else:
            expected = payload.line(number)["message"]
            yield f"{name(attempt)} has the log line {shorten(event.data)} as event {event.seq}, where {expected!r} belongs."
            later = _line_number(event, payload)
            number = later + 1 if later is not None else number
    if (execution := attempt.execution) is not None and ended_by_itself(attempt) and number != execution.lines:
        yield f"{name(attempt)} wrote {execution.lines} log lines and ended by itself, and {number} of them were kept."


def _line_number(event: Event, payload: Payload) -> int | None:
    """Of a line that is this attempt's, in the wrong place."""
    fields = event.data.get("fields") if isinstance(event.data, dict) else None
    number = fields.get("line") if isinstance(fields, dict) else None
    return number if isinstance(number, int) and event.data == payload.line(number) else None


def has_traceback(event: Event) -> bool:
    return isinstance(event.data, dict) and "traceback" in (event.data.get("fields") or {})


def check_traceback(attempt: Attempt, text: str) -> Iterator[str]:
    """An attempt that an error of the task ended has one line with the traceback, in which `text` stands; no other has."""
    tracebacks = [event for event in attempt.reported("log") if has_traceback(event)]
    raised = attempt.error.get("code") == "task_failed" and ended_by_itself(attempt)
    if raised and not tracebacks:
        yield f"{name(attempt)} ended with an error of the task, and its traceback is lost."
    if len(tracebacks) > 1:
        yield f"{name(attempt)} has {len(tracebacks)} tracebacks."
    for event in tracebacks:
        if text not in str(event.data["fields"]["traceback"]):
            yield f"{name(attempt)} has a traceback that is not its own: {shorten(event.data)}."
        if not raised and attempt.end is not None and ended_by_itself(attempt):
            yield f"{name(attempt)} has a traceback, and ended {attempt.ending}."


def _progress(attempt: Attempt, order: Order, payload: Payload, index: Index) -> Iterator[str]:
    """Only the newest progress is kept of each half second: steps are left out, and never repeated."""
    last = _saved_step(attempt.execution.found) if attempt.execution is not None else 0
    for event in attempt.reported("progress"):
        index.checks["progress"] += 1
        step = _step_of(event)
        if event.data != payload.progress(step, order.steps, digest(order.token, step)):
            yield f"{name(attempt)} has a progress that is not its own: {shorten(event.data)}, event {event.seq}."
        elif step <= last:
            yield f"{name(attempt)} has the progress of step {step} after that of step {last}, event {event.seq}."
        last = max(last, step)
    execution = attempt.execution
    if execution is not None and ended_by_itself(attempt) and execution.progress_step > last:
        yield f"{name(attempt)} last reported step {execution.progress_step}, and step {last} is the last that was kept."


def _step_of(event: Event) -> int:
    data = event.data.get("data") if isinstance(event.data, dict) else None
    step = data.get("step") if isinstance(data, dict) else None
    return step if isinstance(step, int) and 0 <= step < 1_000_000 else 0


def _last_message(job: Job, attempts: Sequence[Attempt]) -> Iterator[str]:
    messages = [event.data["message"] for one in attempts for event in one.reported("progress")]
    if job.progress_message != (messages[-1] if messages else ""):
        yield f"Job {job.job_id} shows the progress {job.progress_message!r}, and its history ends with {messages[-1:]}."


def _checkpoints(job: Job, order: Order, attempts: Sequence[Attempt], index: Index) -> Iterator[str]:
    for number, attempt in enumerate(attempts):
        yield from _sizes(attempt, index.payload(order, attempt))
        if attempt.execution is not None:
            found, what = attempt.execution.found, f"{name(attempt)} started from"
            yield from check_saved(found, attempts[:number], order, index, what=what)
    yield from check_saved(job.checkpoint, attempts, order, index, what=f"Job {job.job_id} was left with")


def _sizes(attempt: Attempt, payload: Payload) -> Iterator[str]:
    """The event of a checkpoint holds only its size, which grows with each step."""
    last = _saved_step(attempt.execution.found) if attempt.execution is not None else 0
    sent = attempt.execution.sent_step if attempt.execution is not None else 0
    for event in attempt.reported("checkpoint"):
        step = step_of_size(event, payload)
        if step is None or not last < step <= sent:
            yield f"{name(attempt)} has a checkpoint that is not its own: {shorten(event.data)}, event {event.seq}."
        last = max(last, step or 0)


def check_saved(saved: Any, attempts: Sequence[Attempt], order: Order, index: Index, *, what: str) -> Iterator[str]:
    """`saved` is the last checkpoint that these attempts of one job committed."""
    index.checks["checkpoints"] += 1
    at_least = (0, 0)
    for attempt in attempts:
        payload, execution = index.payload(order, attempt), attempt.execution
        steps = [step_of_size(event, payload) or 0 for event in attempt.reported("checkpoint")]
        if execution is not None and ended_by_itself(attempt) and not order.is_hostile:
            steps.append(execution.sent_step)
        if any(steps):
            at_least = (attempt.epoch, max(steps))
    if saved is None:
        if at_least != (0, 0):
            yield f"{what} no checkpoint, and attempt {at_least[0]} had saved step {at_least[1]}."
        return
    epoch = saved.get("epoch") if isinstance(saved, dict) else None
    of = next((one for one in attempts if one.epoch == epoch), None)
    step = _saved_step(saved)
    if of is None or saved != index.payload(order, of).checkpoint(step, digest(order.token, step)):
        yield f"{what} a checkpoint that no attempt of this job before it saved: {shorten(saved)}."
    elif of.execution is None or step > of.execution.sent_step:
        yield f"{what} the checkpoint of step {step} of attempt {epoch}, which that attempt never sent."
    elif (of.epoch, step) < at_least:
        yield f"{what} step {step} of attempt {epoch}, and attempt {at_least[0]} had saved step {at_least[1]}."


def step_of_size(event: Event, payload: Payload) -> int | None:
    """Which step a checkpoint of this size is of; None where none has it."""
    size = event.data.get("size_bytes") if isinstance(event.data, dict) else None
    if not isinstance(size, int):
        return None
    beyond = size - size_bytes(payload.checkpoint(0, digest(payload.token, 0))) + 1
    return next((beyond - digits for digits in range(1, 8) if len(str(beyond - digits)) == digits), None)


def _saved_step(saved: Any) -> int:
    step = saved.get("step") if isinstance(saved, dict) else None
    return step if isinstance(step, int) and 0 <= step < 1_000_000 else 0


def check_stamps(value: Any, allowed: Sequence[Payload], what: str) -> Iterator[str]:
    """Whatever else a value holds, it names no other attempt, can be read, and no ghost left it."""
    text = json.dumps(value, ensure_ascii=False)
    strangers = set(STAMP.findall(text)) - {one.stamp for one in allowed}
    if strangers:
        yield f"{what} holds what {', '.join(sorted(strangers))} said: {shorten(value)}."
    if UNREADABLE in text:
        yield f"{what} holds what nobody can read: {shorten(value)}."
    if GHOST in text:
        yield f"{what} holds what was said after the end of its attempt: {shorten(value)}."


def ended_by_itself(attempt: Attempt) -> bool:
    """The task came to an end of its own, and the platform took it as that."""
    if attempt.execution is None or attempt.execution.ending == "killed" or attempt.end is None:
        return False
    return attempt.ending in REPORTED and attempt.error.get("code") not in ("timeout", "drained")


def name(attempt: Attempt) -> str:
    return f"Attempt {attempt.epoch} of job {attempt.job_id}"


def shorten(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 300 else f"{text[:200]} ... {text[-80:]}"
