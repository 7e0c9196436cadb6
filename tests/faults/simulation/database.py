"""PostgreSQL: the rows, each statement of the ledger as the reference model has it, and the controller's lock.

Each method below is one statement, or several that PostgreSQL takes as one transaction: it happens at one moment, by the
database's own clock, as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import psycopg
from psycopg import errors
from tests import reference_model
from tests.faults.simulation import tasks
from tests.faults.simulation.checker import Checker
from tests.faults.simulation.kernel import Kernel
from tests.faults.simulation.network import Line, Network, Server
from tests.reference_model import Change, Job, Terms

from longhaul.errors import LedgerRefuses, SchemaMismatch
from longhaul.ledger import leases
from longhaul.ledger.claims import Claim
from longhaul.ledger.leases import AttemptEnd, Lease, Record, Written
from longhaul.ledger.queues import Due
from longhaul.ledger.reaping import LostOwner
from longhaul.ledger.workers import Worker
from longhaul.states import Ending, State, decide

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Database(Server):
    """Source: services/core/src/longhaul/ledger/{jobs,claims,leases,workers,queues}.py."""

    def __init__(self, kernel: Kernel, network: Network, checker: Checker) -> None:
        super().__init__(kernel, network, "database")
        self.rows: dict[UUID, Job] = {}
        self.params: dict[UUID, tasks.Params] = {}
        self.workers: dict[UUID, tuple[Worker, datetime]] = {}
        self.clock_offset = 0.0
        """A standby that takes over has a clock of its own."""
        self.is_read_only = False
        self.refused: str | None = None
        """The table on which the grant to write is missing."""
        self.swallows = False
        """A trigger makes of each update of a job none."""
        self.is_migrated = False
        """To a schema that is not for this version."""
        self.has_poison = False
        self._keys: dict[int, UUID] = {}
        self._leader: Line | None = None
        self._check = checker

    @property
    def now(self) -> float:
        return self.kernel.now + self.clock_offset

    @property
    def serves(self) -> bool:
        """Whether it does all that it is asked for."""
        refuses = self.is_read_only or self.refused is not None or self.is_migrated
        return self.answers and not refuses and not self.swallows

    def at(self, seconds: float) -> datetime:
        return EPOCH + timedelta(seconds=seconds)

    # What clients ask for.

    def submit(self, key: int, id: UUID, terms: Terms, params: tasks.Params) -> UUID:
        """One job per idempotency key: the new one, or the one that the key made before."""
        if key not in self._keys:
            self._require("jobs", "job_events")
            self._keys[key] = id
            self.params[id] = params
            self.has_poison |= params.bad in tasks.UNSTORABLE
            self.write(None, reference_model.submit(id, terms, now=self.now), None)
        return self._keys[key]

    def cancel(self, id: UUID) -> bool:
        self._require("jobs", "job_events")
        job = self.rows.get(id)
        return job is not None and self.write(job, reference_model.cancel(job), None)

    # What keepers ask for.

    def check_schema(self) -> None:
        if self.is_migrated:
            raise SchemaMismatch

    def register(self, worker: Worker) -> None:
        self._require("workers")
        self.workers.setdefault(worker.id, (worker, self.at(self.now)))

    def beat(self, worker: Worker) -> None:
        self.register(worker)

    def leave(self, worker_id: UUID) -> None:
        self._require("workers")
        self.workers.pop(worker_id, None)

    def claim(self, worker: Worker, slots: Sequence[int], lease_seconds: float) -> list[Claim]:
        self._require("jobs", "job_events")
        claimed = []
        for _ in slots:
            job = self.choose(worker.id)
            change = job and reference_model.claim(job, owner=worker.id, now=self.now, lease_seconds=lease_seconds)
            if job is None or change is None:
                break
            if not self.write(job, change, change.job.epoch):
                break
            claimed.append(self._claim_of(change.job, waited_seconds=max(0.0, self.now - job.run_after)))
        return claimed

    def choose(self, owner: UUID) -> Job | None:
        return reference_model.choose(
            self.rows.values(), owner=owner, queue=tasks.QUEUE, tasks=(tasks.TASK_NAME,), now=self.now
        )

    def _claim_of(self, job: Job, *, waited_seconds: float) -> Claim:
        params = self.params[job.id]
        return Claim(
            job_id=job.id,
            epoch=job.epoch,
            tenant="default",
            task=job.terms.task,
            queue=job.terms.queue,
            params=params.model_dump(mode="json"),
            checkpoint=orjson.loads(job.checkpoint) if job.checkpoint is not None else None,
            budget=job.budget,
            timeout_seconds=params.timeout_seconds,
            soft_timeout_seconds=params.soft_timeout_seconds,
            interruptible=params.is_interruptible,
            trace_context=None,
            waited_seconds=waited_seconds,
            event_seq=job.event_seq,
            claimed_at=self.at(self.now),
        )

    def renew(self, held: Sequence[Lease], worker_id: UUID, lease_seconds: float) -> dict[UUID, bool]:
        """The jobs still held, each with whether someone cancelled it."""
        self._require("jobs")
        renewed = {}
        for lease in held:
            job = self.rows[lease.job_id]
            change = self.apply_renewal(job, lease, worker_id, lease_seconds)
            if self.write(job, change, lease.epoch):
                renewed[lease.job_id] = job.cancel_requested
        return renewed

    def find_lost(self, unwritten: Sequence[Lease], worker_id: UUID | None) -> set[Lease]:
        """Those under which nobody may write, or not this worker."""
        jobs = {lease: self.rows[lease.job_id] for lease in unwritten}
        return {
            lease
            for lease, job in jobs.items()
            if not reference_model.holds(job, lease.epoch) or worker_id not in (None, job.owner)
        }

    def apply_renewal(self, job: Job, lease: Lease, worker_id: UUID, lease_seconds: float) -> Change | None:
        return reference_model.renew(job, lease.epoch, owner=worker_id, now=self.now, lease_seconds=lease_seconds)

    def record(self, records: Sequence[Record]) -> list[list[Written] | None]:
        self._require("jobs", "job_events")
        if self.has_poison:
            for one in records:
                self._refuse_poison(one)
        return [self._record(one) for one in records]

    def _record(self, one: Record) -> list[Written] | None:
        job = self.rows[one.lease.job_id]
        change = self.apply_record(job, one)
        if change is None or self.swallows:
            return None
        self._check.recorded(one, change)
        self.write(job, change, one.lease.epoch)
        return [
            self._written(one.lease, change.job.event_seq - len(one.notes) + number, note.type, note.data)
            for number, note in enumerate(one.notes, 1)
        ]

    def apply_record(self, job: Job, one: Record) -> Change | None:
        types = [note.type for note in one.notes]
        return reference_model.record(job, one.lease.epoch, types, progress=one.progress, checkpoint=one.checkpoint)

    def count_reports(self, held: Sequence[Lease]) -> dict[Lease, int]:
        counts = {lease: self._check.reports[lease] for lease in held}
        return {lease: count for lease, count in counts.items() if count}

    def end(self, ends: Sequence[AttemptEnd]) -> list[Written | None]:
        self._require("jobs", "job_events")
        if self.has_poison:
            for one in ends:
                self._refuse_poison(one)
        return [self._end(one) for one in ends]

    def rehearse(self, one: Record | AttemptEnd) -> None:
        """Refuse what would be refused."""
        self._require("jobs", "job_events")
        self._refuse_poison(one)

    def _end(self, one: AttemptEnd) -> Written | None:
        job = self.rows[one.lease.job_id]
        change = self.apply_end(job, one)
        if change is None or self.swallows:
            return None
        self._check.ended(one, job, change)
        self.write(job, change, one.lease.epoch)
        return self._written(
            one.lease,
            change.job.event_seq,
            change.events[0],
            leases.end_data(one),
            queue=job.terms.queue,
            state=change.job.state,
        )

    def apply_end(self, job: Job, one: AttemptEnd) -> Change | None:
        return reference_model.end(
            job,
            one.lease.epoch,
            one.transition,
            now=self.now,
            result=one.result if one.stored is None else one.stored,
            checkpoint=one.checkpoint,
        )

    # What controllers ask for.

    def read_clock(self) -> datetime:
        if self.kernel.random.random() < 0.3:
            self._check.strike()
        return self.at(self.now)

    def look(self) -> None:
        """A small write, and the schema."""
        self._require("look")
        self.check_schema()

    def try_lead(self, line: Line) -> bool:
        """`pg_try_advisory_lock`: the lock goes with its session."""
        if self._leader is None or not self._leader.is_known:
            self._leader = line
            self._check.led(line.process)
        return self._leader is line

    def read_lost_owners(self, as_of: datetime) -> list[LostOwner]:
        owners = {job.owner for job in self._expired(as_of)}
        return [
            LostOwner(worker_id=id, worker=worker.name, registered_at=at)
            for id, (worker, at) in self.workers.items()
            if id in owners
        ]

    def touch_late_lease(self, as_of: datetime, late_seconds: float) -> bool:
        self._require("jobs")
        if self.swallows and self._expired(as_of + timedelta(seconds=late_seconds)):
            raise LedgerRefuses
        return bool(self._expired(as_of))

    def _expired(self, as_of: datetime) -> list[Job]:
        seconds = (as_of - EPOCH).total_seconds()
        return [job for job in self.rows.values() if reference_model.has_expired(job, now=seconds)]

    def reap(self, as_of: datetime) -> list[Written]:
        """End what had expired."""
        expired = self._expired(as_of)
        if expired:
            self._require("jobs", "job_events")
        return [written for job in expired if (written := self._reap(job, as_of)) is not None]

    def _reap(self, job: Job, as_of: datetime) -> Written | None:
        change = reference_model.reap(job, as_of=(as_of - EPOCH).total_seconds(), now=self.now)
        if change is None or self.swallows:
            return None
        lease = Lease(job_id=job.id, epoch=job.epoch)
        transition = decide(Ending.LEASE_LOST, job.budget, jitter=0.0)
        self._check.reaped(job, change)
        self.write(job, change, job.epoch)
        one = AttemptEnd(lease=lease, ending=Ending.LEASE_LOST, transition=transition)
        return self._written(
            lease,
            change.job.event_seq,
            change.events[0],
            leases.end_data(one),
            queue=job.terms.queue,
            state=change.job.state,
        )

    def read_due(self) -> dict[str, Due]:
        now = self.now
        due = [now - job.run_after for job in self.rows.values() if reference_model.is_due(job, now=now)]
        return {tasks.QUEUE: Due(len(due), max(due, default=0.0))}

    def read_running_by_pool(self) -> dict[str, list[str]]:
        running = [str(job.id) for job in self.rows.values() if job.state is State.RUNNING]
        return {"default": running} if running else {}

    # How statements end.

    def write(self, before: Job | None, change: Change | None, epoch: int | None) -> bool:
        """Commit what a statement wrote under an epoch (None: a client's); whether there was anything."""
        if change is None or (self.swallows and before is not None):
            return False
        self._check.wrote(before, change, epoch)
        self.rows[change.job.id] = change.job
        return True

    def _require(self, *tables: str) -> None:
        """Raise what PostgreSQL does if these can't be written."""
        if self.is_read_only:
            raise errors.ReadOnlySqlTransaction("cannot execute UPDATE in a read-only transaction")
        if self.refused in tables:
            raise errors.InsufficientPrivilege(f"permission denied for table {self.refused}")

    def _refuse_poison(self, one: Record | AttemptEnd) -> None:
        if tasks.POISON in repr(one):
            raise _refusals()[self.params[one.lease.job_id].token % 4]

    def _written(
        self, lease: Lease, seq: int, type: str, data: Any, *, queue: str | None = None, state: str | None = None
    ) -> Written:
        return Written(
            job_id=lease.job_id,
            seq=seq,
            type=type,
            epoch=lease.epoch,
            at=self.at(self.now),
            data=data,
            queue=queue,
            state=state,
        )


def _refusals() -> Sequence[Exception]:
    """What may become of a value that the ledger can't store: the driver refuses it, or the server."""
    return (
        psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"),
        errors.UntranslatableCharacter("unsupported Unicode escape sequence"),
        errors.NumericValueOutOfRange('"1e-60" is out of range for type real'),
        orjson.JSONEncodeError("Integer exceeds 64-bit range"),
    )
