"""The checker: a history in, every broken promise out, each as a sentence. Pure; it knows nothing of the code it judges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from tests.faults.mixed.history import Execution, History, Request
from tests.faults.mixed.hostile.verdict import (
    check_ghosts,
    check_hostile,
    check_hostile_provenance,
    check_left_behind,
)
from tests.faults.mixed.index import HARMLESS, NOISE_SECONDS, TERMINAL, Index
from tests.faults.mixed.occupancy import check_occupancy
from tests.faults.mixed.provenance import check_provenance
from tests.faults.mixed.recovery import recoveries

INTERRUPTIONS = frozenset({"lease_lost", "crashed", "handed_over"})
RECOVERY_SLACK_SECONDS = 2.0
"""Beyond the lease: I4."""
PROMISES = {
    "I1": "every accepted job ends",
    "I2": "at most one attempt commits a result",
    "I3": "no write lands from an older epoch",
    "I4": "a job whose process was killed runs again within a lease and 2 s",
    "I5": "the API answers, or says 503, within its deadline",
    "I6": "nothing healthy is interrupted, refused or ended",
    "I7": "what is booked to an attempt was computed by that attempt",
    "I8": "nothing stays running that no process runs",
    "neighbours": "no hostile job costs another job its attempt",
    "hostile": "each hostile job becomes what it must",
    "ghosts": "what outlives its attempt gets an error",
    "left behind": "no process of a task outlives its attempt",
    "slots": "every slot serves at the end",
    "twice": "what I2 says, seen from outside: what the processes really ran",
}
"""What is judged."""


@dataclass(frozen=True)
class Violation:
    promise: str
    """One of PROMISES."""
    sentence: str


@dataclass(frozen=True)
class Verdict:
    violations: list[Violation]
    checks: dict[str, int]
    """How much was looked at, by what it is."""


def check(history: History) -> Verdict:
    """Everything in this history that must not be."""
    index = Index(history)
    violations = [
        Violation(promise, sentence)
        for promise, look in (
            ("I1", _every_job_ends),
            ("I2", _one_commit),
            ("I3", _no_older_epoch),
            ("I4", _recovery),
            ("I5", _answers),
            ("I6", _no_needless_interruption),
            ("I6", _no_needless_failure),
            ("I6", _no_needless_exit),
            ("I7", check_provenance),
            ("I7", check_hostile_provenance),
            ("I8", check_occupancy),
            ("neighbours", _no_neighbour_interrupted),
            ("hostile", check_hostile),
            ("ghosts", check_ghosts),
            ("left behind", check_left_behind),
            ("slots", _every_slot_serves),
            ("twice", _nothing_runs_twice),
        )
        for sentence in look(history, index)
    ]
    return Verdict(violations, dict(index.checks))


def _every_job_ends(history: History, index: Index) -> Iterator[str]:
    ids: dict[str, str] = {}
    for accepted in history.accepted:
        job = index.jobs.get(accepted.job_id)
        if ids.setdefault(accepted.key, accepted.job_id) != accepted.job_id:
            yield f"The key {accepted.key} was answered with two jobs, {ids[accepted.key]} and {accepted.job_id}."
        if job is None:
            yield f"Job {accepted.job_id} was accepted, and the ledger does not have it."
        elif job.state not in TERMINAL:
            yield f"Job {accepted.job_id}{_kind(index, job.job_id)} was accepted, and is still {job.state}."
    for job in history.jobs:
        if ids.setdefault(job.key, job.job_id) != job.job_id:
            yield f"The key {job.key} has two jobs, {ids[job.key]} and {job.job_id}."


def _kind(index: Index, job_id: str) -> str:
    order = index.order(job_id)
    return f" ({order.kind})" if order is not None and order.kind else ""


def _one_commit(history: History, index: Index) -> Iterator[str]:
    for job in history.jobs:
        if job.commits > 1:
            yield f"{job.commits} attempts committed a result of job {job.job_id}."
        if (job.state == "succeeded") != (job.commits > 0):
            yield f"Job {job.job_id} is {job.state} with {job.commits} committed results."
        committed = [event.epoch for event in index.events[job.job_id] if event.type == "succeeded"]
        if job.result_epoch is not None and committed != [job.result_epoch]:
            yield f"Job {job.job_id} has the result of attempt {job.result_epoch}, and its history says {committed}."


def _no_older_epoch(_history: History, index: Index) -> Iterator[str]:
    for job_id, events in index.events.items():
        epoch, ended = 0, False
        for number, event in enumerate(events, 1):
            what = f"event {event.seq} ({event.type}, epoch {event.epoch}) of job {job_id}"
            if event.seq != number:
                yield f"{what} should have the number {number}."
                break
            if ended:
                yield f"{what} came after the job's end."
            if event.epoch < epoch:
                yield f"{what} was written by an older attempt than {epoch}."
            if event.type == "started" and event.epoch != epoch + 1:
                yield f"{what} should start attempt {epoch + 1}."
            if event.type != "started" and event.epoch > epoch:
                yield f"{what} is of an attempt that never started."
            epoch, ended = max(epoch, event.epoch), ended or event.type in TERMINAL


def _recovery(history: History, index: Index) -> Iterator[str]:
    limit = history.lease_seconds + RECOVERY_SLACK_SECONDS
    for one in recoveries(history):
        # Hostile jobs end their own processes: as suspects they wait for each other.
        if one.seconds_since_whole > limit and not index.is_hostile(one.job_id):
            yield (
                f"Job {one.job_id} ran again {one.seconds:.1f} s after {one.kind}, "
                f"{one.seconds_since_whole:.1f} s after database, broker and leader were whole: more than {limit:g} s."
            )


def _answers(history: History, index: Index) -> Iterator[str]:
    for request in history.requests:
        took = request.ended_at - request.sent_at
        what = f"A request to {request.server} at {request.sent_at:.1f}"
        if index.faults_on(request.server, request.sent_at, request.ended_at):
            continue  # the server itself was killed or frozen
        if request.status is None:
            yield f"{what} had no answer after {took:.1f} s."
        elif took > history.deadline_seconds + NOISE_SECONDS:
            yield f"{what} was answered ({request.status}) after {took:.1f} s."
        elif not _is_proper(request):
            yield f"{what} was answered with {request.status}{'' if request.status != 503 else ' without Retry-After'}."


def _is_proper(request: Request) -> bool:
    return request.status in (200, 202, 409) or (request.status == 503 and request.has_retry_after)


def _no_needless_interruption(_history: History, index: Index) -> Iterator[str]:
    yield from (sentence for sentence, neighbours in _interruptions(index) if not neighbours)


def _no_neighbour_interrupted(_history: History, index: Index) -> Iterator[str]:
    for sentence, neighbours in _interruptions(index):
        if neighbours:
            yield f"{sentence} Beside it ran {', '.join(neighbours)}."


def _interruptions(index: Index) -> Iterator[tuple[str, list[str]]]:
    """Attempts of honest jobs that were interrupted, and nothing that was broken on purpose explains it; with the kinds of
    the hostile jobs beside them."""
    for attempt in index.every_attempt():
        if attempt.end is None or attempt.ending not in INTERRUPTIONS or index.is_hostile(attempt.job_id):
            continue
        if attempt.started.worker is None or index.is_excused(attempt):
            continue
        sentence = (
            f"Attempt {attempt.epoch} of job {attempt.job_id} on {attempt.worker} ended {attempt.ending} "
            f"after {attempt.end.at - attempt.started.at:.1f} s, and nothing had happened to that worker."
        )
        yield sentence, index.hostile_beside(attempt)


def _no_needless_failure(history: History, index: Index) -> Iterator[str]:
    for job in history.jobs:
        # Every honest task of the mixed run comes through, at the latest at its second try.
        if job.state in ("failed", "dead") and not index.is_hostile(job.job_id):
            yield (
                f"Job {job.job_id} ended {job.state} after {job.epoch} attempts, and nothing was wrong with it: "
                f"{str(job.error)[:300]}"
            )


def _no_needless_exit(history: History, _index: Index) -> Iterator[str]:
    for one in history.exits:
        if not one.was_told:
            yield f"{one.process} ended by itself with {one.code} at {one.at:.1f}."


def _every_slot_serves(history: History, index: Index) -> Iterator[str]:
    """Jobs that meet hold their slots until all of them run: at the end as many run at once as there are slots."""
    meetings = {order.kind: order.variant for order in history.orders if order.task == "mixed.meeting"}
    for name, count in meetings.items():
        index.checks["slots"] += count
        keys = {order.key for order in history.orders if order.kind == name}
        ran = [one for one in history.executions if one.key in keys and one.ending == "completed"]
        first_end = min((one.seen_at for one in ran), default=0.0)
        met = len({one.job_id for one in ran if one.began_at <= first_end})
        if met != count:
            yield f"At the end {met} of {count} slots ran a job at the same time."


def _nothing_runs_twice(history: History, index: Index) -> Iterator[str]:
    for job_id, executions in index.executions.items():
        ended_at = next((event.at for event in index.events[job_id] if event.type in TERMINAL), float("inf"))
        for one in executions:
            if one.began_at > ended_at:
                yield f"Attempt {one.epoch} of job {job_id} began {one.began_at - ended_at:.2f} s after the job's end."
        for one, following in overlaps(executions):
            stopped_late = one.seen_at - _stop_due(history, index, one, following)
            if stopped_late > 0:
                yield (
                    f"Attempts {one.epoch} and {following.epoch} of job {job_id} ran at the same time, "
                    f"{stopped_late:.1f} s longer than a freeze explains."
                )


def overlaps(executions: list[Execution]) -> Iterator[tuple[Execution, Execution]]:
    """Pairs of one job's executions that ran at the same time; `executions` in the order of their begins."""
    for one, following in pairwise(executions):
        if following.began_at < one.seen_at:
            yield one, following


def _stop_due(history: History, index: Index, one: Execution, following: Execution) -> float:
    """When an execution had to be stopped that lost its lease: within a renewal after its worker could know it."""
    started = index.started(one.job_id, one.epoch)
    worker = started.worker if started is not None and started.worker is not None else ""
    held = [fault for fault in index.faults_on(worker, one.began_at, one.seen_at) if fault.kind not in HARMLESS]
    held += index.faults_on("postgres", following.began_at, one.seen_at) if held else []
    until = max((fault.ended_at for fault in held), default=following.began_at - NOISE_SECONDS - history.renew_seconds)
    return until + history.renew_seconds + NOISE_SECONDS
