"""Submit: what is accepted, what is refused and how, and that nobody pays for another's bad job."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis.asyncio as redis
from tests.integration.api.harness import REPORT, Api
from tests.waiting import eventually

from longhaul import doorbell
from longhaul.contract import JobView
from longhaul.ids import new_job_id
from longhaul.ledger.connection import connect
from longhaul.ledger.jobs import NewJob
from longhaul_api.settings import ApiSettings

pytestmark = pytest.mark.anyio


async def test_a_submit_is_answered_with_where_the_job_is(api: Api) -> None:
    answer = await api.client.post("/v1/jobs", json=REPORT | {"priority": 3, "metadata": {"for": "Ada"}})
    assert answer.status_code == 202
    job = JobView.model_validate_json(answer.content)
    assert answer.headers["location"] == f"/v1/jobs/{job.id}"
    assert int(answer.headers["retry-after"]) >= 1
    assert (job.state, job.queue, job.priority, job.metadata) == ("queued", "default", 3, {"for": "Ada"})
    assert job.timeout_seconds == 60
    assert await api.job(job.id) == answer.json()


async def test_the_doorbell_rings_once_for_each_due_job(api: Api, settings: ApiSettings) -> None:
    await asyncio.gather(*[api.submit() for _ in range(20)])
    await api.submit(run_after=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    await api.submit(queue="printing")
    async with redis.Redis.from_url(settings.redis_url) as client:

        async def rung() -> bool:
            return await doorbell.count(client, ["default", "printing"]) == {"default": 20, "printing": 1}

        await eventually(rung, what="20 doorbells for the due jobs, none for the delayed one")


async def test_no_doorbell_rings_before_the_commit(api: Api, settings: ApiSettings) -> None:
    """A worker that heard it would find nothing, and the job would wait until the controller rings again."""
    await api.submit(queue="printing")  # the catalogue is in memory now
    async with (
        redis.Redis.from_url(settings.redis_url) as client,
        await connect(settings.database_url, application_name="test") as blocker,
        await connect(settings.database_url, application_name="test") as watcher,
    ):

        async def inserts() -> bool:
            cursor = await watcher.execute(
                "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            return cursor.rowcount == 1

        async def rung_after_all_before() -> bool:
            return (await doorbell.count(client, ["printing"]))["printing"] == 2

        async with blocker.transaction():
            await blocker.execute("LOCK TABLE jobs IN SHARE MODE")
            submit = asyncio.create_task(api.submit())
            await eventually(inserts, what="the insert waits for the lock")
            api.context.ringer.ring("printing")  # in the order of what it was told, so it would ring for the job first
            await eventually(rung_after_all_before, what="the ringer has rung for all that it was told")
            assert await doorbell.count(client, ["default"]) == {"default": 0}
        await submit

        async def rung() -> bool:
            return await doorbell.count(client, ["default"]) == {"default": 1}

        await eventually(rung, what="the doorbell rings after the commit")


async def test_the_same_key_and_body_give_the_same_job(api: Api) -> None:
    first = await api.client.post("/v1/jobs", json=REPORT, headers={"Idempotency-Key": "march"})
    again = await api.client.post("/v1/jobs", json=REPORT | {"priority": 0}, headers={"Idempotency-Key": "march"})
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert "idempotency-replayed" not in first.headers


async def test_the_same_key_with_another_body_is_a_conflict(api: Api) -> None:
    await api.client.post("/v1/jobs", json=REPORT, headers={"Idempotency-Key": "march"})
    answer = await api.client.post("/v1/jobs", json=REPORT | {"priority": 1}, headers={"Idempotency-Key": "march"})
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_conflict")


async def test_one_key_sent_fifty_times_at_once_makes_one_job(api: Api) -> None:
    answers = await asyncio.gather(
        *[api.client.post("/v1/jobs", json=REPORT, headers={"Idempotency-Key": "once"}) for _ in range(50)]
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 49 + [202]
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_a_key_must_be_visible_ascii(api: Api) -> None:
    for key in ("", "x" * 256, "with space", "umlaut-\xe4"):
        answer = await api.client.post("/v1/jobs", json=REPORT, headers=[(b"Idempotency-Key", key.encode("latin-1"))])
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")


async def test_an_unknown_task_is_refused_with_what_may_be_meant(api: Api) -> None:
    answer = await api.client.post("/v1/jobs", json={"task": "report.wirte"})
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_task")
    assert answer.json()["matches"][0] == "report.write"
    assert "'report.write'" in answer.json()["detail"]


async def test_params_that_break_the_schema_name_the_field(api: Api) -> None:
    answer = await api.client.post("/v1/jobs", json={"task": "report.write", "params": {"text": "x", "pages": 0}})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_params")
    (error,) = answer.json()["errors"]
    assert error["field"] == "/params/pages"
    assert "minimum" in error["message"]
    missing = await api.client.post("/v1/jobs", json={"task": "report.write"})
    assert [error["field"] for error in missing.json()["errors"]] == ["/params"]


async def test_a_task_that_was_just_published_is_known_at_once(api: Api, settings: ApiSettings) -> None:
    from longhaul.ledger import catalogue
    from longhaul.task import TaskSpec

    await api.submit()  # the catalogue is in memory now
    connection = await connect(settings.database_url, application_name="test")
    await catalogue.publish(connection, [TaskSpec(name="brand.new", queue="fresh")], registered_by="test")
    await connection.close()
    answer = await api.client.post("/v1/jobs", json={"task": "brand.new", "queue": "fresh"})
    assert answer.status_code == 202


async def test_an_unknown_queue_is_refused(api: Api) -> None:
    answer = await api.client.post("/v1/jobs", json=REPORT | {"queue": "nowhere"})
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_queue")


async def test_a_shorter_timeout_takes_the_soft_one_away(api: Api, settings: ApiSettings) -> None:
    short = await api.submit(timeout=20)
    connection = await connect(settings.database_url, application_name="test")
    cursor = await connection.execute(
        "SELECT timeout_seconds, soft_timeout_seconds FROM jobs WHERE id = %s", (short["id"],)
    )
    assert await cursor.fetchone() == {"timeout_seconds": 20.0, "soft_timeout_seconds": None}
    await connection.close()


BAD_BODIES: list[tuple[bytes, int, str]] = [
    (b"", 400, "bad_request"),
    (b"{", 400, "bad_request"),
    (b'{"task": "report.write", "params": {"text": NaN}}', 400, "bad_request"),
    (b'{"task": "report.write", "params": {"text": 1e999}}', 400, "bad_request"),
    (b'{"task": "report.write", "params": {"text": "\\ud800"}}', 400, "bad_request"),
    (b'{"task": "report.write", "params": {"text": "\xff"}}', 400, "bad_request"),
    (b'{"task": "report.write", "params": {"text": "a\\u0000b"}}', 422, "invalid_request"),
    (b'{"task": "report.write", "metadata": {"a\\u0000b": 1}}', 422, "invalid_request"),
    (b'{"task": "report.write", "metadata": {"n": 18446744073709551616}}', 422, "invalid_request"),
    (b'{"task": "report.write", "metadata": {"n": -9223372036854775809}}', 422, "invalid_request"),
    (b'{"task": "report.write", "metadata": {"n": ' + b"9" * 300 + b"}}", 422, "invalid_request"),
    (b'{"task": "report.write", "metadata": {"n": ' + b"9" * 5000 + b"}}", 400, "bad_request"),
    (b'{"task": "report.write", "metadata": ' + b'{"a":' * 70 + b"1" + b"}" * 70 + b"}", 422, "invalid_request"),
    (b"[" * 5000 + b"]" * 5000, 400, "bad_request"),
    (b'{"task": "report.write", "priority": "5"}', 422, "invalid_request"),
    (b'{"task": "report.write", "priority": 10}', 422, "invalid_request"),
    (b'{"task": "report.write", "priority": 1e300}', 422, "invalid_request"),
    (b'{"task": "report.write", "timeout": 0}', 422, "invalid_request"),
    (b'{"task": "report.write", "timeout": 1e300}', 422, "invalid_request"),
    (b'{"task": "report.write", "run_after": "2030-01-01T00:00:00"}', 422, "invalid_request"),
    (b'{"task": "report.write", "run_after": "0001-01-01T00:00:00+23:59"}', 422, "invalid_request"),
    (b'{"task": "report.write", "run_after": 0}', 422, "invalid_request"),
    (b'{"task": "report.write", "extra": 1}', 422, "invalid_request"),
    (b'{"task": "no/such\\nname"}', 422, "invalid_request"),
    (b"[]", 422, "invalid_request"),
    (b"null", 422, "invalid_request"),
]


async def test_a_body_that_can_not_be_carried_is_refused_with_a_sentence(api: Api) -> None:
    for body, status, code in BAD_BODIES:
        answer = await api.client.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (status, code), (body[:80], answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"].endswith(".")


async def test_numbers_and_texts_at_the_edges_come_back_as_they_were(api: Api) -> None:
    edges = {
        "numbers": [2**64 - 1, -(2**63), 1e308, 5e-324, 0.1, -0.0],
        "texts": ["\U0001f600", "\x01", '"\\', "", "\\u0000 as text"],
        "depth": [[[[[[[[[[]]]]]]]]]],
    }
    job = await api.submit(metadata=edges)
    assert (await api.job(job["id"]))["metadata"] == edges


async def test_only_json_is_taken(api: Api) -> None:
    answer = await api.client.post("/v1/jobs", content=b"{}", headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_a_body_over_the_limit_is_refused_also_in_chunks(api: Api) -> None:
    limit = api.context.settings.body_limit_bytes
    headers = {"Content-Type": "application/json"}
    whole = await api.client.post("/v1/jobs", content=b" " * (limit + 1), headers=headers)

    async def chunks() -> Any:
        for _ in range(limit // 65536 + 2):
            yield b" " * 65536

    chunked = await api.client.post("/v1/jobs", content=chunks(), headers=headers)
    for answer in (whole, chunked):
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
        assert answer.json()["limit_bytes"] == limit


async def test_a_job_that_the_ledger_can_not_hold_fails_alone(api: Api) -> None:
    """Past the API's checks on purpose: the database refuses a NUL, and says so for the whole statement."""

    def job(submitted_by: str) -> NewJob:
        return NewJob(
            id=new_job_id(), tenant="default", submitted_by=submitted_by, task="report.write", queue="default",
            priority=0, params={}, metadata={}, retries_max=0, max_interruptions=0, timeout_seconds=1.0,
            soft_timeout_seconds=None, backoff_seconds=0.0, backoff_max_seconds=0.0, interruptible=False,
        )  # fmt: skip

    names = ["good"] * 10 + ["bad\0"] + ["good"] * 10 + ["bad\0"]
    outcomes = await asyncio.gather(
        *[api.context.submissions.submit(job(name)) for name in names], return_exceptions=True
    )
    assert [isinstance(outcome, Exception) for outcome in outcomes] == [name == "bad\0" for name in names]
    listed = await api.client.get("/v1/jobs", params={"limit": 200})
    assert len(listed.json()["jobs"]) == 20


