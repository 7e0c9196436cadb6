"""The API in front of a real worker: what clients see of a job that runs, and how a cancel reaches it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests import servers
from tests.integration.api.harness import Api, EventStream, api_settings
from tests.pods import platform

from longhaul_api.settings import ApiSettings

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def settings(
    file_database_url: str, redis_server: servers.RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiSettings]:
    """Of an API beside a worker pod."""
    urls = file_database_url, redis_server.redis_url()
    with platform(*urls, tmp_path_factory.mktemp("worker"), LONGHAUL_CANCEL_GRACE_SECONDS="1") as below:
        below.start_worker()
        yield api_settings(*urls)


async def submit(api: Api, **params: Any) -> str:
    answer = await api.client.post("/v1/jobs", json={"task": "demo.sleep", "params": params})
    assert answer.status_code == 202, answer.text
    id: str = answer.json()["id"]
    return id


async def test_a_job_is_seen_from_submit_to_result(api: Api) -> None:
    job = await submit(api, seconds=0.2, steps=2, log_lines=2, payload=["é", None])
    stream = await EventStream.open(api.port, f"/v1/jobs/{job}/events")
    events = await stream.rest()
    assert [int(event["id"]) for event in events] == list(range(1, len(events) + 1))
    assert (events[0]["event"], events[1]["event"], events[-1]["event"]) == ("queued", "started", "succeeded")
    view = await api.job(job)
    assert (view["state"], view["progress"]["fraction"], view["last_event_id"]) == ("succeeded", 1, len(events))
    assert (await api.client.get(f"/v1/jobs/{job}/result")).json()["result"]["echo"] == ["é", None]
    assert len((await api.client.get(f"/v1/jobs/{job}/logs")).json()) == 2
    assert [one["ending"] for one in (await api.client.get(f"/v1/jobs/{job}/attempts")).json()] == ["succeeded"]


async def running(api: Api, **params: Any) -> tuple[str, EventStream]:
    job = await submit(api, seconds=60, steps=600, **params)
    stream = await EventStream.open(api.port, f"/v1/jobs/{job}/events")
    while (event := await stream.next()) and event["event"] != "started":
        pass
    return job, stream


async def test_a_cancel_is_first_asked_for(api: Api) -> None:
    job, stream = await running(api)
    asked = await api.client.post(f"/v1/jobs/{job}/cancel")
    assert (asked.status_code, asked.json()["state"], asked.json()["cancel_requested"]) == (202, "running", True)
    types = [event["event"] for event in await stream.rest()]
    assert "cancel_requested" in types
    assert types[-1] == "cancelled"
    (attempt,) = (await api.client.get(f"/v1/jobs/{job}/attempts")).json()
    assert (attempt["ending"], attempt["evidence"]) == ("cancelled", None)  # by itself
    again = await api.client.post(f"/v1/jobs/{job}/cancel")
    assert (again.status_code, again.json()["code"], again.json()["state"]) == (409, "job_finished", "cancelled")
    result = await api.client.get(f"/v1/jobs/{job}/result")
    assert (result.status_code, result.json()["code"]) == (409, "no_result")


async def test_a_cancel_that_is_not_heard_is_done_by_force(api: Api) -> None:
    job, stream = await running(api, ignore_stop=True)
    await api.client.post(f"/v1/jobs/{job}/cancel")
    assert [event["event"] for event in await stream.rest()][-1] == "cancelled"
    (attempt,) = (await api.client.get(f"/v1/jobs/{job}/attempts")).json()
    assert (attempt["ending"], attempt["evidence"]["signal"]) == ("cancelled", "SIGKILL")
    assert (await api.job(job))["state"] == "cancelled"
