"""Jobs after their submit: read, wait, list, result, attempts, logs, cancel, replay."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from tests.integration.api.harness import Api, EventStream, Keeper

from longhaul.contract import AttemptView, EventView, JobPage, JobView, ResultView
from longhaul.states import Ending

pytestmark = pytest.mark.anyio


async def test_an_unknown_id_is_a_404_whatever_it_looks_like(api: Api) -> None:
    for id in (uuid4(), "7", "%00", "a" * 3000, "01a1fe13-0154-75f4-9410-c7f80824ed1"):
        for path in ("", "/result", "/attempts", "/logs", "/events"):
            answer = await api.client.get(f"/v1/jobs/{id}{path}")
            assert (answer.status_code, answer.json()["code"]) == (404, "unknown_job"), (id, path)
        for path in ("/cancel", "/replay"):
            answer = await api.client.post(f"/v1/jobs/{id}{path}")
            assert (answer.status_code, answer.json()["code"]) == (404, "unknown_job"), (id, path)


async def test_an_etag_spares_what_has_not_changed(api: Api, keeper: Keeper) -> None:
    job = await api.submit()
    path = f"/v1/jobs/{job['id']}"
    first = await api.client.get(path)
    assert first.headers["etag"] == '"1"'
    same = await api.client.get(path, headers={"If-None-Match": 'W/"0", "1"'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", '"1"')
    await keeper.claim()
    changed = await api.client.get(path, headers={"If-None-Match": '"1"'})
    assert (changed.status_code, changed.json()["state"], changed.headers["etag"]) == (200, "running", '"2"')


async def test_retry_after_ends_with_the_job(api: Api, keeper: Keeper) -> None:
    job = await api.submit()
    path = f"/v1/jobs/{job['id']}"
    assert 1 <= int((await api.client.get(path)).headers["retry-after"]) <= 30
    await keeper.end(await keeper.claim())
    assert "retry-after" not in (await api.client.get(path)).headers


async def test_a_hundred_readers_at_once_each_get_their_own_job(api: Api) -> None:
    jobs = [await api.submit(metadata={"n": n}) for n in range(10)]
    views = await asyncio.gather(*[api.job(jobs[n % 10]["id"]) for n in range(100)])
    assert [view["metadata"]["n"] for view in views] == [n % 10 for n in range(100)]


async def test_a_long_poll_answers_at_the_next_change(api: Api, keeper: Keeper) -> None:
    job = await api.submit()
    waiting = asyncio.create_task(api.client.get(f"/v1/jobs/{job['id']}", headers={"Prefer": "wait=60"}))
    await api.listening(1)
    await keeper.claim()
    async with asyncio.timeout(20):
        answer = await waiting
    assert (answer.status_code, answer.json()["state"]) == (200, "running")
    assert answer.headers["preference-applied"] == "wait=60"
    assert api.context.hub.count() == 0


async def test_a_long_poll_waits_for_a_change_of_the_state_that_the_client_has(api: Api, keeper: Keeper) -> None:
    job = await api.submit()
    path = f"/v1/jobs/{job['id']}"
    await keeper.claim()
    at_once = await api.client.get(path, headers={"Prefer": "wait=30", "If-None-Match": '"1"'})
    assert (at_once.status_code, at_once.json()["state"]) == (200, "running")
    in_vain = await api.client.get(path, headers={"Prefer": "respond-async, wait=1", "If-None-Match": '"2"'})
    assert (in_vain.status_code, in_vain.headers["preference-applied"]) == (304, "wait=1")


async def test_a_long_poll_of_a_finished_job_does_not_wait(api: Api, keeper: Keeper) -> None:
    job = await api.submit()
    await keeper.end(await keeper.claim())
    answer = await api.client.get(f"/v1/jobs/{job['id']}", headers={"Prefer": "wait=60"})
    assert answer.json()["state"] == "succeeded"


async def test_a_result_is_there_once_the_job_has_succeeded(api: Api, keeper: Keeper) -> None:
    job = await api.submit()
    early = await api.client.get(f"/v1/jobs/{job['id']}/result")
    assert (early.status_code, early.json()["code"], early.json()["state"]) == (409, "no_result", "queued")
    await keeper.end(await keeper.claim(), result={"pages": 12})
    answer = await api.client.get(f"/v1/jobs/{job['id']}/result")
    assert ResultView.model_validate_json(answer.content).result == {"pages": 12}


async def test_attempts_and_logs_tell_what_happened(api: Api, keeper: Keeper) -> None:
    job = await api.submit()
    claim = await keeper.claim()
    for n in range(3):
        await keeper.log(claim, f"line {n}")
    await keeper.end(claim, Ending.PERMANENT)
    answer = await api.client.get(f"/v1/jobs/{job['id']}/attempts")
    (attempt,) = [AttemptView.model_validate(one) for one in answer.json()]
    assert (attempt.attempt, attempt.worker, attempt.ending) == (1, "keeper", Ending.PERMANENT)
    lines = (await api.client.get(f"/v1/jobs/{job['id']}/logs", params={"limit": 2})).json()
    assert [EventView.model_validate(line).data["message"] for line in lines] == ["line 0", "line 1"]
    rest = (await api.client.get(f"/v1/jobs/{job['id']}/logs", params={"after": lines[-1]["id"]})).json()
    assert [line["data"]["message"] for line in rest] == ["line 2"]


async def test_pages_lead_through_all_jobs_newest_first(api: Api, keeper: Keeper) -> None:
    ids = [(await api.submit())["id"] for _ in range(5)]
    await api.submit(queue="printing")
    await keeper.claim()
    seen: list[str] = []
    cursor = None
    while True:
        answer = await api.client.get("/v1/jobs", params={"queue": "default", "limit": 2, "cursor": cursor or ""})
        if cursor is None:
            answer = await api.client.get("/v1/jobs", params={"queue": "default", "limit": 2})
        page = JobPage.model_validate_json(answer.content)
        seen += [str(job.id) for job in page.jobs]
        cursor = page.next
        if cursor is None:
            break
    assert seen == ids[::-1]
    running = await api.client.get("/v1/jobs", params={"state": ["running", "dead"]})
    assert [job["id"] for job in running.json()["jobs"]] == ids[:1]
    middle = (await api.job(ids[2]))["created_at"]
    since = await api.client.get("/v1/jobs", params={"since": middle, "queue": "default"})
    until = await api.client.get("/v1/jobs", params={"until": middle, "task": "report.write"})
    assert (len(since.json()["jobs"]), len(until.json()["jobs"])) == (3, 2)


async def test_filters_that_can_not_be_are_refused(api: Api) -> None:
    for query in (
        "state=done",
        "limit=0",
        "limit=201",
        "limit=x",
        "cursor=x",
        "since=yesterday",
        "task=%00",
        "queue=A",
    ):
        answer = await api.client.get(f"/v1/jobs?{query}")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), query
        assert answer.json()["errors"][0]["field"] == query.partition("=")[0]


async def test_a_queued_job_is_cancelled_at_once_and_its_streams_hear_it(api: Api) -> None:
    job = await api.submit()
    stream = await EventStream.open(api.port, f"/v1/jobs/{job['id']}/events")
    assert await stream.ids(1) == [1]
    answer = await api.client.post(f"/v1/jobs/{job['id']}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    assert [event["event"] for event in await stream.rest()] == ["cancelled"]


async def test_a_running_job_is_asked_to_stop_and_asking_twice_changes_nothing(api: Api, keeper: Keeper) -> None:
    job = await api.submit()
    await keeper.claim()
    answers = [await api.client.post(f"/v1/jobs/{job['id']}/cancel") for _ in range(2)]
    for answer in answers:
        view = JobView.model_validate_json(answer.content)
        assert (answer.status_code, view.state, view.cancel_requested, view.last_event_id) == (202, "running", True, 3)


async def test_a_finished_job_can_not_be_cancelled(api: Api, keeper: Keeper) -> None:
    job = await api.submit()
    await keeper.end(await keeper.claim())
    answer = await api.client.post(f"/v1/jobs/{job['id']}/cancel")
    assert (answer.status_code, answer.json()["code"], answer.json()["state"]) == (409, "job_finished", "succeeded")


async def test_a_replay_is_a_new_job_that_points_to_the_failed_one(api: Api, keeper: Keeper) -> None:
    job = await api.submit(metadata={"for": "Ada"})
    early = await api.client.post(f"/v1/jobs/{job['id']}/replay")
    assert (early.status_code, early.json()["code"]) == (409, "not_replayable")
    await keeper.end(await keeper.claim(), Ending.PERMANENT)
    before = (await api.client.get(f"/v1/jobs/{job['id']}")).headers["etag"]
    answer = await api.client.post(f"/v1/jobs/{job['id']}/replay")
    replay = JobView.model_validate_json(answer.content)
    assert (answer.status_code, str(replay.origin_id), replay.state) == (202, job["id"], "queued")
    assert answer.headers["location"] == f"/v1/jobs/{replay.id}"
    assert replay.metadata == {"for": "Ada"}
    origin = await api.client.get(f"/v1/jobs/{job['id']}")
    assert origin.json()["resolution"] == "replayed"
    assert origin.headers["etag"] != before
