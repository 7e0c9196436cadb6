"""The keeper's recorder on a real ledger: what is written in which order, what waits, and what a refusal costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from tests.integration.ledger import given
from tests.waiting import eventually

from longhaul.ledger import events
from longhaul.ledger.claims import Claim
from longhaul.ledger.connection import Connection, connect
from longhaul.ledger.leases import AttemptEnd, Record, Written
from longhaul.ledger.workers import Worker
from longhaul.states import Ending
from longhaul.task import TaskSpec
from longhaul_worker.attempt import Attempt
from longhaul_worker.backlog import MAX_RECORD_BYTES
from longhaul_worker.ledger import SqlLedger
from longhaul_worker.outcome_spool import OutcomeSpool
from longhaul_worker.recorder import Recorder
from longhaul_worker.settings import WorkerSettings

pytestmark = pytest.mark.anyio

NOT_JSON = "{"
"""As a checkpoint: no child sends it, and PostgreSQL refuses it."""


@dataclass
class Child:
    """A process that dies when it is killed."""

    pid: int = 1
    attempt: Attempt | None = None
    is_killed: bool = False

    def tell(self, reason: str, claim: Claim) -> None:
        pass

    def kill(self, attempt: Attempt) -> None:
        assert attempt is self.attempt
        self.is_killed = True
        asyncio.get_running_loop().call_soon(attempt.died, {})


@dataclass
class Ledger:
    """Opens the recorder's connections. Its hooks run around the statements of the real one."""

    database_url: str
    before_end: Callable[[], None] = lambda: None
    after_record: Callable[[], None] = lambda: None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlLedger]:
        async with await connect(self.database_url, application_name="keeper") as connection:
            yield _Hooked(connection, self)


class _Hooked(SqlLedger):
    def __init__(self, connection: Connection, hooks: Ledger) -> None:
        super().__init__(connection)
        self._hooks = hooks

    async def record(self, records: Sequence[Record]) -> list[list[Written] | None]:
        answers = await super().record(records)
        self._hooks.after_record()
        return answers

    async def end(self, ends: Sequence[AttemptEnd]) -> list[Written | None]:
        self._hooks.before_end()
        return await super().end(ends)


@dataclass
class Keeper:
    """A recorder, and the attempts that it watches."""

    recorder: Recorder
    ledger: Ledger
    spool: Path
    children: dict[UUID, Child] = field(default_factory=dict)
    running: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Connect, and go on writing."""
        self.running = asyncio.create_task(self.recorder.run())
        await self.until(lambda: self.recorder.is_up, "the ledger answered")

    async def claim(self, connection: Connection, count: int = 1) -> list[Attempt]:
        """Jobs that run here."""
        await given.queued(connection, count)
        return [self.watch(grant.claim) for _ in range(count) if (grant := await self.recorder.claim(given.QUEUE, 0))]

    def watch(self, claim: Claim) -> Attempt:
        child = self.children[claim.job_id] = Child()
        child.attempt = Attempt(
            claim,
            child,
            cancel_grace_seconds=10,
            progress_interval_seconds=0,
            on_dirty=self.recorder.wake,
            on_end=lambda _attempt, end: self.recorder.end(end),
            random=lambda: 0.5,
        )
        self.recorder.watch(child.attempt)
        return child.attempt

    def child_of(self, attempt: Attempt) -> Child:
        return self.children[attempt.claim.job_id]

    async def settled(self) -> None:
        await self.until(lambda: self.recorder.is_settled, "everything is written")

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        async def holds() -> bool:
            return condition()

        await eventually(holds, timeout_seconds=20, what=what)

    def files(self) -> list[str]:
        """The endings of the names of what is on disk."""
        return sorted(path.suffix for path in self.spool.iterdir())


@pytest.fixture
async def keeper(connection: Connection, database_url: str, tmp_path: Path) -> AsyncIterator[Keeper]:
    """A keeper that has not connected yet."""
    settings = WorkerSettings(
        database_url=database_url,
        redis_url="redis://127.0.0.1:1",
        tasks=["tests.sample_tasks"],
        queues=[given.QUEUE],
        renew_seconds=0.2,
        reconnect_seconds=0.1,
        spool_dir=tmp_path / "spool",
    )
    worker = Worker(id=uuid4(), name="pod-1", pool="default", queues=[given.QUEUE], slots=4, version="1")
    ledger = Ledger(database_url)
    specs = [TaskSpec(name=given.TASK, queue=given.QUEUE)]
    spool = OutcomeSpool(settings.spool_dir)
    recorder = Recorder(settings, worker, specs, spool, lambda _written: None, ledger.open)
    one = Keeper(recorder, ledger, settings.spool_dir)
    yield one
    if one.running is not None:
        one.running.cancel()
        with suppress(asyncio.CancelledError):
            await one.running


def an_end(claim: Claim, *, checkpoint: str | None = None) -> AttemptEnd:
    end = given.attempt_end(given.lease(claim), claim.budget, Ending.SUCCEEDED)
    return replace(end, checkpoint=checkpoint)


async def lines(connection: Connection, attempt: Attempt) -> list[str]:
    """What the job's log says."""
    found = await events.read(connection, attempt.claim.job_id, after=0, limit=10_000)
    return [event["data"]["message"] for event in found if event["type"] == "log"]


