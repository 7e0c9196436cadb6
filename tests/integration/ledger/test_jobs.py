"""What clients do to jobs: read, list, cancel, replay, discard; and what retention leaves of them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer

from longhaul.contract import JobView
from longhaul.ids import new_job_id
from longhaul.ledger import events, jobs, retention
from longhaul.ledger.connection import Connection
from longhaul.states import Ending, State

pytestmark = pytest.mark.anyio


async def listed(connection: Connection, **filters: Any) -> list[UUID]:
    return [row["id"] for row in await jobs.list_jobs(connection, **{"tenant": None, **filters})]


async def replayed(connection: Connection, *origins: UUID, dead_letters: bool = False) -> list[dict[str, Any]]:
    return await jobs.replay(
        connection,
        {origin: new_job_id() for origin in origins},
        submitted_by="admin",
        trace_context="00-ab-cd-01",
        dead_letters=dead_letters,
    )


async def one_in_each_state(connection: Connection) -> dict[State, UUID]:
    """A job in every state that a job can be in."""
    succeeded = await given.finished(connection, Ending.SUCCEEDED)
    failed = await given.finished(connection, Ending.PERMANENT)
    dead = await given.dead(connection)
    (cancelled,) = await given.queued(connection)
    await jobs.cancel(connection, cancelled)
    (running,) = await given.queued(connection)
    await Claimer().claim_one(connection)
    queued, waiting = await given.queued(connection, 2)
    await connection.execute("UPDATE jobs SET state = 'waiting' WHERE id = %s", (waiting,))
    return {
        State.SUCCEEDED: succeeded,
        State.FAILED: failed,
        State.DEAD: dead,
        State.CANCELLED: cancelled,
        State.RUNNING: running,
        State.QUEUED: queued,
        State.WAITING: waiting,
    }


async def test_every_job_can_be_shown(connection: Connection) -> None:
    made = await one_in_each_state(connection)
    assert set(made) == set(State)
    rows = await jobs.read(connection, [*made.values(), uuid4()])
    assert set(rows) == set(made.values())
    for state, id in made.items():
        shown = JobView.model_validate(jobs.view(rows[id]))
        assert (shown.id, shown.state) == (id, state)
        assert (shown.error is not None) == (state in (State.FAILED, State.DEAD))
        result = await jobs.read_result(connection, id)
        assert result == {
            "tenant": "acme",
            "state": state,
            "result": '{"total": 6}' if state is State.SUCCEEDED else None,
            "stored": None,
        }
    assert await jobs.read_result(connection, uuid4()) is None


async def test_a_list_is_newest_first_and_goes_on_where_the_last_page_ended(connection: Connection) -> None:
    ids = await given.queued(connection, 7)
    pages = []
    before = None
    while page := await listed(connection, before=before, limit=3):
        pages.append(page)
        before = page[-1]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [id for page in pages for id in page] == ids[::-1]


async def test_a_list_holds_what_its_filters_say(connection: Connection) -> None:
    made = await one_in_each_state(connection)
    for state, id in made.items():
        assert await listed(connection, states=[state]) == [id]
    both = await listed(connection, states=[State.QUEUED, State.RUNNING])
    assert both == [made[State.QUEUED], made[State.RUNNING]]
    (theirs,) = await given.queued(connection, tenant="other")
    assert await listed(connection, tenant="other") == [theirs]
    assert theirs not in await listed(connection, tenant="acme")
    (elsewhere,) = await given.queued(connection, queue="elsewhere", task="other.work")
    assert await listed(connection, queue="elsewhere") == [elsewhere]
    assert await listed(connection, task="other.work") == [elsewhere]
    assert await listed(connection, task="other.work", queue=given.QUEUE) == []
    await given.waited(connection, elsewhere, 7 * 24 * 3600)
    created = (await given.row(connection, elsewhere))["created_at"]
    assert await listed(connection, until=created + timedelta(minutes=1)) == [elsewhere]
    assert await listed(connection, since=created, until=created) == []
    assert elsewhere not in await listed(connection, since=created + timedelta(minutes=1))


async def test_dead_letters_are_what_died_and_nobody_resolved(connection: Connection) -> None:
    made = await one_in_each_state(connection)
    discarded, replayed_one = await given.dead(connection), await given.dead(connection)
    await jobs.discard(connection, [discarded])
    await replayed(connection, replayed_one)
    assert await listed(connection, dead_letters=True) == [made[State.DEAD]]


# Cancel.


@pytest.mark.parametrize("state", list(State))
async def test_a_cancel_ends_what_nobody_runs_and_asks_what_runs(connection: Connection, state: State) -> None:
    id = (await one_in_each_state(connection))[state]
    before = await given.row(connection, id)
    row = await jobs.cancel(connection, id)
    after = await given.row(connection, id)
    last = (await events.read(connection, id, after=0))[-1]
    if state in (State.QUEUED, State.WAITING):
        assert row is not None
        assert (row["state"], last["type"]) == ("cancelled", "cancelled")
        assert after["finished_at"] is not None
    elif state is State.RUNNING:
        assert row is not None
        assert (row["state"], last["type"]) == ("running", "cancel_requested")
        assert jobs.view(row)["cancel_requested"]
    else:
        assert row is None
        assert after == before
    assert last["id"] == after["event_seq"]
    assert await jobs.cancel(connection, id) is None  # asked before, or ended: nothing changes
    assert await given.row(connection, id) == after


async def test_a_cancel_of_nothing_is_nothing(connection: Connection) -> None:
    assert await jobs.cancel(connection, uuid4()) is None


async def test_of_many_cancels_at_once_one_counts(connection: Connection, connections: list[Connection]) -> None:
    (id,) = await given.queued(connection)
    answers = await asyncio.gather(*(jobs.cancel(own, id) for own in connections))
    assert sum(answer is not None for answer in answers) == 1
    assert len(await events.read(connection, id, after=0)) == 2


async def test_a_cancel_and_a_claim_at_once_leave_no_cancelled_job_running(
    connection: Connection, connections: list[Connection]
) -> None:
    for _ in range(30):
        (id,) = await given.queued(connection)
        row, claims = await asyncio.gather(jobs.cancel(connections[0], id), Claimer().claim(connections[1]))
        assert row is not None
        assert row["state"] == ("running" if claims else "cancelled")
        if claims:
            ended = await given.ended(connection, claims[0], Ending.HANDED_OVER)
            assert ended is not None
            assert ended.state == "cancelled"


# Replay and discard.


@pytest.mark.parametrize("state", list(State))
async def test_only_what_failed_or_died_can_be_replayed(connection: Connection, state: State) -> None:
    id = (await one_in_each_state(connection))[state]
    before = await given.row(connection, id)
    made = await replayed(connection, id)
    after = await given.row(connection, id)
    if state not in (State.FAILED, State.DEAD):
        assert made == []
        assert after == before
        return
    (replay,) = made
    assert (after["state"], after["resolution"], after["event_seq"]) == (state, "replayed", before["event_seq"])
    new = await given.row(connection, replay["id"])
    assert (new["state"], new["origin_id"], new["submitted_by"], new["epoch"]) == ("queued", id, "admin", 0)
    same = ("tenant", "task", "queue", "priority", "params", "metadata", "retries_max", "timeout_seconds")
    assert {name: new[name] for name in same} == {name: before[name] for name in same}
    assert (new["retries"], new["interruptions"], new["error"], new["idempotency_key"]) == (0, 0, None, None)
    (event,) = await events.read(connection, new["id"], after=0)
    assert (event["type"], event["data"]) == ("queued", {"origin_id": str(id)})


async def test_many_replays_are_one_statement(connection: Connection) -> None:
    dead = [await given.dead(connection) for _ in range(3)]
    (queued,) = await given.queued(connection)
    made = await replayed(connection, *dead, queued, uuid4())
    assert {row["origin_id"] for row in made} == set(dead)


async def test_a_dead_letter_is_replayed_once_however_many_ask_at_once(
    connection: Connection, connections: list[Connection]
) -> None:
    dead = [await given.dead(connection) for _ in range(5)]
    answers = await asyncio.gather(*(replayed(own, *dead, dead_letters=True) for own in connections))
    assert sorted(row["origin_id"] for rows in answers for row in rows) == sorted(dead)
    discarded = await given.dead(connection)
    await jobs.discard(connection, [discarded])
    assert await replayed(connection, discarded, dead_letters=True) == []


async def test_only_dead_letters_are_discarded_and_only_once(connection: Connection) -> None:
    made = await one_in_each_state(connection)
    assert await jobs.discard(connection, [*made.values(), uuid4()]) == [made[State.DEAD]]
    assert await jobs.discard(connection, list(made.values())) == []
    assert (await given.row(connection, made[State.DEAD]))["resolution"] == "discarded"


# Retention.


async def test_a_purge_takes_what_ended_long_ago_with_its_history(connection: Connection) -> None:
    made = await one_in_each_state(connection)
    assert await retention.purge(connection, older_than_seconds=3600) == 0
    await connection.execute("UPDATE jobs SET finished_at = finished_at - interval '2 hours'")
    young = await finished_now(connection)
    assert await retention.purge(connection, older_than_seconds=3600) == 3
    kept = {young, *(made[state] for state in (State.WAITING, State.QUEUED, State.RUNNING, State.DEAD))}
    assert set(await listed(connection)) == kept
    cursor = await connection.execute("SELECT DISTINCT job_id FROM job_events")
    assert {row["job_id"] for row in await cursor.fetchall()} == kept


async def finished_now(connection: Connection) -> UUID:
    (id,) = await given.queued(connection, priority=9)
    claim = await Claimer().claim_one(connection)
    await given.ended(connection, claim, Ending.SUCCEEDED)
    return id


async def test_a_dead_letter_stays_until_it_is_resolved(connection: Connection) -> None:
    first, second = await given.dead(connection), await given.dead(connection)
    await connection.execute("UPDATE jobs SET finished_at = finished_at - interval '1 year'")
    assert await retention.purge(connection, older_than_seconds=60) == 0
    await jobs.discard(connection, [first])
    assert await retention.purge(connection, older_than_seconds=60) == 1
    assert await listed(connection) == [second]


async def test_a_purge_is_in_bites_oldest_first_and_several_never_take_the_same(
    connection: Connection, connections: list[Connection]
) -> None:
    ids = await given.queued(connection, 30)
    for i, id in enumerate(ids):
        await jobs.cancel(connection, id)
        await connection.execute(
            "UPDATE jobs SET finished_at = finished_at - make_interval(mins => %s) WHERE id = %s", (1000 - i, id)
        )
    assert await retention.purge(connection, older_than_seconds=0, limit=4) == 4
    assert await listed(connection) == ids[:3:-1]
    purged = await asyncio.gather(*(retention.purge(own, older_than_seconds=0, limit=5) for own in connections))
    while sum(purged) < 26 and (more := await retention.purge(connection, older_than_seconds=0, limit=5)):
        purged.append(more)
    assert sum(purged) == 26
    assert await listed(connection) == []


async def test_a_key_is_free_again_after_its_job_was_purged(connection: Connection) -> None:
    (first,) = await jobs.submit(connection, [given.new_job(idempotency_key="k", request_digest="00")])
    await jobs.cancel(connection, first.row["id"])
    await retention.purge(connection, older_than_seconds=0)
    (second,) = await jobs.submit(connection, [given.new_job(idempotency_key="k", request_digest="00")])
    assert not second.is_replay


async def test_a_purge_leaves_what_is_written_at_the_same_moment(
    connection: Connection, connections: list[Connection]
) -> None:
    dead = await given.dead(connection)
    await connection.execute("UPDATE jobs SET finished_at = finished_at - interval '1 year'")
    async with connections[0].transaction():
        assert await jobs.discard(connections[0], [dead]) == [dead]
        assert await retention.purge(connection, older_than_seconds=0) == 0
    assert await retention.purge(connection, older_than_seconds=0) == 1
