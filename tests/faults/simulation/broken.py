"""The product's code, broken on purpose, one rule at a time: what the simulation must find. Each says what would go wrong.

`tests/unit/test_simulation.py` shows that each is found, and within how many seeds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from tests import reference_model
from tests.faults.simulation import faults, tasks
from tests.faults.simulation.api import Api
from tests.faults.simulation.database import Database
from tests.faults.simulation.product import Change
from tests.faults.simulation.world import Design
from tests.reference_model import Job, Terms

import longhaul_worker.recorder
import longhaul_worker.slots
from longhaul.ledger.claims import Claim
from longhaul.ledger.leases import AttemptEnd, Lease
from longhaul.ledger.workers import Worker
from longhaul_controller.leader import Leader
from longhaul_controller.reaper import Reaper
from longhaul_controller.rering import Rering
from longhaul_worker.attempt import Attempt
from longhaul_worker.recorder import Recorder
from longhaul_worker.session import frames
from longhaul_worker.session.child import AttemptChannel, ChildSession
from longhaul_worker.session.server import KeeperSession
from longhaul_worker.slots import PoolChild, Slots

# Statements of the ledger.


class EndIgnoresTheEpoch(Database):
    """A frozen worker wakes up and commits over the attempt that took its place."""

    def apply_end(self, job: Job, one: AttemptEnd) -> reference_model.Change | None:
        transition, checkpoint = one.transition, one.checkpoint
        return reference_model.end(
            job, job.epoch, transition, now=self.now, result=one.result or one.stored, checkpoint=checkpoint
        )


class RenewIgnoresTheEpoch(Database):
    """A worker that lost a job, and has it again, prolongs its lease from an attempt of before."""

    def apply_renewal(
        self,
        job: Job,
        lease: Lease,  # noqa: ARG002 - the broken rule
        worker_id: UUID,  # noqa: ARG002
        lease_seconds: float,
    ) -> reference_model.Change | None:
        return reference_model.renew(job, job.epoch, owner=job.owner, now=self.now, lease_seconds=lease_seconds)


class ClaimWithoutTheLock(Database):
    """Two workers see the same job wait, and both take it."""

    def claim(self, worker: Worker, slots: Sequence[int], lease_seconds: float) -> list[Claim]:
        seen, self._seen = self._seen, dict(self.rows)
        claimed = super().claim(worker, slots, lease_seconds)
        taken = [seen[id] for id, job in self.rows.items() if id in seen and job.owner not in (None, worker.id)]
        for job in taken[: len(slots) - len(claimed)]:
            change = reference_model.claim(job, owner=worker.id, now=self.now, lease_seconds=lease_seconds)
            if self.write(self.rows[job.id], change, job.epoch + 1):
                claimed.append(self._claim_of(self.rows[job.id], waited_seconds=0.0))
        return claimed

    _seen: dict[UUID, Job] = {}  # noqa: RUF012 - replaced, never written to
    """The rows at the claim before: what a statement without `FOR UPDATE` may still see."""


class SubmitIgnoresTheKey(Database):
    """A client whose answer was lost asks again, and has two jobs."""

    def submit(self, key: int, id: UUID, terms: Terms, params: tasks.Params) -> UUID:
        self._keys.pop(key, None)
        return super().submit(key, id, terms, params)


class ClockOfThePod(Database):
    """A reaper by its own clock, which may be an hour off: nothing is reaped, or too late."""

    def read_clock(self) -> datetime:
        return super().read_clock() - timedelta(hours=1)


class AnswersBeforeTheCommit(Api):
    """202 for a job that is never written."""

    async def _commit(self, key: int, id: UUID, terms: Terms, params: tasks.Params) -> UUID:
        async def commit_later() -> None:
            try:
                await super(AnswersBeforeTheCommit, self)._commit(key, id, terms, params)
            except psycopg.Error:
                return

        self.process.start(commit_later())
        return id


# The controller.


def _always_up(_leader: Leader) -> float:
    """A reaper without its silence: after an outage every lease is old, and all that runs is interrupted."""
    return 1e9


async def _hold_through_freezes(self: Any, failures: Any) -> None:
    """`Leader._hold`, which keeps its lock after a freeze: it is silent for a lease, while a standby could reap."""
    loop = asyncio.get_running_loop()
    async with self._connect() as session:
        while True:
            async with asyncio.timeout(3.0):
                await self._look(session)
            if self._up_since is None or self._is_gap():
                self._up_since = loop.time()
            self._seen_at = loop.time()
            failures.succeeded()
            await asyncio.sleep(1.0)


async def _ring_nothing(_rering: Rering) -> None:
    """A doorbell that is lost is a job that is lost."""


async def _reap_whatever_is_refused(_reaper: Reaper, ledger: Any, as_of: datetime) -> bool:
    """Renewals were refused until now, and every lease is old."""
    return bool(await ledger.touch_late_lease(as_of=as_of, late_seconds=0.0))


# The session.


def _receive_in_order(self: Any, frame: Any) -> None:
    """Answers matched by order: one that nobody waits for any more goes to the next question."""
    if isinstance(frame, frames.Stop):
        if self.channel is not None:
            self.channel.stop(frame.reason)
    elif not isinstance(frame, frames.Reap) and self._pending:
        self._pending.pop(next(iter(self._pending))).put(frame)


def _find_any(self: KeeperSession, _frame: object) -> Attempt | None:
    """A frame of another attempt is booked to the one that runs."""
    return self.attempt


def _find_by_job(self: KeeperSession, frame: frames.OfAttempt) -> Attempt | None:
    """Whoever names the right attempt may speak for it: also a process that it forked."""
    attempt = self.attempt
    return attempt if attempt is not None and attempt.claim.job_id == frame.job_id else None


async def _receive_in_any_state(self: Any, frame: Any, payload: bytes | None) -> None:
    """A child may claim while it runs a job, and gets a second one."""
    if isinstance(frame, frames.ClaimRequest):
        self._owner.claim(self, frame)
    elif (attempt := self._find(frame)) is None:
        self._refuse(frame)
    else:
        await self._hear(attempt, frame, payload)


def _always_alive(self: Any) -> ChildSession:
    """A thread that outlives its attempt goes on speaking for it."""
    session: ChildSession = self._session
    return session


# The keeper.


def _has_no_notes(_recorder: Recorder, _lease: Lease) -> bool:
    """An end is committed before all that its attempt said: from then on its epoch writes nothing."""
    return False


async def _resolve_nothing(self: Any, _ledger: object) -> None:
    """A record whose answer was lost is written again."""
    for attempt in self._attempts.values():
        if attempt.in_flight is not None:
            attempt.keep()


async def _write_all(write: Any, items: Any) -> AsyncIterator[Any]:
    """One value that can't be stored is taken for an outage, for ever."""
    for answered in zip(items, await write(items), strict=True):
        yield answered