async def test_all_that_an_attempt_said_is_written_before_its_end(keeper: Keeper, connection: Connection) -> None:
    """More than one write takes: after the end its epoch writes nothing any more."""
    await keeper.run()
    (attempt,) = await keeper.claim(connection)
    said = [f"{number} {'x' * 1000}" for number in range(5 * MAX_RECORD_BYTES // 1000)]
    for line in said:
        attempt.log("info", line, {})
    attempt.finish(Ending.SUCCEEDED, result=b"{}")
    await keeper.settled()
    assert await lines(connection, attempt) == said
    history = await events.read(connection, attempt.claim.job_id, after=len(said))
    assert history[-1]["type"] == "succeeded"


async def test_a_record_whose_answer_was_lost_is_not_written_again(keeper: Keeper, connection: Connection) -> None:
    await keeper.run()
    (attempt,) = await keeper.claim(connection)
    answers_lost: list[int] = []

    def lose_an_answer() -> None:
        if not answers_lost:
            answers_lost.append(1)
            raise psycopg.OperationalError("the connection is lost")

    keeper.ledger.after_record = lose_an_answer
    attempt.log("info", "once", {})
    await keeper.until(lambda: bool(answers_lost), "the line is committed, and nobody was told")
    attempt.log("info", "then", {})
    attempt.finish(Ending.SUCCEEDED, result=b"{}")
    await keeper.settled()
    assert await lines(connection, attempt) == ["once", "then"]


async def test_a_lost_lease_is_noticed_at_the_next_renewal_and_its_process_killed(
    keeper: Keeper, connection: Connection
) -> None:
    await keeper.run()
    lost, kept = await keeper.claim(connection, 2)
    await given.reaped(connection, lost.claim)
    await keeper.until(lambda: keeper.child_of(lost).is_killed, "the process of the lost attempt is killed")
    assert not keeper.child_of(kept).is_killed
    assert keeper.recorder.attempts == [kept]


async def test_a_keeper_that_must_go_claims_nothing(keeper: Keeper, connection: Connection) -> None:
    await keeper.run()
    (id,) = await given.queued(connection)
    keeper.recorder.is_draining = True
    assert await keeper.recorder.claim(given.QUEUE, 0) is None
    assert await given.state(connection, id) == "queued"


async def test_a_job_that_was_claimed_for_a_process_that_is_gone_is_given_back(
    keeper: Keeper, connection: Connection
) -> None:
    await keeper.run()
    (id,) = await given.queued(connection)
    asking = asyncio.create_task(keeper.recorder.claim(given.QUEUE, 0))
    await asyncio.sleep(0)  # it has asked
    asking.cancel()

    async def given_back() -> bool:
        row = await given.row(connection, id)
        return (row["state"], row["epoch"]) == ("queued", 1)

    await eventually(given_back, what="the job is queued again")
    assert (await given.row(connection, id))["interruptions"] == 0


# Outcomes that wait.


async def test_an_outcome_is_on_disk_until_it_is_committed(keeper: Keeper, connection: Connection) -> None:
    _, claim = await given.running(connection)
    seen: list[list[str]] = []
    keeper.ledger.before_end = lambda: seen.append(keeper.files())
    keeper.recorder.end(an_end(claim))  # the ledger is away
    assert keeper.files() == [".json"]
    await keeper.run()
    await keeper.settled()
    assert await given.state(connection, claim.job_id) == "succeeded"
    assert seen == [[".json"]]
    assert keeper.files() == []


# Values that the database refuses.


async def test_an_outcome_that_can_not_be_stored_ends_its_own_attempt_only(
    keeper: Keeper, connection: Connection
) -> None:
    await keeper.run()
    attempts = await keeper.claim(connection, 5)
    poison = attempts[2]
    for attempt in attempts:
        keeper.recorder.end(an_end(attempt.claim, checkpoint=NOT_JSON if attempt is poison else None))
    await keeper.settled()
    rows = {attempt: await given.row(connection, attempt.claim.job_id) for attempt in attempts}
    assert {row["state"] for attempt, row in rows.items() if attempt is not poison} == {"succeeded"}
    assert (rows[poison]["state"], rows[poison]["error"]["code"]) == ("failed", "unstorable")


async def test_a_report_that_can_not_be_stored_ends_its_own_attempt_only(
    keeper: Keeper, connection: Connection
) -> None:
    await keeper.run()
    poison, neighbour = await keeper.claim(connection, 2)
    neighbour.log("info", "before", {})
    poison.checkpoint(NOT_JSON.encode())
    neighbour.log("info", "after", {})
    await keeper.until(lambda: poison.is_over, "the attempt is ended")
    neighbour.finish(Ending.SUCCEEDED, result=b"{}")
    await keeper.settled()
    assert (await given.row(connection, poison.claim.job_id))["error"]["code"] == "unstorable"
    assert await given.state(connection, neighbour.claim.job_id) == "succeeded"
    assert await lines(connection, neighbour) == ["before", "after"]


async def test_an_outcome_that_can_not_be_stored_is_put_aside_on_disk(keeper: Keeper, connection: Connection) -> None:
    _, claim = await given.running(connection)
    keeper.recorder.end(an_end(claim, checkpoint=NOT_JSON))  # the ledger is away
    await keeper.run()
    await keeper.settled()
    assert (await given.row(connection, claim.job_id))["error"]["code"] == "unstorable"
    assert keeper.files() == [".refused"]


REFUSES_ALL = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'data_exception'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON job_events FOR EACH ROW EXECUTE FUNCTION refuse();
"""


async def assert_costs_no_outcome(
    keeper: Keeper, connection: Connection, trouble: str, *, function: str, talker: Attempt, ended: Attempt
) -> None:
    """While the trigger is there the ledger counts as away; what ends and what is said meanwhile is written after it."""
    await connection.execute(trouble)
    ended.finish(Ending.SUCCEEDED, result=b'{"total":6}')
    await keeper.until(lambda: not keeper.recorder.is_up, "the ledger counts as away")
    talker.log("info", "line", {})
    assert keeper.files() == [".json"]
    await connection.execute(f"DROP FUNCTION {function} CASCADE")
    await keeper.until(lambda: not talker.has_notes, "the line is written")
    talker.finish(Ending.SUCCEEDED, result=b"{}")
    await keeper.settled()
    row = await given.row(connection, ended.claim.job_id)
    assert (row["state"], row["result"]) == ("succeeded", {"total": 6})
    assert await lines(connection, talker) == ["line"]
    assert keeper.files() == []


async def test_a_ledger_that_refuses_everything_costs_no_outcome(keeper: Keeper, connection: Connection) -> None:
    """What it says sounds like a bad value; that it refuses the note about this, too, tells the difference."""
    await keeper.run()
    ended, talker = await keeper.claim(connection, 2)
    await assert_costs_no_outcome(keeper, connection, REFUSES_ALL, function="refuse", talker=talker, ended=ended)


REFUSES = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF NEW.{when} THEN RAISE division_by_zero; END IF; RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse();
"""


async def test_a_ledger_that_refuses_every_success_costs_no_outcome(keeper: Keeper, connection: Connection) -> None:
    """It takes a failure meanwhile: only the same end with a harmless result tells that no value is at fault."""
    await keeper.run()
    (attempt,) = await keeper.claim(connection)
    await connection.execute(REFUSES.format(table="jobs", when="state = 'succeeded'").encode())
    attempt.finish(Ending.SUCCEEDED, result=b'{"total":6}')
    await keeper.until(lambda: not keeper.recorder.is_up, "the ledger counts as away")
    await connection.execute("DROP FUNCTION refuse CASCADE")
    await keeper.settled()
    row = await given.row(connection, attempt.claim.job_id)
    assert (row["state"], row["result"]) == ("succeeded", {"total": 6})


async def test_a_ledger_that_refuses_every_report_of_a_kind_costs_no_attempt(
    keeper: Keeper, connection: Connection
) -> None:
    await keeper.run()
    (attempt,) = await keeper.claim(connection)
    await connection.execute(REFUSES.format(table="job_events", when="type = 'progress'").encode())
    attempt.progress(0.5, "half", {})
    await keeper.until(lambda: not keeper.recorder.is_up, "the ledger counts as away")
    await connection.execute("DROP FUNCTION refuse CASCADE")
    await keeper.until(lambda: not attempt.has_notes, "the progress is written")
    attempt.finish(Ending.SUCCEEDED, result=b"{}")
    await keeper.settled()
    assert not keeper.child_of(attempt).is_killed
    row = await given.row(connection, attempt.claim.job_id)
    assert (row["state"], row["progress_message"]) == ("succeeded", "half")


# A ledger that takes writes and does not carry them out.

SWALLOWS_PROGRESS = """
CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF NEW.type = 'progress' THEN RETURN NULL; END IF; RETURN NEW; END $$;
CREATE TRIGGER swallow BEFORE INSERT ON job_events FOR EACH ROW EXECUTE FUNCTION swallow();
"""


@pytest.mark.parametrize("renews", [True, False])
async def test_a_ledger_that_swallows_writes_costs_neither_a_lease_nor_an_outcome(
    keeper: Keeper, connection: Connection, renews: bool
) -> None:
    await keeper.run()
    talker, ended = await keeper.claim(connection, 2)
    if not renews:  # it is the end that shows what the ledger does
        keeper.recorder._renew_at = float("inf")
    await assert_costs_no_outcome(keeper, connection, given.SWALLOWS, function="swallow", talker=talker, ended=ended)
    assert not keeper.child_of(talker).is_killed


async def test_a_lost_lease_is_noticed_beside_one_whose_renewal_is_swallowed(
    keeper: Keeper, connection: Connection
) -> None:
    await keeper.run()
    lost, kept = await keeper.claim(connection, 2)
    async with connection.transaction():
        await given.reaped(connection, lost.claim)
        await connection.execute(given.SWALLOWS)
    await keeper.until(lambda: keeper.child_of(lost).is_killed, "the process of the lost attempt is killed")
    await keeper.until(lambda: not keeper.recorder.is_up, "the ledger counts as away")
    await connection.execute("DROP FUNCTION swallow CASCADE")
    await keeper.until(lambda: keeper.recorder.is_up, "the ledger is back")
    assert not keeper.child_of(kept).is_killed
    assert keeper.recorder.attempts == [kept]


async def test_a_ledger_that_swallows_events_costs_these_events_only(keeper: Keeper, connection: Connection) -> None:
    await keeper.run()
    (attempt,) = await keeper.claim(connection)
    await connection.execute(SWALLOWS_PROGRESS)
    attempt.progress(0.5, "half", {})
    attempt.log("info", "line", {})
    attempt.finish(Ending.SUCCEEDED, result=b"{}")
    await keeper.settled()
    assert (await given.row(connection, attempt.claim.job_id))["state"] == "succeeded"
    assert await lines(connection, attempt) == ["line"]


async def test_an_outcome_of_a_job_that_was_purged_holds_up_no_other(keeper: Keeper, connection: Connection) -> None:
    """It lay on a disk for longer than jobs are kept."""
    _, claim = await given.running(connection)
    keeper.recorder.end(an_end(claim))
    await connection.execute("DELETE FROM jobs")
    await keeper.run()
    await keeper.settled()
    assert keeper.files() == []
