"""The design, broken on purpose, one rule at a time: what the simulation must find. Each says what would go wrong.

`tests/unit/test_simulation.py` shows that each is found, and within how many seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from longhaul.machine import Change, Job, Terms
from tests.faults.simulation import faults, times
from tests.faults.simulation.api import Api
from tests.faults.simulation.controller import Controller
from tests.faults.simulation.database import Database, End, Lease
from tests.faults.simulation.keeper import Keeper
from tests.faults.simulation.kernel import Away, Steps
from tests.faults.simulation.network import Line
from tests.faults.simulation.worker import Child
from tests.faults.simulation.world import Design

from longhaul import machine


class EndIgnoresTheEpoch(Database):
    """A frozen worker wakes up and commits over the attempt that took its place."""

    def apply_end(self, job: Job, one: End) -> Change | None:
        return super().apply_end(job, one._replace(lease=Lease(job.id, job.epoch)))


class RenewIgnoresTheEpoch(Database):
    """A worker that lost a job, and has it again, prolongs its lease from an attempt of before."""

    def renew(self, owner: str, leases: Sequence[Lease]) -> dict[int, bool]:  # noqa: ARG002 - the broken rule
        held = {}
        for lease in leases:
            job = self.rows[lease.job]
            change = machine.renew(job, job.epoch, owner=job.owner, now=self.now, lease_seconds=times.LEASE)
            if self.write(job, change, lease.epoch):
                held[lease.job] = job.cancel_requested
        return held


class ClaimWithoutTheLock(Database):
    """Two workers see the same job wait, and both take it."""

    def claim(self, owner: str, slots: int) -> list[Job]:
        seen, self._seen = self._seen, dict(self.rows)
        claimed = super().claim(owner, slots)
        taken = [seen[id] for id, job in self.rows.items() if id in seen and job.owner not in (None, owner)]
        for job in taken[: slots - len(claimed)]:
            change = machine.claim(job, owner=owner, now=self.now, lease_seconds=times.LEASE)
            if self.write(self.rows[job.id], change, job.epoch + 1):
                claimed.append(self.rows[job.id])
        return claimed

    _seen: dict[int, Job] = {}  # noqa: RUF012 - replaced, never written to
    """The rows at the claim before: what a statement without `FOR UPDATE` may still see."""


class SubmitIgnoresTheKey(Database):
    """A client whose answer was lost asks again, and has two jobs."""

    def submit(self, key: int, id: int, terms: Terms) -> int:
        self._keys.pop(key, None)
        return super().submit(key, id, terms)


class ReapsByTheTimeItRuns(Database):
    """A reap that lay in a database that hung finds every lease old when it goes on."""

    def reap(self, as_of: float) -> int:  # noqa: ARG002 - that is what is wrong with it
        return super().reap(self.now)


class ReaperWithoutSilence(Controller):
    """After an outage every lease is old, and all that runs is interrupted."""

    @property
    def may_reap(self) -> bool:
        return True


class ReaperByItsOwnClock(Controller):
    """A pod's clock may be an hour off: nothing is reaped, or too late."""

    def _reap(self, database: Line, redis: Line) -> Steps:
        rings: int = yield database.ask(self.world.database.reap, self.kernel.now + self.clock_offset)
        if rings:
            yield redis.ask(self.world.redis.ring, rings)


class NobodyRingsAgain(Controller):
    """A doorbell that is lost is a job that is lost."""

    def _rering(self, database: Line, redis: Line) -> Steps:  # noqa: ARG002
        yield 0.0


class KeepsTheLockAfterAFreeze(Controller):
    """A leader that wakes up must be silent for a lease, while a standby could reap (found here, and mended)."""

    @property
    def must_resign(self) -> bool:
        return False


class AnswersBeforeTheCommit(Api):
    """202 for a job that is never written."""

    def _commit(self, line: Line, key: int, id: int, terms: Terms) -> Steps:
        self.process.start(self._commit_later(line, key, id, terms))
        yield 0.0
        return id

    def _commit_later(self, line: Line, key: int, id: int, terms: Terms) -> Steps:
        with suppress(Away):
            yield from super()._commit(line, key, id, terms)


class GivesJobsToTheDead(Keeper):
    """A child dies while it waits for its claim; the attempt has no process, and its lease is renewed for ever."""

    def _answer(self, child: Child, job: Job | None) -> None:
        if job is None:
            super()._answer(child, job)
        else:
            self.watch(child, job)


@dataclass(frozen=True)
class Broken:
    """One rule that is broken, and the faults that bring it to light."""

    design: Design
    shows_as: str
    """What the violation says."""
    within_seeds: int
    """A few times as many as it took when this was written."""


BROKEN = {
    "an end that ignores the epoch": Broken(
        Design(faults=(faults.restart_database, faults.kill_keeper, faults.stop_database), database=EndIgnoresTheEpoch),
        "I3",
        3000,
    ),
    "a renewal that ignores the epoch": Broken(Design(database=RenewIgnoresTheEpoch), "I3", 400),
    "a claim without the lock": Broken(Design(database=ClaimWithoutTheLock), "", 200),
    "a submit that ignores the key": Broken(
        Design(faults=(faults.lose_messages,), database=SubmitIgnoresTheKey), "", 100
    ),
    "a reap by the time it runs": Broken(
        Design(faults=(faults.hang_database,), database=ReapsByTheTimeItRuns), "I6", 1000
    ),
    "a reaper without silence": Broken(
        Design(faults=(faults.stop_database,), controller=ReaperWithoutSilence), "I6", 1000
    ),
    "a reaper by its own clock": Broken(Design(faults=(faults.kill_pod,), controller=ReaperByItsOwnClock), "I", 200),
    "nobody rings again": Broken(Design(faults=(faults.flush_redis,), controller=NobodyRingsAgain), "I1", 100),
    "a leader that keeps the lock after a freeze": Broken(
        Design(faults=(faults.freeze_controller, faults.kill_pod), controller=KeepsTheLockAfterAFreeze), "I4", 1000
    ),
    "an answer before the commit": Broken(
        Design(faults=(faults.restart_database,), api=AnswersBeforeTheCommit), "I1", 200
    ),
    "a keeper that gives jobs to the dead": Broken(
        Design(faults=(faults.kill_celery, faults.lose_messages), keeper=GivesJobsToTheDead), "I1", 1500
    ),
}
