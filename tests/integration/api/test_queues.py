"""Queues, workers and tasks: what there is, how it does, and what an administrator may change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.integration.api.harness import Api, Keeper, serving

from longhaul.contract import QueueView, TaskView, WorkerView
from longhaul.ledger import queues
from longhaul.ledger.connection import connect
from longhaul_api.settings import ApiSettings

pytestmark = pytest.mark.anyio


async def queue(api: Api, name: str = "default") -> QueueView:
    answer = await api.client.get(f"/v1/queues/{name}")
    assert answer.status_code == 200
    return QueueView.model_validate_json(answer.content, strict=True)


async def test_a_queue_tells_its_figures(api: Api, keeper: Keeper) -> None:
    empty = await queue(api)
    assert (empty.waiting, empty.delayed, empty.running, empty.oldest_wait_seconds) == (0, 0, 0, 0)
    assert (empty.workers_online, empty.slots, empty.slots_free) == (1, 2, 2)
    for _ in range(3):
        await api.submit()
    await api.submit(run_after=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    await keeper.claim()
    busy = await queue(api)
    assert (busy.waiting, busy.delayed, busy.running, busy.slots_free) == (2, 1, 1, 1)
    assert 0 < busy.oldest_wait_seconds < 30
    assert (busy.healthy, busy.problems) == (True, [])
    listed = [QueueView.model_validate(one) for one in (await api.client.get("/v1/queues")).json()]
    assert [(one.name, one.waiting) for one in listed] == [("default", 2), ("printing", 0)]


async def test_a_queue_is_unhealthy_past_its_threshold_and_where_nobody_serves_it(
    settings: ApiSettings, keeper: Keeper
) -> None:
    async with serving(settings.model_copy(update={"queue_threshold": 2})) as api:
        for _ in range(3):
            await api.submit()
        deep = await queue(api)
        assert (deep.threshold, deep.healthy, deep.problems) == (2, False, ["more than 2 jobs wait"])
        await keeper.claim()
        assert (await queue(api)).healthy
        await api.submit(queue="printing")
        unserved = await queue(api, "printing")
        assert (unserved.healthy, unserved.problems) == (False, ["jobs wait, and no worker is online"])
        await api.client.post("/v1/queues/printing/pause")
        assert (await queue(api, "printing")).healthy  # someone wants it so


async def test_a_worker_that_was_not_heard_of_for_a_lease_is_not_there(api: Api, keeper: Keeper) -> None:
    (worker,) = [WorkerView.model_validate(one) for one in (await api.client.get("/v1/workers")).json()]
    assert (worker.id, worker.name, worker.pool, worker.queues) == (keeper.worker_id, "keeper", "test", ["default"])
    assert (worker.online, worker.draining, worker.slots, worker.running) == (True, False, 2, 0)
    await api.submit()
    await keeper.claim()
    await keeper.connection.execute("UPDATE workers SET seen_at = now() - interval '16 seconds'")
    (silent,) = (await api.client.get("/v1/workers")).json()
    assert (silent["online"], silent["running"]) == (False, 1)
    there = await queue(api)
    assert (there.workers_online, there.slots, there.slots_free) == (0, 0, 0)


async def test_a_paused_queue_takes_jobs_and_starts_none(api: Api, keeper: Keeper, settings: ApiSettings) -> None:
    paused = await api.client.post("/v1/queues/default/pause")
    assert (paused.status_code, paused.json()["paused"]) == (200, True)
    job = await api.submit()
    with pytest.raises(IndexError):
        await keeper.claim()
    async with await connect(settings.database_url, application_name="test") as connection:
        assert (await queues.count_due(connection))["default"] == 0  # nobody rings for what nobody may start
    twice = await api.client.post("/v1/queues/default/pause")
    assert twice.json()["paused"] is True
    resumed = await api.client.post("/v1/queues/default/resume")
    assert (resumed.json()["paused"], resumed.json()["waiting"]) == (False, 1)
    assert str((await keeper.claim()).job_id) == job["id"]


async def test_a_limit_is_kept_at_the_claim_and_can_be_taken_away(api: Api, keeper: Keeper) -> None:
    for _ in range(2):
        await api.submit()
    limited = await api.client.patch("/v1/queues/default", json={"max_running": 1})
    assert (limited.status_code, limited.json()["max_running"]) == (200, 1)
    await keeper.claim()
    with pytest.raises(IndexError):
        await keeper.claim()
    freed = await api.client.patch("/v1/queues/default", json={"max_running": None})
    assert freed.json()["max_running"] is None
    await keeper.claim()


async def test_a_limit_that_can_not_be_is_refused(api: Api) -> None:
    wrong: list[Any] = [
        {},
        {"max_running": 0},
        {"max_running": -1},
        {"max_running": 2**31},
        {"max_running": "1"},
        [],
        {"paused": True},
    ]
    for body in wrong:
        answer = await api.client.patch("/v1/queues/default", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), body
    typed = await api.client.patch("/v1/queues/default", content=b"{}", headers={"Content-Type": "text/json"})
    assert typed.status_code == 415


async def test_tasks_come_with_their_schemas(api: Api) -> None:
    tasks = [TaskView.model_validate(one) for one in (await api.client.get("/v1/tasks")).json()]
    assert [task.name for task in tasks] == ["report.print", "report.write"]
    write = tasks[1]
    assert (write.description, write.queue, write.timeout_seconds, write.soft_timeout_seconds) == (
        "Write a report.", "default", 60, 50,
    )  # fmt: skip
    assert write.params_schema["required"] == ["text"]
    assert write.params_schema["properties"]["pages"]["minimum"] == 1
    assert write.result_schema["type"] == "object"
