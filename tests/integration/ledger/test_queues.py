"""The figures of queues: what is due, how long it waits, who serves it, what runs where."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer

from longhaul.contract import QueueView
from longhaul.ledger import queues, workers
from longhaul.ledger.connection import Connection
from longhaul.ledger.workers import Worker
from longhaul.states import Ending

pytestmark = pytest.mark.anyio


async def figures(connection: Connection, name: str = given.QUEUE, *, threshold: int = 100) -> dict[str, Any]:
    (view,) = await queues.read(connection, lease_seconds=15, threshold=threshold, name=name)
    return QueueView.model_validate(view).model_dump()


async def served(connection: Connection, *names: str, slots: int = 4, pool: str = "default", **facts: Any) -> Claimer:
    claimer = Claimer(**facts)
    await workers.register(
        connection,
        Worker(id=claimer.id, name="pod", pool=pool, queues=names or (given.QUEUE,), slots=slots, version="1"),
    )
    return claimer


async def test_an_empty_queue_is_healthy(connection: Connection) -> None:
    assert await figures(connection) == {
        "name": given.QUEUE,
        "paused": False,
        "max_running": None,
        "waiting": 0,
        "delayed": 0,
        "running": 0,
        "oldest_wait_seconds": 0,
        "workers_online": 0,
        "slots": 0,
        "slots_free": 0,
        "threshold": 100,
        "healthy": True,
        "problems": [],
    }
    assert await queues.read(connection, lease_seconds=15, threshold=1, name="unknown") == []


async def test_work_is_counted_by_what_it_waits_for(connection: Connection) -> None:
    claimer = await served(connection, slots=4)
    ids = await given.queued(connection, 5)
    await given.queued(connection, 2, run_after=datetime.now(UTC) + timedelta(hours=1))
    await given.finished(connection, Ending.SUCCEEDED, queue=given.QUEUE, priority=9)
    await claimer.claim(connection, slots=2)
    await given.waited(connection, ids[3], 500)
    shown = await figures(connection)
    assert (shown["waiting"], shown["delayed"], shown["running"]) == (3, 2, 2)
    assert 500 <= shown["oldest_wait_seconds"] < 520
    assert (shown["workers_online"], shown["slots"], shown["slots_free"]) == (1, 4, 2)
    assert shown["healthy"]


async def test_only_workers_that_are_heard_of_and_stay_count(connection: Connection) -> None:
    silent, leaving = await served(connection, slots=8), await served(connection, slots=16)
    await served(connection, "elsewhere", slots=32)
    await served(connection, given.QUEUE, "elsewhere", slots=2)
    await connection.execute("UPDATE workers SET seen_at = now() - interval '16 seconds' WHERE id = %s", (silent.id,))
    await workers.beat(connection, leaving.id, draining=True)
    shown = await figures(connection)
    assert (shown["workers_online"], shown["slots"]) == (1, 2)
    assert (await figures(connection, "elsewhere"))["slots"] == 34


async def test_a_slot_is_busy_whatever_queue_it_serves(connection: Connection) -> None:
    claimer = await served(connection, given.QUEUE, "elsewhere", slots=3)
    await given.queued(connection, 2, queue="elsewhere")
    await claimer.claim(connection, queue="elsewhere", slots=2)
    assert (await figures(connection))["slots_free"] == 1


async def test_a_queue_says_what_is_wrong_with_it(connection: Connection) -> None:
    await given.queued(connection, 3)
    shown = await figures(connection, threshold=3)
    assert (shown["healthy"], shown["problems"]) == (False, ["jobs wait, and no worker is online"])
    await served(connection)
    assert (await figures(connection, threshold=3))["healthy"]
    assert (await figures(connection, threshold=2))["problems"] == ["more than 2 jobs wait"]


async def test_nobody_need_serve_a_paused_queue(connection: Connection) -> None:
    await given.queued(connection)
    await queues.pause(connection, given.QUEUE, paused=True)
    shown = await figures(connection)
    assert (shown["paused"], shown["healthy"]) == (True, True)


async def test_pause_and_limit_tell_whether_there_is_such_a_queue(connection: Connection) -> None:
    assert await queues.pause(connection, given.QUEUE, paused=True)
    assert await queues.pause(connection, given.QUEUE, paused=True)
    assert await queues.limit(connection, given.QUEUE, max_running=3)
    assert (await figures(connection))["max_running"] == 3
    assert not await queues.pause(connection, "unknown", paused=True)
    assert not await queues.limit(connection, "unknown", max_running=3)


async def test_a_known_queue_keeps_its_pause_and_limit_when_it_is_declared_again(connection: Connection) -> None:
    await given.limited_queue(connection, given.QUEUE, 3)
    await queues.pause(connection, given.QUEUE, paused=True)
    await queues.declare(connection, [given.QUEUE, "other", "other"])
    shown = await figures(connection)
    assert (shown["paused"], shown["max_running"]) == (True, 3)
    assert await queues.read_names(connection) == {given.QUEUE, "other"}


async def test_running_jobs_are_told_by_pool_less_those_on_pods_that_go(connection: Connection) -> None:
    a, b = await served(connection, pool="cpu"), await served(connection, pool="gpu")
    going = await served(connection, pool="cpu")
    await served(connection, pool="idle")
    await given.queued(connection, 6)
    mine = {str(claim.job_id) for claim in await a.claim(connection, slots=2)}
    theirs = {str(claim.job_id) for claim in await b.claim(connection, slots=1)}
    await going.claim(connection, slots=2)
    await workers.beat(connection, going.id, draining=True)
    running = {pool: set(ids) for pool, ids in (await queues.read_running_by_pool(connection)).items()}
    assert running == {"cpu": mine, "gpu": theirs, "idle": set()}


# Workers.


async def test_a_worker_is_listed_while_it_is_there(connection: Connection) -> None:
    claimer = await served(connection, slots=2)
    await given.queued(connection)
    await claimer.claim(connection)
    (shown,) = await workers.list_workers(connection, lease_seconds=15)
    assert (shown["id"], shown["pool"], shown["queues"], shown["slots"]) == (claimer.id, "default", [given.QUEUE], 2)
    assert (shown["running"], shown["online"], shown["draining"]) == (1, True, False)
    assert await workers.beat(connection, claimer.id, draining=True)
    (shown,) = await workers.list_workers(connection, lease_seconds=15)
    assert shown["draining"]
    await workers.leave(connection, claimer.id)
    assert await workers.list_workers(connection, lease_seconds=15) == []
    assert not await workers.beat(connection, claimer.id, draining=False)
    assert not await workers.beat(connection, uuid4(), draining=False)


async def test_a_silent_worker_is_forgotten_only_once_it_holds_nothing(connection: Connection) -> None:
    busy, idle, fresh = [await served(connection) for _ in range(3)]
    await given.queued(connection)
    claim = await busy.claim_one(connection)
    await connection.execute(
        "UPDATE workers SET seen_at = now() - interval '2 hours' WHERE id = ANY(%s)", ([busy.id, idle.id],)
    )
    shown = {one["id"]: one["online"] for one in await workers.list_workers(connection, lease_seconds=15)}
    assert shown == {busy.id: False, idle.id: False, fresh.id: True}
    assert await workers.forget(connection, silent_seconds=3600) == 1
    await given.ended(connection, claim, Ending.SUCCEEDED)
    assert await workers.forget(connection, silent_seconds=3600) == 1
    (left,) = await workers.list_workers(connection, lease_seconds=15)
    assert left["id"] == fresh.id


async def test_a_worker_that_registers_again_is_there_again(connection: Connection) -> None:
    claimer = await served(connection)
    await workers.beat(connection, claimer.id, draining=True)
    await connection.execute("UPDATE workers SET seen_at = now() - interval '1 hour'")
    worker = Worker(id=claimer.id, name="pod", pool="default", queues=[given.QUEUE], slots=4, version="1")
    await workers.register(connection, worker)
    (shown,) = await workers.list_workers(connection, lease_seconds=15)
    assert (shown["online"], shown["draining"]) == (True, False)
