"""The state machine against a real PostgreSQL: clients, keepers and reapers at once, some with epochs of long ago.

Hypothesis draws what they do; after every step the tables are held against what everyone was told, and each row against
what the pure state machine (`tests.reference_model`) makes of the row before and of the events that came since: so the SQL
and the module that the simulation of faults runs on mean the same. The draws of a normal run are always the same; `LONGHAUL_TEST_EXAMPLES=2000` makes so many at
random. PostgreSQL decides who is quicker, so not every failure repeats: what led to it is printed when it happens.
"""

from __future__ import annotations

import asyncio
import os
import traceback
from collections import Counter
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from tests.integration.ledger import given, moves, story
from tests.integration.ledger.given import Claimer
from tests.integration.ledger.world import NARROW, QUEUE_LIMITS, RARE, TASK_LIMITS, World
from tests.reference_model import Limits

from longhaul.ledger.connection import Connection, connect
from longhaul.states import TERMINAL, Ending, State

T = TypeVar("T")
Rows = dict[UUID, dict[str, Any]]

EXAMPLES = int(os.environ.get("LONGHAUL_TEST_EXAMPLES", "0"))
SIDE_BY_SIDE = 6
RESOLVABLE = {"resolution", "updated_at"}
"""Columns of a finished job that may still change."""

QUEUES = (given.QUEUE, NARROW)
WORKERS = [
    Claimer(name="pod-1", tasks=(given.TASK, RARE)),
    # Without a limited task they take no turns.
    Claimer(name="pod-2", tasks=(given.TASK,)),
    Claimer(name="pod-3", tasks=(given.TASK,)),
]

numbers = st.integers(0, 11)
picks = st.lists(numbers, min_size=1, max_size=3)
endings = st.sampled_from(Ending)
wanted = st.builds(
    moves.Wanted,
    place=st.integers(0, len(moves.PLACES) - 1),
    priority=st.sampled_from([0, 0, 1, 9, -9]),
    retries_max=st.integers(0, 4),
    max_interruptions=st.integers(0, 4),
    delayed=st.sampled_from([False, False, False, True]),
    key=st.none() | st.integers(0, 2),
    body=st.integers(0, 1),
)
submits = st.builds(moves.Submit, st.lists(wanted, min_size=1, max_size=5))
backlogs = st.builds(moves.Submit, st.lists(wanted, min_size=4, max_size=8))
takes = st.builds(
    moves.Take,
    worker=st.sampled_from(WORKERS),
    queue=st.sampled_from(QUEUES),
    slots=st.integers(1, 3),
)
renewals = st.builds(moves.Renew, st.sampled_from(WORKERS), newest=st.booleans())
reports = st.builds(
    moves.Report,
    picks,
    types=st.lists(st.sampled_from(["progress", "log", "checkpoint"]), min_size=1, max_size=3, unique=True),
    fraction=st.sampled_from([0.25, 0.5, 0.75]),
)
ends = st.builds(moves.End, picks, endings, delay_seconds=st.sampled_from([0.0, 0.0, 3600.0]), checkpoint=st.booleans())
work = st.builds(moves.Work, takes, reports, ends)
cancels = st.builds(moves.Cancel, numbers, claimed=st.booleans())
expiries = st.builds(moves.LeasesRunOut, st.none() | numbers)
reaps = st.builds(moves.Reap, limit=st.integers(1, 5))
pauses = st.builds(moves.Pause, st.sampled_from(QUEUES), paused=st.sampled_from([False, False, True]))
replays = st.builds(moves.Replay, picks, dead_letters=st.booleans())
discards = st.builds(moves.Discard, picks)
delays = st.builds(moves.DelaysPass)
purges = st.builds(moves.Purge, everything=st.sampled_from([True, True, False]), limit=st.integers(1, 4))
anything = st.sampled_from(
    # Each as often as it is to be drawn.
    [submits] * 2
    + [takes] * 3
    + [work]
    + [reports] * 2
    + [renewals] * 2
    + [ends] * 3
    + [expiries]
    + [reaps] * 2
    + [cancels, pauses, replays, discards, purges, delays]
).flatmap(lambda drawn: drawn)


