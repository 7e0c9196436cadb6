"""What became of hostile jobs, compared with the table; and what they left behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from typing import Any

from tests.faults.mixed.history import Event, History, Job
from tests.faults.mixed.hostile.kinds import KINDS, OUTPUTS, Kind, fatal_signal
from tests.faults.mixed.index import TERMINAL, Attempt, Index
from tests.faults.mixed.payload import Payload
from tests.faults.mixed.provenance import (
    check_lines,
    check_result,
    check_stamps,
    check_traceback,
    ended_by_itself,
    has_traceback,
    name,
)
from tests.faults.mixed.work import Order

PLATFORM_CODES = frozenset({"lease_lost", "crash", "out_of_memory", "drained"})
"""What an end is called that a fault of the infrastructure brought about."""
ENDINGS = {
    "succeeded": {"succeeded"},
    "cancelled": {"cancelled"},
    "failed": {"permanent"},
    "dead/timeout": {"timed_out"},
    "dead/soft_timeout": {"timed_out"},
    "dead/crash": {"crashed"},
    "dead/out_of_memory": {"crashed"},
    "dead/retryable": {"transient"},
    "dead/task_failed": {"transient"},
    "dead/*": {"transient", "timed_out", "crashed"},
}
"""How the attempts end of a job that becomes this; of all that failed, whatever the code."""
LEFT_SECONDS = 5.0
"""After the end of an attempt its processes are gone: they are counted once a second."""


def check_hostile(history: History, index: Index) -> Iterator[str]:
    """They became what they must become, and evidence and log say why."""
    for job, order, kind in _jobs(history, index):
        attempts = index.attempts.get(job.job_id, [])
        for problem in (*_state(job, kind, attempts, index), *_evidence(order, kind, attempts, index)):
            yield f"{order.kind}: {problem}"


def check_hostile_provenance(history: History, index: Index) -> Iterator[str]:
    """I7 of what they report: no more and nothing else than is their own."""
    for job, order, kind in _jobs(history, index):
        attempts = index.attempts.get(job.job_id, [])
        payloads = [index.payload(order, attempt) for attempt in attempts]
        problems = [*check_result(job, order, attempts, index)]
        problems += check_stamps([job.result, job.checkpoint], payloads, f"Job {job.job_id}")
        for attempt, payload in zip(attempts, payloads, strict=True):
            problems += _reports(attempt, payload, kind, index)
            if order.kind == "output.captured" and ended_by_itself(attempt):
                problems += _captured(attempt, payload)
        yield from (f"{order.kind}: {problem}" for problem in problems)


def check_ghosts(history: History, index: Index) -> Iterator[str]:
    """Whatever goes on reporting after the end of its attempt gets an error."""
    ends = {(one.job_id, one.epoch): one.end.at for one in index.every_attempt() if one.end is not None}
    for ghost in history.ghosts:
        index.checks["reports after the end"] += 1
        ended_at = ends.get((ghost.job_id, ghost.epoch), float("inf"))
        if ghost.answer is None and ghost.at > ended_at:
            yield (
                f"Attempt {ghost.epoch} of job {ghost.job_id} called job.{ghost.call}() {ghost.at - ended_at:.1f} s "
                "after its end, and got no error."
            )


def check_left_behind(history: History, index: Index) -> Iterator[str]:
    """No process that a task started outlives its attempt."""
    exits = {one.process: one.at for one in history.exits}
    for one in history.started:
        index.checks["processes of tasks"] += 1
        attempt = index.attempt_of(one.mark)
        if attempt is None or attempt.end is None:
            continue
        due = attempt.end.at + LEFT_SECONDS
        faults = index.harm_to(one.worker, attempt.started.at, one.last_seen_at)
        due = max((due, *(fault.ended_at + history.renew_seconds + LEFT_SECONDS for fault in faults)))
        # What the first process of a container leaves behind ends with the container.
        if one.last_seen_at > due and exits.get(one.worker, float("inf")) > due:
            order = index.order(attempt.job_id)
            yield (
                f"{order.kind if order else ''}: {name(attempt)} left the process {one.pid} ({one.command}) behind: "
                f"it was alive {one.last_seen_at - attempt.end.at:.1f} s after the attempt's end."
            )


def _jobs(history: History, index: Index) -> Iterator[tuple[Job, Order, Kind]]:
    for job in history.jobs:
        order = index.order(job.job_id)
        if order is not None and order.is_hostile:
            yield job, order, KINDS[order.kind]


def _state(job: Job, kind: Kind, attempts: Sequence[Attempt], index: Index) -> Iterator[str]:
    index.checks["ends of hostile jobs"] += 1
    code = job.error.get("code") if isinstance(job.error, dict) and job.state in ("failed", "dead") else None
    allowed = set().union(*(_endings(end.strip()) for end in kind.ends.split("|")))
    for attempt in attempts:
        if attempt.end is not None and attempt.ending not in allowed and not index.is_excused(attempt):
            yield f"{name(attempt)} on {attempt.worker} ended {attempt.ending}: {str(attempt.error)[:300]}."
    if job.state not in TERMINAL or kind.may_end(job.state, code):
        return  # I1 tells of those that did not end
    if job.state == "dead" and code in PLATFORM_CODES and attempts and index.is_excused(attempts[-1]):
        return
    yield f"Job {job.job_id} became {job.state}{f'/{code}' if code else ''}, and not {kind.ends}."


def _endings(end: str) -> set[str]:
    return ENDINGS["failed"] if end.startswith("failed/") else ENDINGS[end]


def _evidence(order: Order, kind: Kind, attempts: Sequence[Attempt], index: Index) -> Iterator[str]:
    if not kind.evidence:
        return
    for attempt in attempts:
        if attempt.ending == "crashed" and attempt.end is not None and not index.is_excused(attempt):
            index.checks["evidence"] += 1
            evidence = attempt.end.data.get("evidence") or {}
            if not _is_named(evidence, kind, order.variant):
                yield f"{name(attempt)} crashed, and the evidence does not name how: {evidence}."


def _is_named(evidence: dict[str, Any], kind: Kind, variant: int) -> bool:
    if kind.evidence == "exit_code":
        return evidence.get("exit_code") == variant % 256
    text = str(evidence.get("signal", ""))
    if kind.evidence == "any":
        return bool(text) or "exit_code" in evidence
    number = fatal_signal(variant)
    if number < signal.SIGRTMIN:
        return text == signal.Signals(number).name
    # Real-time signals have no names of their own but the first and the last.
    return any(
        part in text for part in (str(number), f"RTMIN+{number - signal.SIGRTMIN}", f"RTMAX-{signal.SIGRTMAX - number}")
    ) or (number in (signal.SIGRTMIN, signal.SIGRTMAX) and text == signal.Signals(number).name)


def _reports(attempt: Attempt, payload: Payload, kind: Kind, index: Index) -> Iterator[str]:
    for event in [*attempt.reports, *([attempt.end] if attempt.end is not None else [])]:
        yield from check_stamps(event.data, [payload], f"{name(attempt)}, event {event.seq}")
    own = [event for event in attempt.reported("log") if _is_line(event, payload)]
    if kind.is_exact and not _lost_lines_in_an_outage(attempt, index):
        extra = [event for event in attempt.reported("log") if event not in own]
        yield from check_lines(attempt, payload, index, extra=extra)
    else:
        numbers = [int(event.data["message"].rpartition(" ")[2]) for event in own]
        if numbers != sorted(set(numbers)):
            yield f"{name(attempt)} has its log lines in this order: {numbers[:50]}."
    if ended_by_itself(attempt):
        yield from check_traceback(attempt, payload.stamp if kind.traceback else "")


def _is_line(event: Event, payload: Payload) -> bool:
    message = str(event.data.get("message", "")) if isinstance(event.data, dict) else ""
    start = f"{payload.stamp} line "
    return message.startswith(start) and message[len(start) :].isdecimal() and not has_traceback(event)


def _lost_lines_in_an_outage(attempt: Attempt, index: Index) -> bool:
    """Past a limit lines are dropped while the database is away, and counted."""
    execution, end = attempt.execution, attempt.end
    if execution is None or end is None or execution.lines < 1000:
        return False
    return bool(index.faults_on("postgres", attempt.started.at, end.at) or index.is_excused(attempt))


def _captured(attempt: Attempt, payload: Payload) -> Iterator[str]:
    """What it printed and logged stands in its log."""
    messages = [str(event.data.get("message")) for event in attempt.reported("log")]
    for number in range(OUTPUTS):
        count = sum(payload.output(number) in message for message in messages)
        if count != 1:
            yield f"{name(attempt)} wrote output {number} once, and its log has it {count} times."
