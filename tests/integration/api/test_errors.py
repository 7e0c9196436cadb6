"""Errors: each that the OpenAPI document names can be met, all in the form of RFC 9457, and none tells of the inside."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
from tests.integration.api.harness import REPORT, Api, Keeper, api_settings, serving
from tests.pods import free_port

from longhaul.contract import ProblemView
from longhaul.ledger import keys
from longhaul.ledger.connection import connect
from longhaul_api.app import create_app
from longhaul_api.settings import ApiSettings

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}
INSIDE = re.compile(
    r"Traceback|File \"|\.py\b|psycopg|postgres|redis|uvicorn|starlette|fastapi|pydantic|asyncio|longhaul_|SELECT|INSERT"
    r"|UPDATE|relation |column \"|constraint|connection|socket|/tmp|/home|/var",
    re.IGNORECASE,
)
"""What the inside is made of: neither libraries, nor SQL, nor paths, nor a stack."""


def documented_codes() -> set[str]:
    """Every code that some operation says it may answer with."""
    document = create_app(api_settings("postgresql://nowhere", "redis://nowhere")).openapi()
    descriptions = [
        response["description"]
        for operations in document["paths"].values()
        for operation in operations.values()
        for status, response in operation["responses"].items()
        if int(status) >= 400
    ]
    return {code for text in descriptions for code in re.findall(r"^`([a-z_]+)`: ", text, re.MULTILINE)}


def check_problem(answer: httpx2.Response) -> str:
    """The code of an answer that has the form of RFC 9457 and tells nothing of the inside."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem = ProblemView.model_validate_json(answer.content)
    assert (problem.status, problem.type) == (answer.status_code, f"urn:longhaul:problem:{problem.code}")
    assert problem.instance == answer.headers["x-request-id"]
    assert problem.title
    assert problem.detail.endswith((".", ".)"))
    assert not INSIDE.search(answer.text), answer.text
    assert "server" not in answer.headers
    if problem.status == 503:
        assert int(answer.headers["retry-after"]) >= 1
    return problem.code


@pytest.fixture
async def away(settings: ApiSettings) -> AsyncIterator[Api]:
    """An API whose database is not there."""
    nowhere = f"postgresql://longhaul:secret@127.0.0.1:{free_port()}/longhaul"
    async with serving(settings.model_copy(update={"database_url": nowhere, "deadline_seconds": 0.5})) as api:
        yield api


@pytest.fixture
async def locked(settings: ApiSettings) -> AsyncIterator[Api]:
    """An API that wants keys; its client has one that may only read."""
    async with await connect(settings.database_url, application_name="test") as connection:
        key = await keys.create(connection, name="reader", tenant="default", scopes=["read"])
    async with serving(
        settings.model_copy(update={"auth_mode": "keys"}), headers={"Authorization": f"Bearer {key}"}
    ) as api:
        yield api


@pytest.fixture
async def storing(settings: ApiSettings, tmp_path: Path) -> AsyncIterator[Api]:
    """An API with an empty result store."""
    async with serving(settings.model_copy(update={"result_store_url": f"file://{tmp_path}"})) as api:
        yield api


async def test_every_documented_code_can_be_met(api: Api, away: Api, locked: Api, storing: Api, keeper: Keeper) -> None:
    stored = (await api.submit())["id"]
    await keeper.end(await keeper.claim())
    await keeper.connection.execute(
        "UPDATE jobs SET result = NULL, result_key = 'results/none.json', result_size = 9, result_sha256 = '' WHERE id = %s",
        (stored,),
    )
    done = (await api.submit())["id"]
    await keeper.end(await keeper.claim())
    queued = (await api.submit())["id"]
    await api.client.post("/v1/jobs", json=REPORT, headers={"Idempotency-Key": "k"})
    large = b" " * (api.context.settings.body_limit_bytes + 1)
    asked: list[httpx2.Response] = [
        await api.client.post("/v1/jobs", content=b"{", headers=JSON),
        await api.client.post("/v1/jobs", json=REPORT | {"priority": 99}),
        await api.client.post("/v1/jobs", json={"task": "report.write", "params": {}}),
        await api.client.post("/v1/jobs", json={"task": "no.such"}),
        await api.client.post("/v1/jobs", json=REPORT | {"queue": "no.such"}),
        await api.client.post("/v1/jobs", json=REPORT | {"priority": 1}, headers={"Idempotency-Key": "k"}),
        await api.client.post("/v1/jobs", content=b"{}", headers={"Content-Type": "text/plain"}),
        await api.client.post("/v1/jobs", content=large, headers=JSON),
        await api.client.get(f"/v1/jobs/{uuid4()}"),
        await api.client.get(f"/v1/jobs/{queued}/result"),
        await api.client.post(f"/v1/jobs/{done}/cancel"),
        await api.client.post(f"/v1/jobs/{done}/replay"),
        await api.client.get(f"/v1/jobs/{done}/webhook"),
        await api.client.post(f"/v1/dead-letters/{done}/discard"),
        await locked.client.get("/v1/jobs", headers={"Authorization": "Bearer no"}),
        await locked.client.post("/v1/jobs", json=REPORT),
        await away.client.get("/v1/jobs"),
        await storing.client.get(f"/v1/jobs/{stored}/result"),
        await api.client.get(f"/v1/jobs/{stored}/result"),  # it knows no store
        await _refused(api),
        await _broken_inside(api),
    ]
    met = [check_problem(answer) for answer in asked]
    assert sorted(met) == sorted(documented_codes())


