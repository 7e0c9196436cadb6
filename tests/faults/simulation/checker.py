"""What must hold, checked at each write of the ledger and at the end. Knows the promise, not the code that keeps it.

I1 every accepted job ends; I2 one committed result a job at most; I3 no write from an older epoch; I4 a lost job is
taken up again within a lease and two seconds once database and broker are up; I6 nobody healthy is interrupted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tests.faults.simulation import times
from tests.faults.simulation.kernel import Kernel, Signal

from longhaul.machine import Change, Job, is_suspect
from longhaul.states import TERMINAL, TRANSITIONS, State


class Violation(Exception):
    """The promise is broken. Says which part of it, and how."""


class Checker:
    """Sees every write, and what the world outside was told."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.accepted: dict[int, int] = {}
        """The job that each idempotency key was answered with."""
        self.states: dict[int, State] = {}
        self.calm_since = 0.0
        """Since then database, broker, network and a leader are there (see `calm`)."""
        self.troubles = 0
        """Faults of them that go on now."""
        self.is_full = False
        """No slot that is well is free, so nothing can be taken up again."""
        self.recoveries: list[float] = []
        """Seconds from a loss (or from calm, where that came later) to the next attempt or the end."""
        self.healthy_seconds: Callable[[str, int, int], float] = lambda *_: 0.0
        """For how long a worker was well, and knew that it runs this job under this epoch; 0: it is not, or does not."""
        self.waiting: list[Signal] = []
        """Of faults (see `strike`)."""
        self.last_owner: str | None = None
        """Who wrote last."""
        self.database_now: Callable[[], float] = lambda: 0.0
        """The clock by which jobs are due."""
        self.events = 0
        self.endings: Counter[State] = Counter()
        self._epochs: dict[int, int] = {}
        self._results: Counter[int] = Counter()
        self._numbers: dict[int, int] = {}
        self._lost: dict[int, tuple[int, float]] = {}
        self._checkpointed: dict[int, int | None] = {}
        """Under which epoch each job saved its last checkpoint."""
        self._delays: dict[int, float] = {}

    def trouble(self) -> None:
        """Something that all depend on is gone."""
        self.troubles += 1

    def relief(self) -> None:
        self.troubles -= 1
        self.calm()

    def calm(self) -> None:
        """From now on the promised time counts, unless something is still gone."""
        self.calm_since = self.kernel.now

    def led(self, up_seconds: float) -> None:
        """Someone leads anew, who has seen the ledger up for so long. While nobody leads no promise of time holds; one
        that was a standby all the time loses none of it."""
        self.calm_since = max(self.calm_since, self.kernel.now - min(up_seconds, times.LEASE))

    def strike(self) -> None:
        """A statement is done, and its answer on its way: now is the time for the faults that wait."""
        while self.waiting:
            self.waiting.pop().set()

    def answered(self, key: int, job: int) -> None:
        """A client was told that its job is accepted."""
        if self.accepted.setdefault(key, job) != job:
            raise Violation(f"I1: the key {key} was answered with job {self.accepted[key]}, and then with {job}")

    def wrote(self, before: Job | None, change: Change, epoch: int | None) -> None:
        """A statement is committed that was made under `epoch`, or by a client."""
        after = change.job
        self.kernel.tell(f"ledger: {_describe(change, epoch)}") if self.kernel.story is not None else None
        number = self._numbers.get(after.id, 0)
        if after.event_seq != number + len(change.events):
            raise Violation(f"the events of job {after.id} have a gap: {number} and {change.events} make {after}")
        self._numbers[after.id] = after.event_seq
        self.events += len(change.events)
        if (after.state is State.RUNNING) != (after.owner is not None and after.lease_expires_at is not None):
            raise Violation(f"running without an owner and a lease, or the other way round: {after}")
        if before is None:
            self.states[after.id], self._epochs[after.id] = after.state, after.epoch
            return
        self._check_step(before, after, epoch)
        self._note_recovery(before, after, epoch)
        self.states[after.id] = after.state
        self.last_owner = after.owner or before.owner
        self.strike()

    def _check_step(self, before: Job, after: Job, epoch: int | None) -> None:
        known, claimed = self.states[after.id], after.epoch != before.epoch
        if after.state is not known and after.state not in TRANSITIONS[known]:
            raise Violation(f"from {known} to {after.state}: {before}, {after}")
        if claimed:
            if self.is_full:
                self.calm()  # the slot that takes it was not free before
            if known is not State.QUEUED or after.epoch != self._epochs[after.id] + 1:
                raise Violation(f"claimed while another owner has it, or with an epoch of before: {before}, {after}")
            self._epochs[after.id] = after.epoch
        if epoch is not None and epoch != self._epochs[after.id]:
            raise Violation(f"I3: a write of epoch {epoch} was applied: {before}, {after}")
        if known in TERMINAL:
            raise Violation(f"written after its end: {before}, {after}")
        if after.result is not None:
            self._results[after.id] += 1
            if self._results[after.id] > 1 or after.result != (after.id, after.epoch):
                raise Violation(f"I2: a second result, or someone else's: {after}")
        if after.checkpoint != before.checkpoint:
            # A late statement of the same owner may repeat an older one of its own; never one of another attempt.
            if after.checkpoint < (before.checkpoint or 0) and self._checkpointed.get(after.id) != epoch:
                raise Violation(f"a checkpoint went back: {before}, {after}")
            self._checkpointed[after.id] = epoch
        if after.state in TERMINAL:
            self.endings[after.state] += 1
        self._check_budget(after)

    def _check_budget(self, job: Job) -> None:
        terms, is_dead = job.terms, job.state is State.DEAD
        if job.retries > terms.retries_max or job.interruptions > terms.max_interruptions + is_dead:
            raise Violation(f"more was spent than the budget allows: {job}")
        if is_dead and job.retries < terms.retries_max and job.interruptions <= terms.max_interruptions:
            raise Violation(f"dead, and its budget is not spent: {job}")

    def reaped(self, job: Job, change: Change) -> None:
        """The reaper takes a job from its owner."""
        healthy = self.healthy_seconds(job.owner, job.id, job.epoch)
        if healthy > times.LEASE:
            raise Violation(f"I6: taken from {job.owner}, who was well for {healthy:.1f} s: {job}, {change}")

    def lost(self, job: int, epoch: int) -> None:
        """The owner of this attempt died, was frozen or cut off."""
        if self._epochs.get(job) == epoch:
            self._lost.setdefault(job, (epoch, self.kernel.now))

    def _note_recovery(self, before: Job, after: Job, epoch: int | None) -> None:
        lost = self._lost.get(after.id)
        if lost is None or epoch is None:
            return
        was_reaped = before.state is State.RUNNING and after.state is State.QUEUED
        if was_reaped:
            self._delays[after.id] = max(0.0, after.run_after - self.database_now())
            return
        del self._lost[after.id]
        if after.epoch == lost[0] and after.state is State.RUNNING:
            return  # its owner is back before anyone missed it
        seconds = self.kernel.now - max(lost[1], self.calm_since) - self._delays.pop(after.id, 0.0)
        if self.troubles or seconds < 0 or is_suspect(before):
            return  # a suspect waits for a worker that runs no other one
        self.recoveries.append(seconds)
        if seconds > times.RECOVERY:
            raise Violation(f"I4: {seconds:.3f} s until job {after.id} was taken up again: {before}, {after}")

    def finish(self, rows: dict[int, Job], keys: int) -> None:
        """At the end, when all has been well for long."""
        if len(self.accepted) != keys:
            raise Violation(f"I1: {keys - len(self.accepted)} clients never got an answer")
        for key, id in self.accepted.items():
            job = rows.get(id)
            if job is None:
                raise Violation(f"I1: job {id} of key {key} was accepted, and is lost")
            if job.state not in TERMINAL:
                raise Violation(f"I1: accepted, and never ended: {job}")
        if len(set(self.accepted.values())) != keys or len(rows) != keys:
            raise Violation(f"{keys} jobs were asked for, and there are {len(rows)}: {self.accepted}")


def _describe(change: Change, epoch: int | None) -> str:
    job = change.job
    what = ", ".join(change.events) or "lease renewed"
    who = "client" if epoch is None else f"epoch {epoch}"
    return f"job {job.id} is {job.state} (epoch {job.epoch}, event {job.event_seq}): {what} by {who}"
