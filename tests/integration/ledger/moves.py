"""What clients, keepers, reapers and time do to the ledger, as moves that may be made side by side.

What a move is about is drawn as a number and looked up when the move starts, so that what hypothesis draws never
depends on which of two moves was quicker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from tests import reference_model
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer
from tests.integration.ledger.story import CLAIM_SECONDS, seconds
from tests.integration.ledger.world import NARROW, RARE, World, nth

from longhaul.ids import new_job_id
from longhaul.ledger import jobs, leases, queues, reaping, retention
from longhaul.ledger.claims import Claim
from longhaul.ledger.connection import Connection, dumps
from longhaul.ledger.jobs import NewJob
from longhaul.states import Ending, State

PLACES = ((given.TASK, given.QUEUE), (RARE, given.QUEUE), (given.TASK, NARROW), (RARE, NARROW))


@dataclass(frozen=True)
class Move:
    """Something that someone does to the ledger on a connection of their own."""

    async def make(self, world: World, connection: Connection) -> None:
        """Do it, and check the answer against what the world knows."""
        raise NotImplementedError


@dataclass(frozen=True)
class Wanted:
    """A job that a client wants."""

    place: int
    priority: int
    retries_max: int
    max_interruptions: int
    delayed: bool
    key: int | None
    body: int

    def new_job(self) -> NewJob:
        task, queue = PLACES[self.place]
        key = None if self.key is None else f"key-{self.key}"
        return given.new_job(
            task=task,
            queue=queue,
            priority=self.priority,
            retries_max=self.retries_max,
            max_interruptions=self.max_interruptions,
            run_after=datetime.now(UTC) + timedelta(hours=1) if self.delayed else None,
            idempotency_key=key,
            request_digest=jobs.digest(self.body),
            metadata={"body": self.body},
        )


@dataclass(frozen=True)
class Submit(Move):
    wanted: Sequence[Wanted]

    async def make(self, world: World, connection: Connection) -> None:
        new = [one.new_job() for one in self.wanted]
        world.sent.update({job.id: job for job in new})
        answers = await jobs.submit(connection, new)
        for job, answer in zip(new, answers, strict=True):
            found = world.sent[answer.row["id"]]
            assert (found.tenant, found.idempotency_key) == (job.tenant, job.idempotency_key)
            if answer.is_replay or answer.is_conflict:
                assert job.idempotency_key is not None
                assert answer.is_replay == (found.request_digest == job.request_digest)
            else:
                assert found.id == job.id
                world.accepted[job.id] = None


@dataclass(frozen=True)
class Take(Move):
    """A worker claims."""

    worker: Claimer
    queue: str
    slots: int

    async def make(self, world: World, connection: Connection) -> None:
        await self.take(world, connection)

    async def take(self, world: World, connection: Connection) -> list[Claim]:
        was_paused = self.queue in world.paused and not any(isinstance(one, Pause) for one in world.step)
        expected = self._expected(world)
        claims = await self.worker.claim(connection, queue=self.queue, slots=self.slots, lease_seconds=CLAIM_SECONDS)
        assert not (was_paused and claims), f"the queue {self.queue} is paused"
        found = [claim.job_id for claim in claims]
        assert found == expected or not world.alone, f"claimed {found}, and the state machine says {expected}"
        for claim in claims:
            assert (claim.queue, claim.task in self.worker.tasks) == (self.queue, True)
            known = {(one.job_id, one.epoch) for _, one in world.claims}
            assert (claim.job_id, claim.epoch) not in known, f"claimed twice: {claim}"
            world.claims.append((self.worker, claim))
            world.live.add((claim.job_id, claim.epoch))
        return claims

    def _expected(self, world: World) -> list[UUID]:
        """The jobs that the state machine lets this worker have, best first, where nobody else claims."""
        jobs, chosen, now = dict(world.jobs), [], seconds(datetime.now(UTC))
        for _ in range(self.slots):
            best = reference_model.choose(
                jobs.values(),
                owner=self.worker.id,
                queue=self.queue,
                tasks=self.worker.tasks,
                now=now,
                limits=world.limits.get(self.queue, reference_model.NO_LIMITS),
            )
            change = best and reference_model.claim(best, owner=self.worker.id, now=now, lease_seconds=CLAIM_SECONDS)
            if change is None:
                break
            jobs[change.job.id] = change.job
            chosen.append(change.job.id)
        return chosen


@dataclass(frozen=True)
class Renew(Move):
    """A worker renews all it ever claimed: of each job its newest epoch, or the oldest, as a twin from the past would."""

    worker: Claimer
    newest: bool

    async def make(self, world: World, connection: Connection) -> None:
        own = [claim for worker, claim in world.claims if worker is self.worker]
        claims = {claim.job_id: claim for claim in (own if self.newest else reversed(own))}
        async with world.connections[self.worker.id]:
            held = await self.worker.renew(connection, *map(given.lease, claims.values()))
        for id, claim in claims.items():
            assert id not in held or not world.must_refuse(claim), f"I3: renewed with an old epoch: {claim}"
            assert id in held or not world.alone or world.must_refuse(claim), f"the owner was refused: {claim}"
            if world.alone and id in world.jobs:
                renewed = reference_model.renew(
                    world.jobs[id], claim.epoch, owner=self.worker.id, now=0.0, lease_seconds=given.LEASE_SECONDS
                )
                assert (id in held) == (renewed is not None), f"the state machine says otherwise: {claim}"


@dataclass(frozen=True)
class Report(Move):
    """A running job says something: several of one keeper at once."""

    picks: Sequence[int]
    types: Sequence[str]
    fraction: float

    async def make(self, world: World, connection: Connection) -> None:
        await self.say(world, connection, *world.pick(self.picks))

    async def say(self, world: World, connection: Connection, worker: Claimer, claims: Sequence[Claim]) -> None:
        async with world.connections[worker.id]:
            answers = await leases.record(connection, [self._record(claim) for claim in claims])
        for claim, answer in zip(claims, answers, strict=True):
            assert answer is None or not world.must_refuse(claim), f"I3: reported with an old epoch: {claim}"
            assert answer or not world.alone or world.must_refuse(claim), f"the owner was refused: {claim}"

    def _record(self, claim: Claim) -> leases.Record:
        data: dict[str, dict[str, Any]] = {
            "progress": {"fraction": self.fraction},
            "log": {"message": "so far so good"},
            "checkpoint": {"checkpoint": {"writer": claim.epoch, "at": self.fraction}},
        }
        return leases.Record(
            lease=given.lease(claim),
            notes=[leases.Note(type=type, data={"writer": claim.epoch, **data[type]}) for type in self.types],
            progress=self.fraction if "progress" in self.types else None,
            checkpoint=dumps(data["checkpoint"]["checkpoint"]) if "checkpoint" in self.types else None,
        )


@dataclass(frozen=True)
class End(Move):
    """A keeper commits how attempts ended; `checkpoint` is one that goes with a hand-over."""

    picks: Sequence[int]
    ending: Ending
    delay_seconds: float = 0.0
    checkpoint: bool = False

    async def make(self, world: World, connection: Connection) -> None:
        await self.commit(world, connection, *world.pick(self.picks))

    async def commit(self, world: World, connection: Connection, worker: Claimer, claims: Sequence[Claim]) -> None:
        ends, ended = [self._end(claim) for claim in claims], set()
        if len(ends) == 1:
            answers = await leases.end(connection, ends)  # a twin's, too: it may come at the same moment
        else:
            async with world.connections[worker.id]:
                answers = await leases.end(connection, ends)
        for claim, answer in zip(claims, answers, strict=True):
            must_refuse = world.must_refuse(claim) or claim.job_id in ended
            assert answer is None or not must_refuse, f"I2, I3: ended twice, or with an old epoch: {claim}"
            assert answer or must_refuse or not world.alone, f"the owner was refused: {claim}"
            if answer:
                ended.add(claim.job_id)
                world.hear(answer)

    def _end(self, claim: Claim) -> leases.AttemptEnd:
        checkpoint = {"writer": claim.epoch, "at": "the end"} if self.checkpoint else None
        end = given.attempt_end(given.lease(claim), claim.budget, self.ending, delay_seconds=self.delay_seconds)
        return replace(
            end,
            result=end.result and dumps({"writer": claim.epoch}),
            evidence={"writer": claim.epoch, "checkpoint": checkpoint},
            checkpoint=dumps(checkpoint) if checkpoint else None,
        )


@dataclass(frozen=True)
class Work(Move):
    """A worker takes a job, reports, and ends it, as fast as it can."""

    take: Take
    report: Report
    end: End

    async def make(self, world: World, connection: Connection) -> None:
        claims = await self.take.take(world, connection)
        await self.report.say(world, connection, self.take.worker, claims)
        await self.end.commit(world, connection, self.take.worker, claims)


@dataclass(frozen=True)
class Cancel(Move):
    """A client cancels one of the jobs that were accepted, or the job of a claim."""

    pick: int
    claimed: bool

    async def make(self, world: World, connection: Connection) -> None:
        claimed = [claim.job_id for claim in world.pick([self.pick])[1]]
        for id in claimed if self.claimed else nth(list(world.accepted), self.pick):
            row = await jobs.cancel(connection, id)
            if world.alone and id in world.jobs:
                assert (row is None) == (reference_model.cancel(world.jobs[id]) is None), (
                    f"the state machine says otherwise: {id}"
                )
            if row is not None and row["state"] == State.CANCELLED:
                world.over[id] = State.CANCELLED


# Time waits for nobody: a row that someone is writing is left for another step.
_RUN_OUT = """
UPDATE jobs SET lease_expires_at = now() - interval '1 second' WHERE id IN
    (SELECT id FROM jobs WHERE id = ANY(%(ids)s) AND state = 'running' FOR UPDATE SKIP LOCKED)
