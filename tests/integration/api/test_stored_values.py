"""Values that PostgreSQL's `json` holds and parsers refuse harm only what they are a part of: every reader of a job, of
its history and of lists that it stands in gets an answer, with all of its neighbours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from tests.integration.api.harness import REPORT, Api, EventStream, Keeper
from websockets.asyncio.client import connect as connect_websocket

from longhaul.client import AsyncClient
from longhaul.ledger.connection import Connection, connect
from longhaul.ledger.leases import Note
from longhaul_api.settings import ApiSettings

pytestmark = pytest.mark.anyio

ODD = {
    "a number beyond double precision": "1e400",
    "400 digits": "9" * 400,
    "half a surrogate pair": '"\\ud800"',
    "half a surrogate pair in a name": '{"\\udfff": 1}',
    "a NUL": '"a\\u0000b"',
    "300 levels": "[" * 300 + "]" * 300,
    "3,000 levels": '{"a":' * 3000 + "1" + "}" * 3000,
}


@pytest.fixture
async def connection(settings: ApiSettings) -> AsyncIterator[Connection]:
    async with await connect(settings.database_url, application_name="test") as connection:
        yield connection


async def make_odd(connection: Connection, job: str, odd: str) -> None:
    """Put a value everywhere that a job and its history hold JSON, past everything that Longhaul checks."""
    error = f'{{"code": "task_failed", "message": "It broke.", "odd": {odd}}}'
    await connection.execute(
        "UPDATE jobs SET params = %(odd)s::json, metadata = %(odd)s::json, checkpoint = %(odd)s::json,"
        " checkpointed_at = now(), error = CASE WHEN error IS NULL THEN NULL ELSE %(error)s::json END,"
        " result = CASE WHEN result IS NULL THEN NULL ELSE %(odd)s::json END WHERE id = %(job)s",
        {"odd": odd, "error": error, "job": job},
    )
    ending = f'{{"ending": "transient", "error": {error}, "evidence": {{"odd": {odd}}}}}'
    await connection.execute(
        "UPDATE job_events SET data = CASE WHEN data::text LIKE '%%\"ending\"%%' THEN %s::json ELSE %s::json END"
        " WHERE job_id = %s",
        (ending, f'{{"worker": "keeper", "odd": {odd}}}', job),
    )


async def read(client: httpx2.AsyncClient, path: str) -> Any:
    answer = await client.get(f"/v1/{path}")
    assert answer.status_code == 200, (path, answer.text)
    return json.loads(answer.content)


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
async def test_an_odd_value_harms_only_what_it_is_a_part_of(
    api: Api, keeper: Keeper, connection: Connection, odd: str
) -> None:
    jobs = [await api.submit() for _ in range(4)]
    dead, done, good = (job["id"] for job in jobs[:3])
    for ends in (keeper.die, keeper.end, keeper.die):
        claim = await keeper.claim()
        await keeper.log(claim, "half way")
        await keeper.progress(claim)
        await ends(claim)
    for job in (dead, done):
        await make_odd(connection, job, odd)

    # Many at once are one question to the ledger, and still answered one by one.
    ids = [job["id"] for job in jobs]
    views = await asyncio.gather(*[read(api.client, f"jobs/{job}") for job in ids * 10])
    assert [view["id"] for view in views] == ids * 10
    assert all(view["params"] == REPORT["params"] for view in views if view["id"] not in (dead, done))
    assert {job["id"] for job in (await read(api.client, "jobs"))["jobs"]} == set(ids)
    assert {job["id"] for job in (await read(api.client, "dead-letters"))["jobs"]} == {dead, good}
    letter = await read(api.client, f"dead-letters/{dead}")
    assert [attempt["ending"] for attempt in letter["attempts"]] == ["transient"]
    for job in (dead, done):
        assert len(await read(api.client, f"jobs/{job}/attempts")) == 1
        assert len(await read(api.client, f"jobs/{job}/logs")) == 1
        assert (await api.client.get(f"/v1/jobs/{job}", headers={"Prefer": "wait=1"})).status_code == 200
        stream = await EventStream.open(api.port, f"/v1/jobs/{job}/events")
        assert [int(event["id"]) for event in await stream.rest()] == [1, 2, 3, 4, 5]
        async with connect_websocket(f"{api.url.replace('http', 'ws')}/v1/jobs/{job}/ws") as socket:
            assert [json.loads(frame)["id"] async for frame in socket] == [1, 2, 3, 4, 5]
    result = await api.client.get(f"/v1/jobs/{done}/result")
    assert (result.status_code, result.text) == (200, f'{{"id":"{done}","result":{odd}}}')

    replayed = await api.client.post(f"/v1/jobs/{dead}/replay")
    assert replayed.status_code == 202
    assert (await api.client.post(f"/v1/jobs/{replayed.json()['id']}/cancel")).status_code == 202
    async with AsyncClient(api.url) as client:
        assert len([job async for job in client.list()]) == 5


async def test_a_result_is_given_as_it_was_written(api: Api, keeper: Keeper, connection: Connection) -> None:
    job = await api.submit()
    await keeper.end(await keeper.claim())
    text = '{"b": 1180591620717411303424, "a": 0.10, "a": 1E2}'
    await connection.execute("UPDATE jobs SET result = %s::json WHERE id = %s", (text, job["id"]))
    answer = await api.client.get(f"/v1/jobs/{job['id']}/result")
    assert answer.text == f'{{"id":"{job["id"]}","result":{text}}}'


async def test_an_event_that_is_nested_as_deeply_as_can_be_written_is_streamed(api: Api, keeper: Keeper) -> None:
    job = await api.submit()
    claim = await keeper.claim()
    stream = await EventStream.open(api.port, f"/v1/jobs/{job['id']}/events")
    assert await stream.ids(2) == [1, 2]
    deep: Any = 7
    for _ in range(253):
        deep = [deep]
    await keeper.report(claim, Note(type="progress", data={"deep": deep}))
    await keeper.end(claim)
    assert [int(event["id"]) for event in await stream.rest()] == [3, 4]


@pytest.mark.parametrize("data", ["7", "null", "[]", '"text"'])
async def test_an_event_that_is_no_object_is_shown_as_one(
    api: Api, keeper: Keeper, connection: Connection, data: str
) -> None:
    job = await api.submit()
    await keeper.end(await keeper.claim())
    await connection.execute("UPDATE job_events SET data = %s::json WHERE job_id = %s", (data, job["id"]))
    assert len(await read(api.client, f"jobs/{job['id']}/attempts")) == 1
    stream = await EventStream.open(api.port, f"/v1/jobs/{job['id']}/events")
    assert [json.loads(event["data"])["data"] for event in await stream.rest()] == [{"value": json.loads(data)}] * 3


@pytest.mark.parametrize("spec", ["{}", "7", '{"odd": 1e400}'])
async def test_a_task_that_cannot_be_read_is_left_out(api: Api, connection: Connection, spec: str) -> None:
    await connection.execute(
        "INSERT INTO tasks (name, queue, version, spec, registered_by) VALUES ('report.odd', 'default', '1', %s, 'test')",
        (spec,),
    )
    await api.context.catalogue.refresh()
    assert [task["name"] for task in await read(api.client, "tasks")] == ["report.print", "report.write"]
    refused = await api.client.post("/v1/jobs", json={"task": "report.odd"})
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_task")
    await api.submit()


BAD_KEYS = ["", "a\\u0000b", "\\ud800", "\\u00e9", "a b", "a\\n", "k" * 256]
BAD_URLS = [
    *(
        "https://a\\u0000b/",
        "https://\\ud800/",
        "https://\\u00e9.com/",
        "https://a/\\u0000",
        "https://a/\\n",
        "https:///",
    ),
    *("https://a:" + "9" * 400, "https://a/" + "x" * 2000, "ftp://a/", "https://a b/"),
]


@pytest.mark.parametrize("item", [f'"idempotency_key": "{key}"' for key in BAD_KEYS] + [f'"webhook": "{url}"' for url in BAD_URLS])  # fmt: skip
async def test_a_key_or_url_that_cannot_be_held_is_refused(settings: ApiSettings, api: Api, item: str) -> None:
    body = f'{{"jobs": [{{"task": "report.write", "params": {{"text": "March"}}, {item}}}]}}'
    answer = await api.client.post("/v1/jobs:batch", content=body, headers={"Content-Type": "application/json"})
    statuses = {answer.status_code} if answer.status_code != 200 else {one["status"] for one in answer.json()["jobs"]}
    assert statuses <= {400, 422}
    assert len(statuses) == 1
    assert (await read(api.client, "jobs"))["jobs"] == []