async def _renew_one(self: Any, ledger: Any) -> None:
    """Of two jobs only one is renewed."""
    self._renew_at = self._loop.time() + self._settings.renew_seconds
    await ledger.check_schema()
    watched = list(self._attempts.values())[:1]
    held = await ledger.renew(
        [attempt.lease for attempt in watched], worker_id=self._worker.id, lease_seconds=self._settings.lease_seconds
    )
    for attempt in watched:
        if attempt.claim.job_id not in held:
            self._lose(attempt)
        elif held[attempt.claim.job_id]:
            attempt.ask_to_cancel()
    await ledger.beat(self._worker, draining=self.is_draining)


def _lose_without_stopping(self: Any) -> None:
    """Whoever lost a job computes on beside its successor."""
    self._over()


def _save_at_once(self: Any, state: bytes) -> asyncio.Future[None]:
    """A checkpoint is called safe before it is."""
    saved = _checkpoint(self, state)
    if not saved.done():
        saved.set_result(None)
    return saved


_checkpoint = Attempt.checkpoint


def _forget_the_limit(_attempt: Attempt) -> None:
    """A task that never ends is never ended: nothing else tells."""


def _drop_silently(self: Any, _position: int) -> None:
    """What is dropped in an outage is not counted."""


async def _give_to_the_dead(self: Any, session: KeeperSession, request: frames.ClaimRequest) -> None:
    """A child dies while it waits for its claim; the attempt has no process, and its lease is renewed for ever."""
    child = self._children[session.pid]
    grant = await self._recorder.claim(request.queue, child.slot)
    if grant is None:
        session.answer_nothing(request)
    else:
        self._start(child, grant, request)


async def _forget_the_dead(self: Any, child: PoolChild) -> None:
    """Nobody ends the attempt of a process that died."""
    await child.process.wait_dead()
    del self._children[child.pid]


def _end_twice(self: Any, session: KeeperSession, reason: str) -> None:
    """Whoever breaks the protocol stays."""


