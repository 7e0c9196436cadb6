"""The API against its own OpenAPI document: schemathesis sends what fits it and what does not, to real servers with
real jobs, and finds no 5xx, no undocumented status, header or media type, and no answer of another shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from zlib import crc32

import pytest
import redis.asyncio as redis
import schemathesis
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from tests import servers
from tests.integration.api.harness import Api, Keeper, api_settings, publish_tasks, serving

from longhaul.ledger import keys
from longhaul.ledger.connection import connect
from longhaul.states import TERMINAL, Ending
from longhaul_api.app import create_app

EXAMPLES = 25
"""Of each operation."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
    ignored_auth,
]
CONFIG = {"generation": {"deterministic": True, "with-security-parameters": False}}
DOCUMENT = create_app(api_settings("postgresql://nowhere", "redis://nowhere")).openapi()
schema = schemathesis.openapi.from_dict(DOCUMENT, config=SchemathesisConfig.from_dict(CONFIG))


class Served:
    """An API in a thread of its own, and jobs in every state that a request may meet."""

    def __init__(self, api: Api, key: str, jobs: list[dict[str, Any]]) -> None:
        self.url = api.url
        self.headers = {"Authorization": f"Bearer {key}"}
        self._jobs = jobs

    def known_id(self, given: str, *, ended: bool) -> str:
        """One of the jobs, for a generated id always the same."""
        ids = [job["id"] for job in self._jobs if not ended or job["state"] in TERMINAL]
        return str(ids[crc32(given.encode()) % len(ids)])


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as one:
        yield one


@pytest.fixture(scope="module")
def served(portal: BlockingPortal, file_database_url: str, redis_server: servers.RedisServer) -> Iterator[Served]:
    settings = api_settings(file_database_url, redis_server.redis_url(), auth_mode="keys")
    key = portal.call(_prepare, file_database_url)
    with portal.wrap_async_context_manager(serving(settings, headers={"Authorization": f"Bearer {key}"})) as api:
        yield Served(api, key, portal.call(_make_jobs, api))


async def _prepare(database_url: str) -> str:
    await publish_tasks(database_url)
    async with await connect(database_url, application_name="test") as connection:
        return await keys.create(connection, name="contract", tenant="default", scopes=keys.SCOPES)


async def _make_jobs(api: Api) -> list[dict[str, Any]]:
    made = []
    async with (
        await connect(api.context.settings.database_url, application_name="keeper") as connection,
        redis.Redis.from_url(api.context.settings.redis_url) as client,
    ):
        keeper = Keeper(connection, client)
        await keeper.register()
        for kind in ["queued", "running", Ending.SUCCEEDED, Ending.PERMANENT, "dead", "cancelled"] * 4:
            job = await api.submit(metadata={"kind": kind})
            if kind == "cancelled":
                await api.client.post(f"/v1/jobs/{job['id']}/cancel")
            elif kind != "queued":
                claim = await keeper.claim()
                await keeper.progress(claim)
                await keeper.log(claim, "a line")
                if kind == "dead":
                    await keeper.die(claim)
                elif kind != "running":
                    await keeper.end(claim, Ending(kind), result={"pages": 3})
            made.append(await api.job(job["id"]))
    return made


@schema.parametrize()
@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
def test_every_operation_keeps_its_contract(case: Case[Any], served: Served) -> None:
    checks = CHECKS
    if case.meta is not None and case.meta.generation.mode.is_positive:
        _meet_what_is_there(case, served)
    elif case.operation.path == "/v1/jobs:batch":
        checks = [check for check in CHECKS if check is not negative_data_rejection]  # it refuses item by item
    case.call_and_validate(base_url=served.url, checks=checks, timeout=10, headers=served.headers)


def _meet_what_is_there(case: Case[Any], served: Served) -> None:
    """Made-up names find nothing: two in three requests get names of jobs, tasks and queues that exist."""
    path: dict[str, Any] = case.path_parameters
    body: Any = case.body
    if crc32(repr((path, body)).encode()) % 3 == 0:
        return
    if "job_id" in path:
        # A stream of a job that goes on has no end.
        path["job_id"] = served.known_id(path["job_id"], ended=case.operation.path.endswith("/events"))
    if "queue" in path:
        path["queue"] = "default"
    if isinstance(body, dict):
        for item in body.get("jobs", [body]):
            if "task" in item and case.operation.path.startswith("/v1/jobs"):
                item |= {"task": "report.write", "params": {"text": "March"}, "queue": None}
        if body.get("ids"):
            body["ids"] = [served.known_id(id, ended=False) for id in body["ids"]]
