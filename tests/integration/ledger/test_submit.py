"""A submit is one job, or the one that the same key made before: whoever asks, and how many at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.integration.ledger import given
from tests.waiting import eventually

from longhaul.ledger import events, jobs, queues
from longhaul.ledger.connection import Connection
from longhaul.states import Ending

pytestmark = pytest.mark.anyio

ONE_DIGEST, OTHER_DIGEST = jobs.digest({"rows": 3}), jobs.digest({"rows": 4})


def keyed(key: str, **facts: Any) -> jobs.NewJob:
    return given.new_job(**{"idempotency_key": key, "request_digest": ONE_DIGEST, **facts})


async def count(connection: Connection) -> tuple[int, int]:
    """How many jobs there are, and how many events."""
    cursor = await connection.execute("SELECT (SELECT count(*) FROM jobs) AS j, (SELECT count(*) FROM job_events) AS e")
    found = await cursor.fetchone()
    assert found is not None
    return found["j"], found["e"]


async def test_a_submitted_job_is_there_with_its_first_event(connection: Connection) -> None:
    job = given.new_job(params={"rows": [1, None, "ü"]}, metadata={"for": "test"}, trace_context="00-ab-cd-01")
    (submitted,) = await jobs.submit(connection, [job])
    assert not submitted.is_replay
    assert not submitted.is_conflict
    view = jobs.view(submitted.row)
    assert (view["id"], view["state"], view["attempt"], view["last_event_id"]) == (job.id, "queued", 0, 1)
    assert (view["params"], view["metadata"]) == ({"rows": [1, None, "ü"]}, {"for": "test"})
    assert view["run_after"] == view["created_at"] == view["updated_at"]
    (event,) = await events.read(connection, job.id, after=0)
    assert (event["id"], event["type"], event["attempt"]) == (1, "queued", 0)


async def test_a_batch_is_answered_in_its_order_and_runs_in_it(connection: Connection) -> None:
    batch = [given.new_job() for _ in range(500)]
    batch[::3] = [keyed(f"k{i}") for i in range(len(batch[::3]), 0, -1)]
    answers = await jobs.submit(connection, batch)
    assert [one.row["id"] for one in answers] == [job.id for job in batch]
    claims = await given.Claimer().claim(connection, slots=50)
    assert [claim.job_id for claim in claims] == sorted(job.id for job in batch)[:50]


async def test_the_same_key_and_request_is_the_same_job(connection: Connection) -> None:
    (first,) = await jobs.submit(connection, [keyed("k")])
    (again,) = await jobs.submit(connection, [keyed("k")])
    assert (again.row["id"], again.is_replay, again.is_conflict) == (first.row["id"], True, False)
    assert await count(connection) == (1, 1)


async def test_the_same_key_answers_with_the_job_as_it_stands_now(connection: Connection) -> None:
    (first,) = await jobs.submit(connection, [keyed("k")])
    await given.ended(connection, await given.Claimer().claim_one(connection), Ending.SUCCEEDED)
    (again,) = await jobs.submit(connection, [keyed("k")])
    assert (again.row["id"], again.row["state"]) == (first.row["id"], "succeeded")


async def test_the_same_key_and_another_request_is_a_conflict(connection: Connection) -> None:
    (first,) = await jobs.submit(connection, [keyed("k")])
    (other,) = await jobs.submit(connection, [keyed("k", request_digest=OTHER_DIGEST)])
    assert (other.row["id"], other.is_replay, other.is_conflict) == (first.row["id"], False, True)
    assert await count(connection) == (1, 1)


async def test_a_key_is_its_tenants_own(connection: Connection) -> None:
    answers = await jobs.submit(connection, [keyed("k"), keyed("k", tenant="other")])
    assert [one.is_replay for one in answers] == [False, False]
    assert await count(connection) == (2, 2)


async def test_a_batch_may_hold_a_key_twice_and_known_ones(connection: Connection) -> None:
    (known,) = await jobs.submit(connection, [keyed("known")])
    a, b = keyed("a"), keyed("b")
    answers = await jobs.submit(
        connection, [a, keyed("known"), b, keyed("a"), keyed("b", request_digest=OTHER_DIGEST), given.new_job()]
    )
    assert [(one.row["id"], one.is_replay, one.is_conflict) for one in answers[:5]] == [
        (a.id, False, False),
        (known.row["id"], True, False),
        (b.id, False, False),
        (a.id, True, False),
        (b.id, False, True),
    ]
    assert await count(connection) == (4, 4)


@pytest.mark.parametrize("attempt", range(5))
async def test_the_same_key_from_many_connections_at_once_is_one_job(
    connection: Connection, connections: list[Connection], attempt: int
) -> None:
    requests = [[keyed(f"k{attempt}"), given.new_job()] for _ in range(20)]
    answers = await asyncio.gather(*(jobs.submit(connections[i % 10], request) for i, request in enumerate(requests)))
    assert len({both[0].row["id"] for both in answers}) == 1
    assert sorted(both[0].is_replay for both in answers) == [False, *[True] * 19]
    assert await count(connection) == (21, 21)


async def test_the_same_keys_in_another_order_never_wait_in_a_circle(
    connection: Connection, connections: list[Connection]
) -> None:
    """A third submit holds the key in the middle until both wait: unsorted, each would then want the other's."""
    first, second, holder = connections[:3]
    batch = [keyed(key) for key in ("a", "b", "c")]
    async with holder.transaction():
        await jobs.submit(holder, [keyed("b")])
        waiting = [
            asyncio.create_task(jobs.submit(first, batch)),
            asyncio.create_task(
                jobs.submit(second, [replace(keyed(job.idempotency_key or "")) for job in batch[::-1]])
            ),
        ]

        async def both_wait() -> bool:
            cursor = await connection.execute(
                "SELECT count(*) = 2 AS wait FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            return bool((await cursor.fetchone() or {})["wait"])

        await eventually(both_wait, what="both submits wait for the key that a third one holds")
    answers = await asyncio.gather(*waiting)
    assert {one.row["id"] for one in answers[0]} == {one.row["id"] for one in answers[1]}
    assert await count(connection) == (3, 3)


async def test_a_job_for_later_is_not_due_before(connection: Connection) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    (submitted,) = await jobs.submit(connection, [given.new_job(run_after=later)])
    assert submitted.row["run_after"] == later
    assert (await queues.count_due(connection))[given.QUEUE] == 0
    assert await given.Claimer().claim(connection) == []


async def test_a_time_that_has_passed_buys_no_place_in_the_queue(connection: Connection) -> None:
    (first,) = await given.queued(connection)
    (second,) = await given.queued(connection, run_after=datetime(2001, 1, 1, tzinfo=UTC))
    claims = await given.Claimer().claim(connection, slots=2)
    assert [claim.job_id for claim in claims] == [first, second]
    assert claims[1].waited_seconds < 60


def test_a_digest_is_of_the_meaning_not_of_the_order_of_keys() -> None:
    assert jobs.digest({"a": 1, "b": {"c": 2, "d": 3}}) == jobs.digest({"b": {"d": 3, "c": 2}, "a": 1})
    assert jobs.digest({"a": 1}) != jobs.digest({"a": 2})
    assert jobs.digest({"a": [1, 2]}) != jobs.digest({"a": [2, 1]})
    assert len(bytes.fromhex(jobs.digest({}))) == 32
