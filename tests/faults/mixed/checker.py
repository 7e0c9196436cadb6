"""The checker: a history in, every broken promise out, each as a sentence. Pure; it knows nothing of the code it judges.

I1 every accepted job ends; I2 at most one attempt commits a result; I3 no write lands from an older epoch; I4 a job whose
process was killed runs again within a lease and 2 s; I5 the API answers, or says 503, within its deadline; I6 nothing
healthy is interrupted. `twice` is I2 seen from outside: what the processes really ran.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from tests.faults.mixed.history import Event, Execution, Fault, History, Request
from tests.faults.mixed.recovery import recoveries

TERMINAL = frozenset({"succeeded", "failed", "dead", "cancelled"})
INTERRUPTIONS = frozenset({"lease_lost", "crashed", "handed_over"})
RECOVERY_SLACK_SECONDS = 2.0
"""Beyond the lease: I4."""
NOISE_SECONDS = 2.0
"""What a machine of two cores, on which processes start all the time, may add to a client's own clock."""
HARMLESS = frozenset({"worker.freeze_3s", "worker.cut_redis", "worker.slow"})
"""Faults on a worker that must not cost it a job."""


@dataclass(frozen=True)
class Violation:
    invariant: str
    sentence: str


def check(history: History) -> list[Violation]:
    """Everything in this history that must not be."""
    index = Index(history)
    return [
        Violation(invariant, sentence)
        for invariant, look in (
            ("I1", _every_job_ends),
            ("I2", _one_commit),
            ("I3", _no_older_epoch),
            ("I4", _recovery),
            ("I5", _answers),
            ("I6", _no_needless_interruption),
            ("I6", _no_needless_failure),
            ("I6", _no_needless_exit),
            ("twice", _nothing_runs_twice),
        )
        for sentence in look(history, index)
    ]


class Index:
    """A history by job and by worker."""

    def __init__(self, history: History) -> None:
        self.jobs = {job.job_id: job for job in history.jobs}
        self.events: dict[str, list[Event]] = defaultdict(list)
        for event in history.events:
            self.events[event.job_id].append(event)
        for events in self.events.values():
            events.sort(key=lambda event: event.seq)
        self.executions: dict[str, list[Execution]] = defaultdict(list)
        for execution in sorted(history.executions, key=lambda one: one.began_at):
            self.executions[execution.job_id].append(execution)
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        for fault in history.faults:
            for target in fault.targets:
                self.faults[target].append(fault)

    def started(self, job_id: str, epoch: int) -> Event | None:
        found = (event for event in self.events[job_id] if event.type == "started" and event.epoch == epoch)
        return next(found, None)

    def faults_on(self, target: str, since: float, until: float) -> list[Fault]:
        """Those that held, or left their mark, between two times."""
        near = NOISE_SECONDS / 2
        return [one for one in self.faults[target] if one.began_at <= until and one.ended_at >= since - near]


def _every_job_ends(history: History, index: Index) -> Iterator[str]:
    ids: dict[str, str] = {}
    for accepted in history.accepted:
        job = index.jobs.get(accepted.job_id)
        if ids.setdefault(accepted.key, accepted.job_id) != accepted.job_id:
            yield f"The key {accepted.key} was answered with two jobs, {ids[accepted.key]} and {accepted.job_id}."
        if job is None:
            yield f"Job {accepted.job_id} was accepted, and the ledger does not have it."
        elif job.state not in TERMINAL:
            yield f"Job {accepted.job_id} was accepted, and is still {job.state}."
    for job in history.jobs:
        if ids.setdefault(job.key, job.job_id) != job.job_id:
            yield f"The key {job.key} has two jobs, {ids[job.key]} and {job.job_id}."


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


def _recovery(history: History, _index: Index) -> Iterator[str]:
    limit = history.lease_seconds + RECOVERY_SLACK_SECONDS
    for one in recoveries(history):
        if one.seconds_since_whole > limit:
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


def _no_needless_interruption(history: History, index: Index) -> Iterator[str]:
    for event in history.events:
        if event.ending not in INTERRUPTIONS:
            continue
        started = index.started(event.job_id, event.epoch)
        if started is None or started.worker is None:
            continue  # I3 says so
        faults = index.faults_on(started.worker, started.at, event.at)
        if any(fault.kind not in HARMLESS for fault in faults):
            continue
        began = any(one.epoch == event.epoch for one in index.executions[event.job_id])
        if not began and index.faults_on("postgres", started.at, started.at + NOISE_SECONDS):
            continue  # the claim was committed and its answer lost: no process ever knew of this attempt
        yield (
            f"Attempt {event.epoch} of job {event.job_id} on {started.worker} ended {event.ending} "
            f"after {event.at - started.at:.1f} s, and nothing had happened to that worker."
        )


def _no_needless_failure(history: History, _index: Index) -> Iterator[str]:
    for job in history.jobs:
        if job.state in (
            "failed",
            "dead",
        ):  # every task of the mixed run comes through, at the latest at its second try
            yield f"Job {job.job_id} ended {job.state} after {job.epoch} attempts, and nothing was wrong with it."


def _no_needless_exit(history: History, _index: Index) -> Iterator[str]:
    for one in history.exits:
        if not one.was_told:
            yield f"{one.process} ended by itself with {one.code} at {one.at:.1f}."


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
