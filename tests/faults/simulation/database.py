"""PostgreSQL: the rows, each statement of the ledger as `longhaul.machine` has it, and the controller's lock.

Each method below is one statement: it happens at one moment, by the database's own clock, or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tests.faults.simulation import times
from tests.faults.simulation.checker import Checker
from tests.faults.simulation.kernel import Kernel
from tests.faults.simulation.network import Line, Network, Server

from longhaul import machine
from longhaul.machine import Change, Job, Terms
from longhaul.states import State, Transition


class Lease(NamedTuple):
    """Who holds a job: enough to renew, to write under, and to end it."""

    job: int
    epoch: int


class End(NamedTuple):
    """How an attempt ended, as a keeper commits it."""

    lease: Lease
    transition: Transition
    result: Any = None
    checkpoint: int | None = None


class Database(Server):
    """Source: services/core/src/longhaul/ledger/{jobs,leases}.py."""

    queue = "work"
    tasks = ("task",)

    def __init__(self, kernel: Kernel, network: Network, checker: Checker) -> None:
        super().__init__(kernel, network, "database")
        self.rows: dict[int, Job] = {}
        self.clock_offset = 0.0
        """A standby that takes over has a clock of its own."""
        self._keys: dict[int, int] = {}
        self._leader: Line | None = None
        self._check = checker

    @property
    def now(self) -> float:
        return self.kernel.now + self.clock_offset

    def read_clock(self) -> float:
        if self.kernel.random.random() < 0.3:
            self._check.strike()
        return self.now

    def submit(self, key: int, id: int, terms: Terms) -> int:
        """One job per idempotency key: the new one, or the one that the key made before."""
        if key not in self._keys:
            self._keys[key] = id
            self.write(None, machine.submit(id, terms, now=self.now), None)
        return self._keys[key]

    def cancel(self, id: int) -> bool:
        job = self.rows.get(id)
        return job is not None and self.write(job, machine.cancel(job), None)

    def claim(self, owner: str, slots: int) -> list[Job]:
        claimed = []
        for _ in range(slots):
            job = self.choose(owner)
            change = job and machine.claim(job, owner=owner, now=self.now, lease_seconds=times.LEASE)
            if job is None or change is None:
                break
            self.write(job, change, change.job.epoch)
            claimed.append(change.job)
        return claimed

    def choose(self, owner: str) -> Job | None:
        return machine.choose(self.rows.values(), owner=owner, queue=self.queue, tasks=self.tasks, now=self.now)

    def renew(self, owner: str, leases: Sequence[Lease]) -> dict[int, bool]:
        """The jobs still held, each with whether someone cancelled it."""
        held = {}
        for lease in leases:
            job = self.rows[lease.job]
            change = machine.renew(job, lease.epoch, owner=owner, now=self.now, lease_seconds=times.LEASE)
            if self.write(job, change, lease.epoch):
                held[lease.job] = job.cancel_requested
        return held

    def record(self, lease: Lease, notes: Sequence[str], progress: float | None, checkpoint: int | None) -> bool:
        job = self.rows[lease.job]
        change = machine.record(job, lease.epoch, notes, progress=progress, checkpoint=checkpoint)
        return self.write(job, change, lease.epoch)

    def end(self, ends: Sequence[End]) -> list[bool]:
        """Which of them were accepted."""
        accepted = []
        for one in ends:
            job = self.rows[one.lease.job]
            accepted.append(self.write(job, self.apply_end(job, one), one.lease.epoch))
        return accepted

    def apply_end(self, job: Job, one: End) -> Change | None:
        return machine.end(
            job, one.lease.epoch, one.transition, now=self.now, result=one.result, checkpoint=one.checkpoint
        )

    def reap(self, as_of: float) -> int:
        """End what had expired. Returns how many jobs wait again."""
        rings = 0
        for job in self.rows.values():
            if job.lease_expires_at is None:
                continue
            change = machine.reap(job, as_of=as_of, now=self.now)
            if change is not None:
                self._check.reaped(job, change)
                self.write(job, change, job.epoch)
                rings += change.job.state is State.QUEUED
        return rings

    def count_due(self) -> int:
        now = self.now
        return sum(machine.is_due(job, now=now) for job in self.rows.values())

    def write(self, before: Job | None, change: Change | None, epoch: int | None) -> bool:
        """Commit what a statement wrote under an epoch (None: a client's); whether there was anything."""
        if change is None:
            return False
        self._check.wrote(before, change, epoch)
        self.rows[change.job.id] = change.job
        return True

    def try_lock(self, line: Line) -> bool:
        """`pg_try_advisory_lock`: the lock goes with its session."""
        if self._leader is None or not self._leader.is_known:
            self._leader = line
        return self._leader is line

    def look(self) -> None:
        """`SELECT`: the session is there."""