async def test_what_is_at_no_address_is_a_problem_too(api: Api) -> None:
    for path in ("/v2/jobs", "/v1", "/v1/jobs/", "/console/../app.py", "/console/%00", "/v1/jobs/a/b"):
        answer = await api.client.get(path)
        assert (answer.status_code, check_problem(answer)) == (404, "not_found"), path
    for method, path in (
        ("DELETE", "/v1/jobs"),
        ("PUT", f"/v1/jobs/{uuid4()}"),
        ("GET", "/v1/jobs:batch"),
        ("HEAD", "/v1/jobs"),
    ):
        answer = await api.client.request(method, path)
        assert answer.status_code == 405
        assert answer.headers["allow"], path
        assert method == "HEAD" or check_problem(answer) == "method_not_allowed"


async def test_the_limit_of_a_body_is_a_setting(settings: ApiSettings) -> None:
    async with serving(settings.model_copy(update={"body_limit_bytes": 300})) as api:
        fits = REPORT | {"metadata": {"padding": "x" * 200}}
        assert (await api.client.post("/v1/jobs", json=fits)).status_code == 202
        for path in ("/v1/jobs", "/v1/jobs:batch", "/v1/dead-letters:replay"):
            answer = await api.client.post(path, json=fits | {"metadata": {"padding": "x" * 300}})
            assert (answer.status_code, check_problem(answer)) == (413, "body_too_large"), path
            assert answer.json()["limit_bytes"] == 300


async def test_a_name_that_can_not_be_one_is_the_name_of_nothing(api: Api) -> None:
    for name in ("no.such", "UPPER", "%00", "a" * 300, "%F0%9F%98%80", "'; DROP TABLE jobs; --"):
        for method, path in (("GET", ""), ("POST", "/pause"), ("POST", "/resume"), ("PATCH", "")):
            body = {"max_running": 1} if method == "PATCH" else None
            answer = await api.client.request(method, f"/v1/queues/{name}{path}", json=body)
            assert (answer.status_code, check_problem(answer)) == (404, "unknown_queue"), (method, name, path)


async def test_a_request_keeps_the_id_that_it_came_with(api: Api) -> None:
    given = await api.client.get("/v1/jobs/7", headers={"X-Request-Id": "of-the-proxy-1"})
    assert (given.headers["x-request-id"], given.json()["instance"]) == ("of-the-proxy-1", "of-the-proxy-1")
    for odd in ("", "x" * 200, "with space"):
        made = await api.client.get("/v1/jobs/7", headers={"X-Request-Id": odd})
        assert re.fullmatch("[0-9a-f]{16}", made.headers["x-request-id"])
        assert check_problem(made) == "unknown_job"


async def test_a_task_whose_schema_is_unusable_is_refused_alone(api: Api) -> None:
    """A schema that points elsewhere makes the API fetch nothing; its task is refused, and no other."""
    from longhaul.ledger import catalogue
    from longhaul.task import TaskSpec

    schema = {"$ref": "http://169.254.169.254/schema"}
    async with await connect(api.context.settings.database_url, application_name="test") as connection:
        await catalogue.publish(connection, [TaskSpec(name="odd.schema", params_schema=schema)], registered_by="test")
    answer = await api.client.post("/v1/jobs", json={"task": "odd.schema"})
    assert (answer.status_code, check_problem(answer)) == (422, "unknown_task")
    assert "publish the task again" in answer.json()["detail"]
    await api.submit()


async def _refused(api: Api) -> httpx2.Response:
    """An answer where a table looks otherwise than the code thinks."""
    async with await connect(api.context.settings.database_url, application_name="test") as connection:
        await connection.execute("ALTER TABLE workers RENAME COLUMN seen_at TO seen")
        answer = await api.client.get("/v1/workers")
        await connection.execute("ALTER TABLE workers RENAME COLUMN seen TO seen_at")
    assert answer.status_code == 503
    assert (await api.client.get("/v1/workers")).status_code == 200
    return answer


async def _broken_inside(api: Api) -> httpx2.Response:
    """An answer where the fault is our own: a part of the process is missing."""
    jobs = api.context.jobs
    del api.context.jobs
    answer = await api.client.get(f"/v1/jobs/{uuid4()}")
    api.context.jobs = jobs
    assert answer.status_code == 500
    return answer
