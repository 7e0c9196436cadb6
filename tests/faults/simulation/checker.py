"""What must hold, checked at each write of the ledger and at the end. Knows the promise, not the code that keeps it.

I1 every accepted job ends; I2 one committed result a job at most; I3 no write from an older epoch; I4 a lost job is
taken up again within a lease and two seconds once database and broker are up; I6 nobody healthy is interrupted; I7 what is
booked to an attempt was said by it; I8 nothing stays running that no process runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

import orjson
from tests.faults.simulation import tasks, times
from tests.faults.simulation.attempts import AttemptLog
from tests.faults.simulation.kernel import Kernel, Process
from tests.reference_model import Change, Job, is_suspect

from longhaul.ledger.leases import AttemptEnd, Lease, Record, Written
from longhaul.results import StoredResult
from longhaul.states import TERMINAL, TRANSITIONS, State


class Checker:
    """Sees every write, and what the world outside was told."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.accepted: dict[int, UUID] = {}
        """The job that each idempotency key was answered with."""
        self.states: dict[UUID, State] = {}
        self.calm_since = 0.0
        """Since then database, broker, network and a leader are there (see `calm`)."""
        self.troubles = 0
        """Faults of them that go on now."""
        self.is_full = False
        """No slot that is well is free, or no controller runs, so nothing can be taken up again."""
        self.recoveries: list[float] = []
        """Seconds from a loss (or from calm, if that came later) to the next attempt or the end."""
        self.healthy_seconds: Callable[[Job], float] = lambda _: 0.0
        """For how long a worker was well, and knew that it runs this job under this epoch; 0: it is not, or does not."""
        self.leader_up_seconds: Callable[[Process], float] = lambda _: 0.0
        """For how long a controller has seen the ledger up."""
        self.waiting: list[Callable[[], None]] = []
        """Of faults (see `strike`)."""
        self.last_owner: UUID | None = None
        """Who wrote last."""
        self.database_now: Callable[[], float] = lambda: 0.0
        """The clock by which jobs are due."""
        self.params: Mapping[UUID, tasks.Params] = {}
        self.stored: Callable[[str], bytes | None] = lambda _: None
        """What the result store holds under a key."""
        self.attempts: dict[Lease, AttemptLog] = {}
        self.reports: Counter[Lease] = Counter()
        """Notes that are committed."""
        self.events = 0
        self.endings: Counter[State] = Counter()
        self._epochs: dict[UUID, int] = {}
        self._results: Counter[UUID] = Counter()
        self._numbers: dict[UUID, int] = {}
        self._history: dict[tuple[UUID, int], tuple[int, str, Any]] = {}
        self._lost: dict[UUID, tuple[int, float]] = {}
        self._checkpointed: dict[UUID, tuple[int | None, int]] = {}
        """Under which epoch each job saved its last checkpoint, and at which step."""
        self._delays: dict[UUID, float] = {}
        self._unowned_since: dict[Lease, float] = {}
        self._ousted_since: dict[Lease, float] = {}

    def trouble(self) -> None:
        """Something that all depend on is gone."""
        self.troubles += 1

    def relief(self) -> None:
        self.troubles -= 1
        self.calm()

    def calm(self) -> None:
        """From now on the promised time counts, unless something is still gone."""
        self.calm_since = self.kernel.now

    def led(self, process: Process) -> None:
        """Someone leads anew. While nobody leads no promise of time holds; a replica that saw the ledger up all the time
        loses none of it."""
        up_seconds = self.leader_up_seconds(process)
        self.calm_since = max(self.calm_since, self.kernel.now - min(up_seconds, times.LEASE))

    def strike(self) -> None:
        """A statement is done, and its answer on its way: now is the time for the faults that wait."""
        while self.waiting:
            self.waiting.pop()()

    def answered(self, key: int, job: UUID) -> None:
        """A client was told that its job is accepted."""
        if self.accepted.setdefault(key, job) != job:
            self.kernel.fail(f"I1: the key {key} was answered with job {self.accepted[key]}, and then with {job}")

    # What is written.

    def wrote(self, before: Job | None, change: Change, epoch: int | None) -> None:
        """A statement is committed that was made under `epoch`, or by a client."""
        after = change.job
        if self.kernel.story is not None:
            self.kernel.tell(f"ledger: {_describe(change, epoch)}")
        number = self._numbers.get(after.id, 0)
        if after.event_seq != number + len(change.events):
            self.kernel.fail(f"the events of job {after.id} have a gap: {number} and {change.events} make {after}")
        self._numbers[after.id] = after.event_seq
        self.events += len(change.events)
        if (after.state is State.RUNNING) != (after.owner is not None and after.lease_expires_at is not None):
            self.kernel.fail(f"running without an owner and a lease, or the other way round: {after}")
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
            self.kernel.fail(f"from {known} to {after.state}: {before}, {after}")
        if claimed:
            if self.is_full:
                self.calm()  # the slot that takes it was not free before
            if known is not State.QUEUED or after.epoch != self._epochs[after.id] + 1:
                self.kernel.fail(f"claimed while another owner has it, or with an epoch of before: {before}, {after}")
            self._epochs[after.id] = after.epoch
            log = self.log_of(Lease(job_id=after.id, epoch=after.epoch))
            log.claimed_at, log.owner = self.kernel.now, after.owner
        if epoch is not None and epoch != self._epochs[after.id]:
            self.kernel.fail(f"I3: a write of epoch {epoch} was applied: {before}, {after}")
        if known in TERMINAL:
            self.kernel.fail(f"written after its end: {before}, {after}")
        if after.result is not None:
            self._check_result(after)
        if after.checkpoint != before.checkpoint:
            self._check_checkpoint(after, epoch)
        if after.state in TERMINAL:
            self.endings[after.state] += 1
        self._check_budget(after)

    def _check_result(self, after: Job) -> None:
        self._results[after.id] += 1
        text = after.result
        if isinstance(text, StoredResult):
            content = self.stored(text.key)
            text = content.decode() if content is not None and len(content) == text.size_bytes else None
        expected = tasks.result(self.params[after.id], after.id, after.epoch).model_dump_json()
        if self._results[after.id] > 1 or text != expected:
            self.kernel.fail(f"I2, I7: a second result, or someone else's: {after}, expected {expected}")

    def _check_checkpoint(self, after: Job, epoch: int | None) -> None:
        params, state = self.params[after.id], orjson.loads(after.checkpoint)
        step = state.get("step")
        if epoch is None or not isinstance(step, int) or state != tasks.state(params, epoch, step):
            self.kernel.fail(f"I7: a checkpoint of another attempt: {after}, by epoch {epoch}")
        by, last = self._checkpointed.get(after.id, (None, 0))
        # A late statement of the same owner may repeat an older one of its own; never one of another attempt.
        if step < last and by != epoch:
            self.kernel.fail(f"a checkpoint went back from step {last}: {after}")
        self._checkpointed[after.id] = epoch, step

    def _check_budget(self, job: Job) -> None:
        terms, is_dead = job.terms, job.state is State.DEAD
        if job.retries > terms.retries_max or job.interruptions > terms.max_interruptions + is_dead:
            self.kernel.fail(f"more was spent than the budget allows: {job}")
        if is_dead and job.retries < terms.retries_max and job.interruptions <= terms.max_interruptions:
            self.kernel.fail(f"dead, and its budget is not spent: {job}")

    # What attempts say (I7).

    def log_of(self, lease: Lease) -> AttemptLog:
        """What is known of an attempt from outside the code that is tested."""
        log = self.attempts.get(lease)
        if log is None:
            log = self.attempts[lease] = AttemptLog(lease)
        return log

    def recorded(self, one: Record, change: Change) -> None:
        """What a job said is being written."""
        log, params = self.log_of(one.lease), self.params[one.lease.job_id]
        self.reports[one.lease] += len(one.notes)
        for number, note in enumerate(one.notes, change.job.event_seq - len(one.notes) + 1):
            self._history[one.lease.job_id, number] = (one.lease.epoch, note.type, note.data)
            problem = log.check(note, params)
            if problem is not None:
                self.kernel.fail(f"I7: {problem}: {note} in event {number} of {one.lease}, after {log}")

    def ended(self, one: AttemptEnd, before: Job, change: Change) -> None:
        """An attempt's end is being written."""
        log, params = self.log_of(one.lease), self.params[one.lease.job_id]
        self._history[one.lease.job_id, change.job.event_seq] = (one.lease.epoch, change.events[0], None)
        problem = log.check_end(one, before, params, now=self.kernel.now)
        if problem is not None:
            self.kernel.fail(f"{problem}: {one}, after {log}")

    def announced(self, written: Iterable[Written]) -> None:
        """A keeper tells the streams what was committed."""
        for one in written:
            event = self._history.get((one.job_id, one.seq))
            if event is not None and event != (one.epoch, one.type, event[2] and one.data):
                self.kernel.fail(f"I7: the streams were told {one}, and event {one.seq} is {event}")

    # What is lost, and taken up again.

    def reaped(self, job: Job, change: Change) -> None:
        """The reaper takes a job from its owner."""
        healthy = self.healthy_seconds(job)
        if healthy > times.LEASE:
            self.kernel.fail(f"I6: taken from {job.owner}, who was well for {healthy:.1f} s: {job}, {change}")

    def lost(self, job: UUID, epoch: int) -> None:
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
            self.kernel.fail(f"I4: {seconds:.3f} s until job {after.id} was taken up again: {before}, {after}")

    def watch_running(self, jobs: Iterable[Job], runs: Callable[[Job], bool]) -> None:
        """I8, looked at again and again: `runs` says whether a process works at a job, or has its outcome."""
        now = self.kernel.now
        unowned: dict[Lease, float] = {}
        for job in jobs:
            if job.state is not State.RUNNING or runs(job):
                continue
            lease = Lease(job_id=job.id, epoch=job.epoch)
            since = unowned[lease] = self._unowned_since.get(lease, now)
            seconds = now - max(since, self.calm_since)
            if not self.troubles and not self.is_full and seconds > times.RECOVERY:
                self.kernel.fail(f"I8: nobody runs it for {seconds:.1f} s: {job}")
        self._unowned_since = unowned

    def watch_working(self, working: Iterable[Lease], rows: Mapping[UUID, Job]) -> None:
        """F6, looked at again and again: which attempts healthy processes work at."""
        now = self.kernel.now
        ousted: dict[Lease, float] = {}
        for lease in working:
            job = rows[lease.job_id]
            if job.epoch == lease.epoch and job.state is State.RUNNING:
                continue
            since = ousted[lease] = self._ousted_since.get(lease, now)
            seconds = now - max(since, self.calm_since)
            if not self.troubles and seconds > times.RENEW + 2.0:
                self.kernel.fail(f"a process works for {seconds:.1f} s at a job that is not its own any more: {lease}")
        self._ousted_since = ousted

    def saved(self, lease: Lease, row: Job, state: Mapping[str, Any]) -> None:
        """A task was told that its checkpoint is safe."""
        if row.epoch != lease.epoch or row.state is not State.RUNNING or "outage" in self.log_of(lease).causes:
            return
        if row.checkpoint is None or orjson.loads(row.checkpoint) != state:
            self.kernel.fail(f"I7: a checkpoint was called safe, and is not: {state}, {row}")

    def finish(self, rows: dict[UUID, Job], keys: int, demand: Mapping[str, int]) -> None:
        """At the end, when all has been well for long."""
        if len(self.accepted) != keys:
            self.kernel.fail(f"I1: {keys - len(self.accepted)} clients never got an answer")
        for key, id in self.accepted.items():
            job = rows.get(id)
            if job is None:
                self.kernel.fail(f"I1: job {id} of key {key} was accepted, and is lost")
            elif job.state not in TERMINAL:
                self.kernel.fail(f"I1: accepted, and never ended: {job}")
        if any(demand.values()):
            self.kernel.fail(f"the scaler still believes that something runs: {demand}")
        if len(set(self.accepted.values())) != keys or len(rows) != keys:
            self.kernel.fail(f"{keys} jobs were asked for, and there are {len(rows)}: {self.accepted}")


def _describe(change: Change, epoch: int | None) -> str:
    job = change.job
    what = ", ".join(change.events) or "lease renewed"
    who = "client" if epoch is None else f"epoch {epoch}"
    return f"job {job.id} is {job.state} (epoch {job.epoch}, event {job.event_seq}): {what} by {who}"
