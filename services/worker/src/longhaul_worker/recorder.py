"""The keeper's one connection to the ledger. One loop writes everything: renewals first, then what jobs said, their
ends, and claims; whatever came while the last round trip ran goes into the next as a batch.

While the database is away nothing is claimed and everything else waits, in memory and (outcomes) on disk.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from uuid import UUID

import structlog

from longhaul.errors import LedgerUnavailable, SchemaMismatch
from longhaul.ledger import catalogue, claims, leases, schema, workers
from longhaul.ledger.claims import Claim
from longhaul.ledger.connection import AWAY, Connection, connect, first_line
from longhaul.ledger.leases import AttemptEnd, Lease, Written
from longhaul.ledger.workers import Worker
from longhaul.states import Ending, decide
from longhaul.task import TaskSpec
from longhaul_worker import metrics
from longhaul_worker.attempt import Attempt
from longhaul_worker.settings import WorkerSettings
from longhaul_worker.spool import Spool

_log = structlog.get_logger(__name__)

ROUND_TIMEOUT_SECONDS = 8.0
"""A round that takes longer means a database that hangs: more than its statement timeout, less than a lease."""


class Recorder:
    """All methods belong to the keeper's loop. `run` never returns by itself."""

    def __init__(
        self,
        settings: WorkerSettings,
        worker: Worker,
        specs: Sequence[TaskSpec],
        spool: Spool,
        announce: Callable[[Iterable[Written]], None],
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
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._renew_at = 0.0
        self._attempts: dict[UUID, Attempt] = {}
        self._ends: dict[Lease, AttemptEnd] = {end.lease: end for end in spool.load()}
        self._claims: dict[str, list[tuple[int, asyncio.Future[Claim | None]]]] = defaultdict(list)
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

    async def claim(self, queue: str, slot: int) -> Claim | None:
        """The best due job of a queue; None where there is none, the ledger is away or this pod must go."""
        if not self.is_up or self.is_draining:
            return None
        answer: asyncio.Future[Claim | None] = self._loop.create_future()
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
                connection = await connect(
                    self._settings.database_url,
                    application_name=f"longhaul-worker {self._worker.name}",
                    plans_once=True,
                )
                async with connection:
                    await self._register(connection)
                    self._set_up(True)
                    while True:
                        await self._wait()
                        async with asyncio.timeout(ROUND_TIMEOUT_SECONDS):
                            await self._write(connection)
            except (LedgerUnavailable, SchemaMismatch, TimeoutError, *AWAY, *schema.CHANGED) as error:
                was_refused, self.refusal = self.refusal, error.message if isinstance(error, SchemaMismatch) else None
                if self.is_up or not self.is_registered or self.refusal != was_refused:
                    _log.warning("schema_mismatch" if self.refusal else "ledger_away", error=first_line(error))
                self._set_up(False)
                await asyncio.sleep(self._settings.reconnect_seconds)

    async def leave(self) -> None:
        """Take this worker's row away; where the database is gone, others see it fall silent."""
        try:
            async with asyncio.timeout(ROUND_TIMEOUT_SECONDS):
                connection = await connect(self._settings.database_url, application_name="longhaul-worker")
                async with connection:
                    await workers.leave(connection, self._worker.id)
        except (LedgerUnavailable, TimeoutError, *AWAY):
            pass

    async def _register(self, connection: Connection) -> None:
        async with asyncio.timeout(ROUND_TIMEOUT_SECONDS):
            schema.check(await schema.read_revision(connection))
            if not self.is_registered:
                await catalogue.publish(connection, self._specs, registered_by=self._worker.name)
                await workers.register(connection, self._worker)
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
                await asyncio.wait_for(self._wake.wait(), delay)
        self._wake.clear()

    async def _write(self, connection: Connection) -> None:
        if self._loop.time() >= self._renew_at:
            await self._renew(connection)
        if any(attempt.due_in_seconds() == 0.0 for attempt in self._attempts.values()):
            await self._record(connection)
        if self._ends:
            await self._end(connection)
        if self._claims:
            await self._claim(connection)

    async def _renew(self, connection: Connection) -> None:
        self._renew_at = self._loop.time() + self._settings.renew_seconds
        schema.check(await schema.read_revision(connection))  # a migration may have come that cuts this version off
        if not await workers.beat(connection, self._worker.id, draining=self.is_draining):
            await workers.register(connection, self._worker)
        watched = list(self._attempts.values())
        if not watched:
            return
        held = await leases.renew(
            connection,
            [attempt.lease for attempt in watched],
            worker_id=self._worker.id,
            lease_seconds=self._settings.lease_seconds,
        )
        for attempt in watched:
            if attempt.claim.job_id not in held:
                self._lose(attempt)
            elif held[attempt.claim.job_id]:
                attempt.ask_to_cancel()

    async def _record(self, connection: Connection) -> None:
        due = [attempt for attempt in self._attempts.values() if attempt.due_in_seconds() == 0.0]
        records = [attempt.take() for attempt in due]
        try:
            answers = await leases.record(connection, records)
        except BaseException:
            for attempt in due:
                attempt.keep()
            raise
        for attempt, record, written in zip(due, records, answers, strict=True):
            if written is None:
                self._lose(attempt)
            else:
                attempt.wrote(record)
                self._announce(written)

    async def _end(self, connection: Connection) -> None:
        ends = list(self._ends.values())
        for end, written in zip(ends, await leases.end(connection, ends), strict=True):
            del self._ends[end.lease]
            self._forget(end.lease)
            self._spool.delete(end.lease)
            if written is None:
                # Reaped meanwhile, or committed by a round whose answer was lost.
                _log.warning("outcome_refused", job_id=str(end.lease.job_id), epoch=end.lease.epoch, ending=end.ending)
            else:
                self._announce([written])
        self._changed.set()
        metrics.OUTCOMES_WAITING.set(len(self._ends))

    async def _claim(self, connection: Connection) -> None:
        asked, self._claims = self._claims, defaultdict(list)
        try:
            for queue, waiting in asked.items():
                found = await claims.claim(
                    connection,
                    queue=queue,
                    slots=[slot for slot, _ in waiting],
                    tasks=[spec.name for spec in self._specs],
                    worker_id=self._worker.id,
                    worker=self._worker.name,
                    lease_seconds=self._settings.lease_seconds,
                )
                for (_, answer), claim in zip(waiting, [*found, *[None] * len(waiting)], strict=False):
                    if not answer.done():
                        answer.set_result(claim)
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
        if up and not self.is_up:
            self.refusal = None
            _log.info("ledger_up")
        self.is_up = up
        metrics.LEDGER_UP.set(up)
        if not up:
            for end in self._ends.values():
                self._spool.save(end)
            for attempt in self._attempts.values():
                attempt.release_checkpoints()
            asked, self._claims = self._claims, defaultdict(list)
            for waiting in asked.values():
                for _, answer in waiting:
                    answer.set_result(None)