async def test_a_batch_is_answered_item_by_item(api: Api) -> None:
    items: list[Any] = [
        REPORT,
        {"task": "report.wrong"},
        {"task": "report.write", "params": {"text": ""}},
        {"nonsense": True},
        7,
        REPORT | {"idempotency_key": "k"},
        REPORT | {"idempotency_key": "k"},
        REPORT | {"idempotency_key": "k", "priority": 2},
        REPORT | {"queue": "nowhere"},
    ]
    answer = await api.client.post("/v1/jobs:batch", json={"jobs": items})
    assert answer.status_code == 200
    answers = answer.json()["jobs"]
    assert [one["status"] for one in answers] == [202, 422, 422, 422, 422, 202, 200, 409, 404]
    codes = [one["error"]["code"] if one["error"] else None for one in answers]
    assert codes == [
        None, "unknown_task", "invalid_params", "invalid_request", "invalid_request", None, None,
        "idempotency_conflict", "unknown_queue",
    ]  # fmt: skip
    assert answers[5]["job"]["id"] == answers[6]["job"]["id"]
    assert len((await api.client.get("/v1/jobs")).json()["jobs"]) == 2


async def test_a_batch_of_the_wrong_shape_is_refused_as_a_whole(api: Api) -> None:
    wrong: list[Any] = [[], {}, {"jobs": []}, {"jobs": [REPORT] * 1001}, {"jobs": {}}, {"jobs": [REPORT], "x": 1}]
    for body in wrong:
        answer = await api.client.post("/v1/jobs:batch", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_a_thousand_at_once(api: Api) -> None:
    answer = await api.client.post("/v1/jobs:batch", json={"jobs": [REPORT] * 1000})
    assert [one["status"] for one in answer.json()["jobs"]] == [202] * 1000
    assert len({one["job"]["id"] for one in answer.json()["jobs"]}) == 1000


async def test_a_thousand_mixed_are_each_answered_as_if_they_had_come_alone(api: Api) -> None:
    """Twenty of each kind in turn, so that equal keys meet within one statement and across statements."""
    first = await api.client.post("/v1/jobs", json=REPORT, headers={"Idempotency-Key": "before"})
    kinds: list[tuple[dict[str, Any], int, str | None]] = [
        (REPORT, 202, None),
        (REPORT | {"idempotency_key": "before"}, 200, None),
        (REPORT | {"idempotency_key": "within"}, 200, None),
        (REPORT | {"idempotency_key": "within", "priority": 1}, 409, "idempotency_conflict"),
        ({"task": "report.wrong"}, 422, "unknown_task"),
        (REPORT | {"params": {"text": "x", "pages": 0}}, 422, "invalid_params"),
        (REPORT | {"priority": 10}, 422, "invalid_request"),
        (REPORT | {"queue": "nowhere"}, 404, "unknown_queue"),
        (REPORT | {"metadata": {"n": 2}, "priority": -9}, 202, None),
        (REPORT | {"idempotency_key": ""}, 422, "invalid_request"),
    ]
    items = [kinds[n // 20 % len(kinds)] for n in range(1000)]
    answer = await api.client.post("/v1/jobs:batch", json={"jobs": [item for item, _, _ in items]})
    answers = answer.json()["jobs"]
    assert len(answers) == 1000
    for number, ((_, status, code), one) in enumerate(zip(items, answers, strict=True)):
        makes = number == 40  # the first of the key "within"
        assert one["status"] == (202 if makes else status), number
        assert (one["error"] and one["error"]["code"]) == code, number
        assert (one["job"] is None) == (code is not None), number
    replays = [one["job"]["id"] for one in answers if one["status"] == 200]
    assert set(replays) == {first.json()["id"], answers[40]["job"]["id"]}
    new = {one["job"]["id"] for one in answers if one["status"] == 202}
    assert len(new) == 1 + 2 * 100
    fields = [one["error"]["errors"][0]["field"] for one in answers if one["error"] and "errors" in one["error"]]
    assert set(fields) == {"/params/pages", "/priority", "/idempotency_key"}


async def test_unknown_names_in_a_batch_are_looked_up_together(api: Api) -> None:
    asked = 0
    read = api.context.catalogue._read

    async def counted() -> Any:
        nonlocal asked
        asked += 1
        return await read()

    api.context.catalogue._read = counted
    items = [{"task": f"no.such{n}"} for n in range(500)] + [REPORT | {"queue": f"nowhere{n}"} for n in range(500)]
    answer = await api.client.post("/v1/jobs:batch", json={"jobs": items})
    assert {one["status"] for one in answer.json()["jobs"]} == {422, 404}
    assert asked == 1


async def test_a_batch_takes_no_key_of_its_own(api: Api) -> None:
    answer = await api.client.post("/v1/jobs:batch", json={"jobs": [REPORT]}, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 422
