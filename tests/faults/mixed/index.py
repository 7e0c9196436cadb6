"""A history by job, by attempt and by worker, as those who judge it look at it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.faults.mixed.history import Event, Execution, Fault, History
from tests.faults.mixed.payload import Payload, mark
from tests.faults.mixed.work import Order

TERMINAL = frozenset({"succeeded", "failed", "dead", "cancelled"})
NOISE_SECONDS = 2.0
"""What a machine of two cores, on which processes start all the time, may add to a client's own clock."""
HARMLESS = frozenset({"worker.freeze_3s", "worker.cut_redis", "worker.slow"})
"""Faults on a worker that must not cost it a job."""


@dataclass(slots=True)
class Attempt:
    """From its `started` to the event of its end, with what it reported in between."""

    job_id: str
    epoch: int
    started: Event
    reports: list[Event]
    end: Event | None = None
    execution: Execution | None = None

    @property
    def worker(self) -> str:
        return self.started.worker or ""

    @property
    def ending(self) -> str | None:
        return self.end.ending if self.end is not None else None

    @property
    def error(self) -> dict[str, Any]:
        """With which it ended; empty where there is none."""
        error = self.end.data.get("error") if self.end is not None and isinstance(self.end.data, dict) else None
        return error if isinstance(error, dict) else {}

    def reported(self, type: str) -> list[Event]:
        return [event for event in self.reports if event.type == type]


class Index:
    """Made once for all that look."""

    def __init__(self, history: History) -> None:
        self.checks: Counter[str] = Counter()
        """How much was looked at, by what for."""
        self.jobs = {job.job_id: job for job in history.jobs}
        self.orders = {order.key: order for order in history.orders}
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
        self.attempts = {job_id: self._attempts(job_id) for job_id in list(self.events)}
        self._hostile = self._hostile_attempts()

    def order(self, job_id: str) -> Order | None:
        """What the client asked for."""
        job = self.jobs.get(job_id)
        return self.orders.get(job.key) if job is not None else None

    def payload(self, order: Order, attempt: Attempt) -> Payload:
        return Payload(order.token, attempt.job_id, attempt.epoch)

    def is_hostile(self, job_id: str) -> bool:
        order = self.order(job_id)
        return order is not None and order.is_hostile

    def started(self, job_id: str, epoch: int) -> Event | None:
        found = (one.started for one in self.attempts.get(job_id, []) if one.epoch == epoch)
        return next(found, None)

    def faults_on(self, target: str, since: float, until: float) -> list[Fault]:
        """Those that held, or left their mark, between two times."""
        near = NOISE_SECONDS / 2
        return [one for one in self.faults[target] if one.began_at <= until and one.ended_at >= since - near]

    def harm_to(self, worker: str, since: float, until: float) -> list[Fault]:
        """Faults that may have cost a worker its attempts between two times."""
        return [one for one in self.faults_on(worker, since, until) if one.kind not in HARMLESS]

    def is_excused(self, attempt: Attempt) -> bool:
        """A fault may have ended it: one of its worker's, or the claim was committed and its answer lost, so that no
        process ever knew of it."""
        until = attempt.end.at if attempt.end is not None else float("inf")
        if self.harm_to(attempt.worker, attempt.started.at, until):
            return True
        claim_lost = self.faults_on("postgres", attempt.started.at, attempt.started.at + NOISE_SECONDS)
        return attempt.execution is None and bool(claim_lost)

    def attempt_of(self, name: str) -> Attempt | None:
        """The attempt that a process is named after."""
        return self._marks.get(name)

    def hostile_beside(self, attempt: Attempt) -> list[str]:
        """The kinds of hostile jobs that ran on the attempt's worker while it did, or not long before."""
        attempts = self._hostile[attempt.worker]
        until = attempt.end.at if attempt.end is not None else float("inf")
        # Sorted by begin; none runs longer than its limit of a minute, and what it left may strike a little later.
        first = bisect_left(attempts, attempt.started.at - 60.0, key=lambda one: one.started.at)
        return sorted(
            {
                order.kind
                for one in attempts[first:]
                if one.started.at <= until and (order := self.order(one.job_id)) is not None
            }
        )

    def _attempts(self, job_id: str) -> list[Attempt]:
        attempts: dict[int, Attempt] = {}
        for event in self.events[job_id]:
            attempt = attempts.get(event.epoch)
            if event.type == "started":
                attempts.setdefault(event.epoch, Attempt(job_id, event.epoch, event, []))
            elif attempt is not None and event.type in ("progress", "log", "checkpoint"):
                attempt.reports.append(event)
            elif attempt is not None and event.ending is not None:
                attempt.end = event
        for execution in self.executions[job_id]:
            if execution.epoch in attempts:
                attempts[execution.epoch].execution = execution
        return list(attempts.values())

    def _hostile_attempts(self) -> dict[str, list[Attempt]]:
        found: dict[str, list[Attempt]] = defaultdict(list)
        self._marks: dict[str, Attempt] = {}
        for one in self.every_attempt():
            if self.is_hostile(one.job_id):
                found[one.worker].append(one)
                self._marks[mark(one.job_id, one.epoch)] = one
        for attempts in found.values():
            attempts.sort(key=lambda one: one.started.at)
        return found

    def every_attempt(self) -> Iterator[Attempt]:
        for attempts in self.attempts.values():
            yield from attempts