@dataclass(frozen=True)
class Broken:
    """One rule that is broken, and the faults that bring it to light."""

    design: Design
    shows_as: str
    """What the violation says."""
    within_seeds: int
    """A few times as many as it took when this was written."""
    first_seed: int = 0
    """Where to begin: a rule that few worlds break is found in one that did when this was written."""


def _changed(*changes: Change, faults: Sequence[faults.Fault] = faults.FAULTS) -> Design:
    return Design(changes=changes, faults=faults)


BROKEN = {
    "an end that ignores the epoch": Broken(
        Design(faults=(faults.restart_database, faults.kill_keeper, faults.stop_database), database=EndIgnoresTheEpoch),
        "I3",
        500,
        280,
    ),
    "a renewal that ignores the epoch": Broken(Design(database=RenewIgnoresTheEpoch), "I3", 400),
    "a claim without the lock": Broken(Design(database=ClaimWithoutTheLock), "", 200),
    "a submit that ignores the key": Broken(
        Design(faults=(faults.lose_messages,), database=SubmitIgnoresTheKey), "", 100
    ),
    "a reaper by its own clock": Broken(Design(faults=(faults.kill_pod,), database=ClockOfThePod), "I", 200),
    "an answer before the commit": Broken(
        Design(faults=(faults.restart_database,), api=AnswersBeforeTheCommit), "I1", 200
    ),
    "a reaper without silence": Broken(
        _changed((Leader, "ledger_up_seconds", _always_up), faults=(faults.stop_database,)), "I6", 1000
    ),
    "a leader that keeps the lock after a freeze": Broken(
        _changed((Leader, "_hold", _hold_through_freezes), faults=(faults.freeze_controller, faults.kill_pod)),
        "",
        1000,
    ),
    "nobody rings again": Broken(_changed((Rering, "run", _ring_nothing), faults=(faults.flush_redis,)), "I1", 100),
    "a reap right after renewals were refused": Broken(
        _changed((Reaper, "_may_reap", _reap_whatever_is_refused), faults=(faults.refuse_writes,)), "I6", 1000
    ),
    "answers matched by order": Broken(_changed((ChildSession, "receive", _receive_in_order)), "I6", 1500, 690),
    "a frame of another attempt": Broken(_changed((KeeperSession, "_find", _find_any)), "I", 200),
    "a frame of a forked process": Broken(_changed((KeeperSession, "_find", _find_by_job)), "I", 200),
    "a claim while a job runs": Broken(_changed((KeeperSession, "receive", _receive_in_any_state)), "", 500),
    "a channel that outlives its attempt": Broken(
        _changed((AttemptChannel, "_require_alive", _always_alive)), "I7", 200
    ),
    "an end before its notes": Broken(_changed((Recorder, "_has_notes", _has_no_notes)), "", 200),
    "a record that is written again": Broken(
        _changed(
            (Recorder, "_resolve_unanswered", _resolve_nothing), faults=(faults.lose_messages, faults.restart_database)
        ),
        "I7",
        1000,
    ),
    "a poisoned value as an outage": Broken(_changed((longhaul_worker.recorder, "write_each", _write_all)), "", 200),
    "one renewal of two": Broken(
        _changed((Recorder, "_renew", _renew_one), faults=(faults.kill_pod,)), "I", 1500, 1885
    ),
    "a loser that goes on": Broken(
        _changed((Attempt, "lose", _lose_without_stopping), faults=(faults.freeze_keeper, faults.freeze_pod)),
        "",
        1500,
        1060,
    ),
    "a checkpoint that is called safe": Broken(_changed((Attempt, "checkpoint", _save_at_once)), "I7", 100),
    "no hard limit": Broken(_changed((Attempt, "_time_out", _forget_the_limit)), "I1", 200),
    "lines that are dropped silently": Broken(
        _changed((longhaul_worker.backlog.Backlog, "_mark", _drop_silently), faults=(faults.stop_database,)),
        "I7",
        1000,
        388,
    ),
    "a keeper that gives jobs to the dead": Broken(
        _changed(
            (Slots, "_claim", _give_to_the_dead),
            faults=(faults.kill_celery, faults.kill_all_children, faults.lose_messages),
        ),
        "I",
        1500,
    ),
    "a death that nobody reports": Broken(_changed((Slots, "_reap_child", _forget_the_dead)), "I", 200),
}
