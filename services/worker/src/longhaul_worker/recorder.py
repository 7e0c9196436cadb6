"""The keeper's one connection to the ledger. One loop writes everything: renewals first, then what jobs said, their
ends, and claims; whatever came while the last round trip ran goes into the next as a batch.

Whatever the database says, the keeper stays and its jobs run on. A value that it refuses ends the attempt that brought it,
as `unstorable`. A lease is lost only if the ledger shows that its job is another's, or over. Anything else means that the
ledger is away: nothing is claimed, and everything else waits, in memory and (outcomes) on disk.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import structlog

from longhaul.errors import LedgerRefuses, SchemaMismatch
from longhaul.ledger.claims import Claim
from longhaul.ledger.connection import first_line
from longhaul.ledger.leases import SWALLOWED, AttemptEnd, Lease, Record, Written
from longhaul.ledger.workers import Worker
from longhaul.states import Ending, decide
from longhaul.task import TaskSpec
from longhaul_worker import metrics, stand_ins
from longhaul_worker.attempt import Attempt
from longhaul_worker.halving import write_each
from longhaul_worker.ledger import Connect, WorkerLedger
from longhaul_worker.outcome_spool import OutcomeSpool
from longhaul_worker.settings import WorkerSettings

_log = structlog.get_logger(__name__)

ROUND_TIMEOUT_SECONDS = 8.0
"""A round that takes longer means a database that hangs: more than its statement timeout, less than a lease."""


@dataclass(frozen=True)
class Grant:
    """A job that was claimed."""

    claim: Claim
    start_by: float
    """By the loop's clock, CLOCK_MONOTONIC: later its lease may have run out, and its job be another worker's."""


class Recorder:
    """All methods belong to the keeper's loop. `run` never returns by itself."""

    def __init__(
        self,
        settings: WorkerSettings,
        worker: Worker,
        specs: Sequence[TaskSpec],
        spool: OutcomeSpool,
        announce: Callable[[Iterable[Written]], None],
        connect: Connect,
    ) -> None:
        self.is_up = False
        """The ledger answered the last time."""
        self.is_registered = False
        self.refusal: str | None = None
        """Why the ledger is no use to this version, as a sentence."""
        self.is_draining = False
        self.occupancy_changed = asyncio.Event()
        """An attempt started or ended, or this pod must go. For one who waits, and clears it."""
        self._settings = settings
        self._worker = worker
        self._specs = specs
        self._spool = spool
        self._announce = announce
        self._connect = connect
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._renew_at = 0.0
        self._attempts: dict[UUID, Attempt] = {}
        self._ends: dict[Lease, AttemptEnd] = {end.lease: end for end in spool.load()}
        self._claims: dict[str, list[tuple[int, asyncio.Future[Grant | None]]]] = defaultdict(list)
        self._claiming = 0

    @property
    def is_idle(self) -> bool:
        """Nothing runs, and nothing is about to."""
        return not self.attempts and not self._claiming

    @property
    def attempts(self) -> list[Attempt]:
        """Attempts that run."""
        return [attempt for attempt in self._attempts.values() if not attempt.is_over]

    @property
    def is_settled(self) -> bool:
        """Nothing runs and nothing waits to be written."""
        return not self._attempts and not self._ends

    def wake(self) -> None:
        """Something new waits to be written."""
        self._wake.set()

    async def wait_until(self, condition: Callable[[], bool], deadline: float) -> None:
        """Until the condition holds of this recorder, or the loop's clock reads `deadline`."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()

    async def claim(self, queue: str, slot: int) -> Grant | None:
        """The best due job of a queue; None where there is none, the ledger is away or this pod must go."""
        if not self.is_up or self.is_draining:
            return None
        answer: asyncio.Future[Grant | None] = self._loop.create_future()
        self._claims[queue].append((slot, answer))
        self._claiming += 1
        self.wake()
        try:
            return await answer
        finally:
            self._claiming -= 1
            self._changed.set()

    def give_back(self, claim: Claim) -> None:
        """Hand over a job that was claimed for a process that is gone."""
        transition = decide(Ending.HANDED_OVER, claim.budget, jitter=0.0)
        lease = Lease(job_id=claim.job_id, epoch=claim.epoch)
        self.end(AttemptEnd(lease=lease, ending=Ending.HANDED_OVER, transition=transition))

    def watch(self, attempt: Attempt) -> None:
        """Renew this attempt's lease and write what it says, until its end is committed."""
        older = self._attempts.get(attempt.claim.job_id)
        if older is not None:
            self._lose(older)  # frozen between two statements: reaped meanwhile, and claimed anew here
        self._attempts[attempt.claim.job_id] = attempt
        self.occupancy_changed.set()

    def end(self, end: AttemptEnd) -> None:
        """Commit how an attempt ended, as soon as the ledger answers."""
        self._ends[end.lease] = end
        self._changed.set()
        self.occupancy_changed.set()
        if not self.is_up:
            self._spool.save(end)
        self.wake()

    async def run(self) -> None:
        """Connect, register, write; again after each outage."""
        while True:
            try:
                async with self._connect() as ledger:
                    await self._register(ledger)
                    self._set_up(True)
                    while True:
                        await self._wait()
                        async with asyncio.timeout(ROUND_TIMEOUT_SECONDS):
                            await self._write(ledger)
            except Exception as error:  # noqa: BLE001 - jobs run here, and end with this process
                was_up = self.is_up
                self._set_up(False)
                self._note_outage(error, was_up=was_up)
                await asyncio.sleep(self._settings.reconnect_seconds)

    def _note_outage(self, error: Exception, *, was_up: bool) -> None:
        metrics.LEDGER_FAILURES.labels(type(error).__name__).inc()
        was_refused, self.refusal = self.refusal, error.message if isinstance(error, SchemaMismatch) else None
        if was_up or not self.is_registered or self.refusal != was_refused:
            event = "schema_mismatch" if self.refusal else "ledger_away"
            _log.warning(event, kind=type(error).__name__, error=first_line(error))

    async def leave(self) -> None:
        """Take this worker's row away; if the database is gone, others see it fall silent."""
        with suppress(Exception):
            async with asyncio.timeout(ROUND_TIMEOUT_SECONDS), self._connect() as ledger:
                await ledger.leave(self._worker.id)

    async def _register(self, ledger: WorkerLedger) -> None:
        async with asyncio.timeout(ROUND_TIMEOUT_SECONDS):
            await ledger.check_schema()
            if not self.is_registered:
                await ledger.register(self._worker, self._specs)
                self.is_registered = True
        self._renew_at = 0.0

    async def _wait(self) -> None:
        """Until there is something to write: at the latest until the next renewal."""
        delay = self._renew_at - self._loop.time()
        for attempt in self._attempts.values():
            due = attempt.due_in_seconds()
            delay = delay if due is None else min(delay, due)
        if delay > 0 and not self._ends and not self._claims:
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._wake.wait()
        self._wake.clear()

    async def _write(self, ledger: WorkerLedger) -> None:
        if self._loop.time() >= self._renew_at:
            await self._renew(ledger)
        if any(attempt.due_in_seconds() == 0.0 for attempt in self._attempts.values()):
            await self._record(ledger)
        if self._ends:
            await self._end(ledger)
        if self._claims:
            await self._claim(ledger)

    async def _renew(self, ledger: WorkerLedger) -> None:
        self._renew_at = self._loop.time() + self._settings.renew_seconds
        await ledger.check_schema()  # a migration may have come that cuts this version off
        watched = list(self._attempts.values())
        if watched:
            held = await ledger.renew(
                [attempt.lease for attempt in watched],
                worker_id=self._worker.id,
                lease_seconds=self._settings.lease_seconds,
            )
            for attempt in watched:
                if held.get(attempt.claim.job_id):
                    attempt.ask_to_cancel()
            unwritten = [attempt for attempt in watched if attempt.claim.job_id not in held]
            await self._drop_lost(
                ledger,
                {attempt.lease: partial(self._lose, attempt) for attempt in unwritten},
                worker_id=self._worker.id,
            )
        await ledger.beat(self._worker, draining=self.is_draining)  # last: a ledger that refuses it takes no job away

    async def _drop_lost(
        self, ledger: WorkerLedger, unwritten: Mapping[Lease, Callable[[], None]], *, worker_id: UUID | None = None
    ) -> None:
        """After writes that changed nothing: drop the leases that are lost, each in its way. Raises LedgerRefuses if one
        is still held: the ledger swallowed the write."""
        if not unwritten:
            return
        lost = await ledger.find_lost(list(unwritten), worker_id=worker_id)
        for lease, drop in unwritten.items():
            if lease in lost:
                drop()
        if len(lost) < len(unwritten):
            raise LedgerRefuses(SWALLOWED)

    async def _record(self, ledger: WorkerLedger) -> None:
        await self._resolve_unanswered(ledger)
        due = [attempt for attempt in self._attempts.values() if attempt.due_in_seconds() == 0.0]
        attempts = {attempt.lease: attempt for attempt in due}
        unwritten: dict[Lease, Callable[[], None]] = {}
        async for record, answer in write_each(ledger.record, [attempt.take() for attempt in due]):
            attempt = attempts[record.lease]
            if isinstance(answer, Exception):
                await self._refuse_record(ledger, attempt, record, answer)
            elif answer is None:
                unwritten[record.lease] = partial(self._lose, attempt)
            else:
                attempt.wrote(record)
                self._announce(answer)
        await self._drop_lost(ledger, unwritten)

    async def _resolve_unanswered(self, ledger: WorkerLedger) -> None:
        """A record whose answer was lost may be committed: then its lines must not be written again."""
        unanswered = [attempt for attempt in self._attempts.values() if attempt.in_flight is not None]
        if not unanswered:
            return
        counts = await ledger.count_reports([attempt.lease for attempt in unanswered])
        for attempt in unanswered:
            assert attempt.in_flight is not None
            if counts.get(attempt.lease, 0) >= attempt.reports_written + len(attempt.in_flight.notes):
                attempt.wrote(attempt.in_flight)
            else:
                attempt.keep()

    async def _refuse_record(self, ledger: WorkerLedger, attempt: Attempt, record: Record, error: Exception) -> None:
        """End an attempt whose words can't be stored, once the ledger takes harmless ones, and a note about that: one that
        refuses these too refuses everybody."""
        reason = stand_ins.reason_for("What the task reported", first_line(error))
        await ledger.rehearse(stand_ins.harmless_record(record))
        (written,) = await ledger.record([stand_ins.note_of(record, reason)])
        if written is None:
            await self._drop_lost(ledger, {record.lease: partial(self._lose, attempt)})
            return
        self._announce(written)
        metrics.UNSTORABLE.inc()
        attempt.refuse(record)
        attempt.kill(Ending.PERMANENT, stand_ins.unstorable(reason))

    async def _end(self, ledger: WorkerLedger) -> None:
        # All that an attempt said is written before its end: from then on its epoch writes nothing.
        ends = [end for end in self._ends.values() if not self._has_notes(end.lease)]
        if not ends:
            return
        unwritten: dict[Lease, Callable[[], None]] = {}
        async for end, answer in write_each(ledger.end, ends):
            if isinstance(answer, Exception):
                await self._refuse_end(ledger, end, answer)
            elif answer is None:
                unwritten[end.lease] = partial(self._ended, end, None)
            else:
                self._ended(end, answer)
        await self._drop_lost(ledger, unwritten)

    def _ended(self, end: AttemptEnd, written: Written | None) -> None:
        self._ends.pop(end.lease, None)
        self._forget(end.lease)
        self._spool.delete(end.lease)
        self._changed.set()
        metrics.OUTCOMES_WAITING.set(len(self._ends))
        if written is None:
            # Reaped meanwhile, or committed by a round whose answer was lost.
            _log.warning("outcome_refused", job_id=str(end.lease.job_id), epoch=end.lease.epoch, ending=end.ending)
        else:
            self._announce([written])

    async def _refuse_end(self, ledger: WorkerLedger, end: AttemptEnd, error: Exception) -> None:
        """End an attempt whose outcome can't be stored without it, once the ledger takes the same end with harmless values:
        one that refuses this too refuses everybody, and then the outcome waits."""
        reason = stand_ins.reason_for("The outcome", first_line(error))
        await ledger.rehearse(stand_ins.harmless_end(end))
        failure = stand_ins.failure_of(end, reason)
        (written,) = await ledger.end([failure])
        if written is None:
            await self._drop_lost(ledger, {end.lease: partial(self._ended, end, None)})
            return
        metrics.UNSTORABLE.inc()
        self._spool.quarantine(end.lease)
        self._ended(failure, written)
        _log.error("outcome_unstorable", job_id=str(end.lease.job_id), epoch=end.lease.epoch, reason=reason)

    def _has_notes(self, lease: Lease) -> bool:
        attempt = self._attempts.get(lease.job_id)
        return attempt is not None and attempt.lease == lease and attempt.has_notes

    async def _claim(self, ledger: WorkerLedger) -> None:
        asked, self._claims = self._claims, defaultdict(list)
        try:
            for queue, waiting in asked.items():
                start_by = self._loop.time() + self._settings.lease_seconds
                found = await ledger.claim(
                    queue=queue,
                    slots=[slot for slot, _ in waiting],
                    tasks=[spec.name for spec in self._specs],
                    worker=self._worker,
                    lease_seconds=self._settings.lease_seconds,
                )
                for (_, answer), claim in zip(waiting, [*found, *[None] * len(waiting)], strict=False):
                    if not answer.done():
                        answer.set_result(Grant(claim, start_by) if claim is not None else None)
                    elif claim is not None:
                        self.give_back(claim)  # nobody waits for it any more
                self._announce(
                    Written(
                        job_id=claim.job_id,
                        seq=claim.event_seq,
                        type="started",
                        epoch=claim.epoch,
                        at=claim.claimed_at,
                        data={"worker": self._worker.name},
                    )
                    for claim in found
                )
        finally:
            # Nobody waits through an outage: the doorbell is forgotten, and rung again.
            for waiting in asked.values():
                for _, answer in waiting:
                    if not answer.done():
                        answer.set_result(None)

    def _lose(self, attempt: Attempt) -> None:
        metrics.LEASES_LOST.inc()
        attempt.lose()
        self._forget(attempt.lease)
        self.occupancy_changed.set()
        self._ends.pop(attempt.lease, None)
        self._spool.delete(attempt.lease)
        self._changed.set()

    def _forget(self, lease: Lease) -> None:
        """Watch an attempt no more; a newer one of the same job stays."""
        attempt = self._attempts.get(lease.job_id)
        if attempt is not None and attempt.lease == lease:
            del self._attempts[lease.job_id]

    def _set_up(self, up: bool) -> None:
        was_up, self.is_up = self.is_up, up
        if up and not was_up:
            self.refusal = None
            _log.info("ledger_up")
        metrics.LEDGER_UP.set(up)
        for attempt in self._attempts.values():
            attempt.set_ledger_up(up)
        if not up:
            for end in self._ends.values():
                self._spool.save(end)
            asked, self._claims = self._claims, defaultdict(list)
            for waiting in asked.values():
                for _, answer in waiting:
                    answer.set_result(None)