class Ledger:
    """A database with connections for all who move at once, and one to look with."""

    def __init__(self, database_url: str) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._url = database_url
        self._connections: list[Connection] = []

    def open(self) -> None:
        self._connections = [self.run(self._connect(f"test {i}")) for i in range(SIDE_BY_SIDE + 1)]

    async def _connect(self, name: str) -> Connection:
        return await self._stack.enter_async_context(await connect(self._url, application_name=name))

    def close(self) -> None:
        self.run(self._stack.aclose())
        self._runner.close()

    def run(self, what: Awaitable[T]) -> T:
        async def wait() -> T:
            return await what

        return self._runner.run(wait())

    @property
    def eye(self) -> Connection:
        return self._connections[-1]

    async def side_by_side(self, world: World, step: Sequence[moves.Move]) -> None:
        """Make these moves at once, each on a connection of its own."""
        made = [one.make(world, own) for one, own in zip(step, self._connections, strict=False)]
        for answer in await asyncio.gather(*made, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer

    async def empty(self) -> None:
        await self.eye.execute("TRUNCATE jobs, job_events, tasks, queues CASCADE")
        for queue in QUEUES:
            await given.limited_queue(self.eye, queue, QUEUE_LIMITS.get(queue))
        for task in (given.TASK, RARE):
            await given.limited_task(self.eye, task, TASK_LIMITS.get(task))

    async def read_limits(self) -> dict[str, Limits]:
        """What may run at once, by queue."""
        cursor = await self.eye.execute("SELECT name, paused_at IS NOT NULL AS paused, max_running FROM queues")
        return {row["name"]: Limits(row["paused"], row["max_running"], TASK_LIMITS) for row in await cursor.fetchall()}

    async def read(self) -> tuple[Rows, dict[UUID, list[dict[str, Any]]]]:
        """All jobs, and their histories."""
        cursor = await self.eye.execute("SELECT *, lease_expires_at < now() AS ran_out FROM jobs")
        rows = {row["id"]: row for row in await cursor.fetchall()}
        histories: dict[UUID, list[dict[str, Any]]] = {}
        cursor = await self.eye.execute(
            "SELECT job_id, seq, type, epoch, at, data FROM job_events ORDER BY job_id, seq"
        )
        for event in await cursor.fetchall():
            histories.setdefault(event["job_id"], []).append(event)
        return rows, histories


class Machine(RuleBasedStateMachine):
    """Steps of one or several moves, and what must hold after each."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self.ledger = ledger
        self.world = World()
        self.rows: Rows = {}
        self.histories: dict[UUID, list[dict[str, Any]]] = {}
        self.seen: set[UUID] = set()
        self.steps: list[Sequence[moves.Move]] = []
        self.holds = True
        ledger.run(ledger.empty())
        self.world.limits = ledger.run(ledger.read_limits())

    @initialize(first=backlogs, second=backlogs)
    def two_clients_submit(self, first: moves.Move, second: moves.Move) -> None:
        self.step(first, second)

    @rule(several=st.lists(anything, min_size=1, max_size=SIDE_BY_SIDE))
    def all_at_once(self, several: list[moves.Move]) -> None:
        self.step(*several)

    @rule(several=st.lists(takes, min_size=2, max_size=SIDE_BY_SIDE))
    def all_claim_at_once(self, several: list[moves.Move]) -> None:
        self.step(*several)

    @rule(alone=anything)
    def one_after_the_other(self, alone: moves.Move) -> None:
        """Where nothing else goes on there is one right answer."""
        self.step(alone)

    @rule(expiry=expiries, reapers=st.lists(reaps, min_size=2, max_size=2), after=takes, renewal=renewals)
    def an_owner_is_lost(
        self, expiry: moves.Move, reapers: list[moves.Move], after: moves.Move, renewal: moves.Move
    ) -> None:
        """Two reapers find it, another takes over, or the same one under a new epoch, and a twin wakes up."""
        self.step(expiry)
        self.step(*reapers)
        self.step(after)
        self.step(renewal)

    @rule(
        pick=numbers,
        several=st.lists(endings, min_size=1, max_size=3),
        expires=st.booleans(),
        cancels=st.integers(0, 2),
        reaps=st.booleans(),
        renewal=renewals,
    )
    def all_want_the_same_attempt(
        self, pick: int, several: list[Ending], expires: bool, cancels: int, reaps: bool, renewal: moves.Move
    ) -> None:
        """Its owner, and twins of it, end it differently, while it is cancelled, renewed, and reaped."""
        if expires:
            self.step(moves.LeasesRunOut(pick))
        others = [moves.Cancel(pick, claimed=True)] * cancels + [moves.Reap(5)] * reaps + [renewal]
        self.step(*(moves.End([pick], ending) for ending in several), *others)

    @rule(picks=picks, dead_letters=st.booleans())
    def all_want_the_same_letters(self, picks: list[int], dead_letters: bool) -> None:
        self.step(moves.Replay(picks, dead_letters=True), moves.Replay(picks, dead_letters), moves.Discard(picks))

    def step(self, *step: moves.Move) -> None:
        """Make these moves side by side; then look at the tables."""
        self.steps.append(step)
        self.world.step, self.world.purged = step, 0
        try:
            self.ledger.run(self.ledger.side_by_side(self.world, step))
            self.look()
        except BaseException:
            self.holds = False
            print(*self.steps, traceback.format_exc(), sep="\n")
            raise

    def look(self) -> None:
        """Hold the tables against what everyone was told, and against what they were before."""
        rows, histories = self.ledger.run(self.ledger.read())
        world, before = self.world, self.rows
        self._nothing_is_lost(rows)
        assert histories.keys() == rows.keys(), "a history without its job, or a job without history"
        owners: dict[UUID, dict[int, UUID]] = {}
        for worker, claim in world.claims:
            owners.setdefault(claim.job_id, {})[claim.epoch] = worker.id
        running = [row for row in rows.values() if row["state"] == State.RUNNING]
        for row in running:
            assert owners.get(row["id"], {}).get(row["epoch"]) == row["worker_id"], f"nobody was told to run {row}"
        for id, row in rows.items():
            known = self.histories.get(id, [])
            assert histories[id][: len(known)] == known, f"history was written anew: {known}, {histories[id]}"
            was = world.jobs.get(id) or story.submitted(row, world.sent[id].run_after)
            story.check(
                row,
                histories[id],
                before=was,
                known=len(known) or 1,
                owners=owners.get(id, {}),
                times_moved=self.times_moved,
            )
            if id in before:
                _follows(before[id], row)
        for task, limit in TASK_LIMITS.items():
            assert Counter(row["task"] for row in running)[task] <= limit, f"past the limit of {task}"
        for queue, limit in QUEUE_LIMITS.items():
            assert Counter(row["queue"] for row in running)[queue] <= limit, f"past the limit of {queue}"
        world.live = {(row["id"], row["epoch"]) for row in running}
        world.ran_out = {(row["id"], row["epoch"]) for row in running if row["ran_out"]}
        world.jobs = {id: story.job_of(row) for id, row in rows.items()}
        world.limits = self.ledger.run(self.ledger.read_limits())
        self.rows, self.histories = rows, histories

    @property
    def times_moved(self) -> bool:
        """Whether this step changed a row's times without an event."""
        return any(isinstance(move, moves.Renew | moves.LeasesRunOut | moves.DelaysPass) for move in self.world.step)

    def _nothing_is_lost(self, rows: Rows) -> None:
        there_before = self.rows.keys() | (self.world.accepted.keys() - self.seen)
        self.seen |= self.world.accepted.keys()
        assert rows.keys() <= there_before, "a job that nobody was answered for"
        purged = there_before - rows.keys()
        assert len(purged) == self.world.purged, f"lost, or counted wrongly: {purged}"
        for id in purged:
            assert id in self.world.over, f"deleted before it ended: {id}"
            assert self.world.over[id] is not State.DEAD or id in self.world.resolved, f"a dead letter was lost: {id}"

    def teardown(self) -> None:
        """I1: whatever happened, everything that was accepted can be brought to its end."""
        if not self.holds:
            return
        self.step(*(moves.Pause(queue, paused=False) for queue in QUEUES))
        self.step(moves.LeasesRunOut(None))
        self.step(moves.Reap(len(self.rows) + 1))
        while open_jobs := [row for row in self.rows.values() if State(row["state"]) not in TERMINAL]:
            self.step(moves.DelaysPass())
            takes = [moves.Take(WORKERS[0], queue, slots=len(open_jobs)) for queue in QUEUES]
            reports = moves.Report([], ["log"], 0.5)
            self.step(*(moves.Work(take, reports, moves.End([], Ending.SUCCEEDED)) for take in takes))
            left = sum(State(row["state"]) not in TERMINAL for row in self.rows.values())
            assert left < len(open_jobs), f"these jobs never end: {open_jobs}"


def _follows(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Raise AssertionError where a row can't have become another."""
    for column in ("epoch", "event_seq", "retries", "interruptions", "updated_at"):
        assert after[column] >= before[column], f"{column} shrank: {before}, {after}"
    changed = {column for column in before if before[column] != after[column]}
    if State(before["state"]) in TERMINAL:
        assert changed <= RESOLVABLE, f"changed after its end: {before}, {after}"
        assert after["resolution"] or not before["resolution"], f"came back as a dead letter: {before}"


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    ledger = Ledger(database_url)
    ledger.open()
    yield ledger
    ledger.close()


@pytest.mark.timeout(0 if EXAMPLES else 300)
def test_whoever_comes_together_no_invariant_breaks(ledger: Ledger) -> None:
    run_state_machine_as_test(
        lambda: Machine(ledger),  # type: ignore[arg-type]  # it takes any factory
        settings=settings(
            max_examples=EXAMPLES or 50,
            stateful_step_count=40,
            derandomize=not EXAMPLES,
            database=None,
            deadline=None,
            print_blob=True,
            report_multiple_bugs=False,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