"""

_DUE = """
UPDATE jobs SET run_after = now(), rank_at = rank_at - (run_after - now()) WHERE id IN
    (SELECT id FROM jobs WHERE state = 'queued' AND run_after > now() FOR UPDATE SKIP LOCKED)
"""


@dataclass(frozen=True)
class LeasesRunOut(Move):
    """Time passes without renewals: for the job of one claim, or for all."""

    pick: int | None

    async def make(self, world: World, connection: Connection) -> None:
        found = [claim for _, claim in world.claims] if self.pick is None else world.pick([self.pick])[1]
        await connection.execute(_RUN_OUT, {"ids": [claim.job_id for claim in found]})


@dataclass(frozen=True)
class Reap(Move):
    limit: int

    async def make(self, world: World, connection: Connection) -> None:
        time_passes = any(isinstance(one, LeasesRunOut) for one in world.step)
        reaped, now = await reaping.reap(connection, limit=self.limit), seconds(datetime.now(UTC))
        if world.alone:
            due = [id for id, job in world.jobs.items() if reference_model.reap(job, as_of=now, now=now)]
            assert len(reaped) == min(self.limit, len(due)), f"reaped {reaped}, and the state machine says {due}"
            assert {written.job_id for written in reaped} <= set(due)
        for written in reaped:
            ran_out = (written.job_id, written.epoch) in world.ran_out
            assert ran_out or time_passes, f"I6: taken from an owner whose lease holds: {written}"
            world.hear(written)


@dataclass(frozen=True)
class DelaysPass(Move):
    """Time passes for jobs that are not due yet."""

    async def make(self, world: World, connection: Connection) -> None:  # noqa: ARG002 - it asks nobody
        await connection.execute(_DUE)


@dataclass(frozen=True)
class Pause(Move):
    queue: str
    paused: bool

    async def make(self, world: World, connection: Connection) -> None:
        assert await queues.pause(connection, self.queue, paused=self.paused)
        # Of two at once nobody knows which was last; what is known to be paused must have been so all the time.
        alone = sum(isinstance(one, Pause) and one.queue == self.queue for one in world.step) == 1
        if self.paused and alone:
            world.paused.add(self.queue)
        else:
            world.paused.discard(self.queue)


@dataclass(frozen=True)
class Replay(Move):
    picks: Sequence[int]
    dead_letters: bool

    async def make(self, world: World, connection: Connection) -> None:
        origins = {id: new_job_id() for pick in self.picks for id in nth(world.worth_replaying, pick)}
        for id, new_id in origins.items():
            world.sent[new_id] = replace(world.sent[id], id=new_id, idempotency_key=None, run_after=None)
        rows = await jobs.replay(
            connection, origins, submitted_by="test", trace_context=None, dead_letters=self.dead_letters
        )
        if world.alone:
            there = [(id, world.jobs[id]) for id in origins if id in world.jobs]
            expected = {
                id for id, job in there if reference_model.replay(job, None, now=0.0, dead_letters=self.dead_letters)
            }
            assert {row["origin_id"] for row in rows} == expected
        for row in rows:
            assert origins[row["origin_id"]] == row["id"]
            world.accepted[row["id"]] = None
            world.resolve(row["origin_id"], as_letter=self.dead_letters)


@dataclass(frozen=True)
class Discard(Move):
    picks: Sequence[int]

    async def make(self, world: World, connection: Connection) -> None:
        ids = [id for pick in self.picks for id in nth(world.worth_replaying, pick)]
        discarded = await jobs.discard(connection, ids)
        if world.alone:
            assert set(discarded) == {id for id in ids if id in world.jobs and reference_model.discard(world.jobs[id])}
        for id in discarded:
            world.resolve(id, as_letter=True)


@dataclass(frozen=True)
class Purge(Move):
    everything: bool
    limit: int

    async def make(self, world: World, connection: Connection) -> None:
        seconds = 0 if self.everything else 3600
        purged = await retention.purge(connection, older_than_seconds=seconds, limit=self.limit)
        assert self.everything or not purged, "nothing here ended an hour ago"
        world.purged += purged
