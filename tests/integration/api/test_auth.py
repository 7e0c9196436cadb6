"""Keys: who may ask what. Tenants: what belongs to another does not exist."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
import websockets
from tests.integration.api.harness import REPORT, Api, EventStream, Keeper, serving
from websockets.asyncio.client import connect as connect_websocket

from longhaul.ledger import keys
from longhaul.ledger.connection import connect
from longhaul_api.settings import ApiSettings

pytestmark = pytest.mark.anyio

READS = ["/v1/jobs", "/v1/tasks", "/v1/queues", "/v1/queues/default", "/v1/workers", "/v1/dead-letters"]
READS_OF_A_JOB = ["", "/result", "/attempts", "/logs", "/events"]
ADMIN = [
    ("POST", "/v1/queues/default/pause"),
    ("POST", "/v1/queues/default/resume"),
    ("PATCH", "/v1/queues/default"),
    ("POST", "/v1/dead-letters:replay"),
    ("POST", "/v1/dead-letters:discard"),
]


class Locked:
    """An API that wants keys, none of which it remembers, so that a revoked one ends at once."""

    def __init__(self, api: Api, exits: AsyncExitStack) -> None:
        self.api = api
        self._exits = exits

    async def key(self, tenant: str = "default", scopes: tuple[str, ...] = keys.SCOPES) -> str:
        async with await connect(self.api.context.settings.database_url, application_name="test") as connection:
            return await keys.create(connection, name=f"of {tenant}", tenant=tenant, scopes=scopes)

    async def client(self, tenant: str = "default", scopes: tuple[str, ...] = keys.SCOPES) -> httpx2.AsyncClient:
        headers = {"Authorization": f"Bearer {await self.key(tenant, scopes)}"}
        client = httpx2.AsyncClient(base_url=self.api.url, timeout=20, headers=headers)
        return await self._exits.enter_async_context(client)

    async def revoke(self, key: str) -> None:
        async with await connect(self.api.context.settings.database_url, application_name="test") as connection:
            assert await keys.revoke(connection, key.split("_")[1])


@pytest.fixture
async def locked(settings: ApiSettings) -> AsyncIterator[Locked]:
    async with (
        serving(settings.model_copy(update={"auth_mode": "keys", "key_cache_seconds": 0.0})) as api,
        AsyncExitStack() as exits,
    ):
        yield Locked(api, exits)


async def submit(client: httpx2.AsyncClient, **job: Any) -> str:
    answer = await client.post("/v1/jobs", json=REPORT | job)
    assert answer.status_code == 202, answer.text
    id: str = answer.json()["id"]
    return id


async def test_without_a_right_key_nothing_is_told(locked: Locked) -> None:
    revoked = await locked.key()
    await locked.revoke(revoked)
    id, secret = (await locked.key()).split("_")[1:]
    wrong = [
        "",
        "Bearer",
        "Basic dTpw",
        "Bearer x",
        f"Bearer lh_{id}_{secret[::-1]}",
        f"Bearer {revoked}",
        "Bearer \xff",
    ]
    for header in wrong:
        for path in (*READS, "/v1/jobs/7", "/v1/jobs/7/events"):
            answer = await locked.api.client.get(path, headers=[(b"Authorization", header.encode("latin-1"))])
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), (header, path)
            assert answer.headers["www-authenticate"] == 'Bearer realm="longhaul"'
    unread = await locked.api.client.post("/v1/jobs", content=b"{", headers={"Content-Type": "application/json"})
    assert unread.status_code == 401


async def test_probes_need_no_key(locked: Locked) -> None:
    for path in ("/livez", "/readyz", "/metrics", "/openapi.json"):
        assert (await locked.api.client.get(path)).status_code == 200


async def test_a_revoked_key_ends_once_it_is_forgotten(locked: Locked) -> None:
    key = await locked.key()
    headers = {"Authorization": f"bearer {key}"}
    assert (await locked.api.client.get("/v1/tasks", headers=headers)).status_code == 200
    await locked.revoke(key)
    assert (await locked.api.client.get("/v1/tasks", headers=headers)).status_code == 401


async def test_the_ledger_holds_no_secret(locked: Locked) -> None:
    key = await locked.key()
    async with await connect(locked.api.context.settings.database_url, application_name="test") as connection:
        cursor = await connection.execute("SELECT row_to_json(api_keys)::text AS row FROM api_keys")
        rows = [row["row"] for row in await cursor.fetchall()]
    assert key.split("_")[1] in rows[0]
    assert key.split("_")[2] not in rows[0]


async def test_each_scope_opens_its_own_and_admin_opens_all(locked: Locked) -> None:
    clients = {scope: await locked.client(scopes=(scope,)) for scope in keys.SCOPES}
    job = await submit(clients["submit"])
    asked = [
        *[("GET", path, "read") for path in READS],
        *[("GET", f"/v1/jobs/{job}{path}", "read") for path in ("", "/result", "/attempts", "/logs")],
        ("POST", f"/v1/jobs/{job}/replay", "admin"),
        ("POST", f"/v1/jobs/{job}/cancel", "submit"),
        ("POST", f"/v1/dead-letters/{job}/replay", "admin"),
        ("POST", f"/v1/dead-letters/{job}/discard", "admin"),
        *[(method, path, "admin") for method, path in ADMIN],
        ("POST", "/v1/jobs", "submit"),
        ("POST", "/v1/jobs:batch", "submit"),
        ("GET", f"/v1/jobs/{job}/events", "read"),  # the job has ended by now, and so does the stream
    ]
    for method, path, needed in asked:
        for scope, client in clients.items():
            answer = await client.request(method, path, json={} if method in ("POST", "PATCH") else None)
            if scope in (needed, "admin"):
                assert answer.status_code not in (401, 403), (method, path, scope)
            else:
                assert (answer.status_code, answer.json()["required"]) == (403, needed), (method, path, scope)


async def test_what_belongs_to_another_tenant_does_not_exist(locked: Locked, keeper: Keeper) -> None:
    ours, theirs = await locked.client("ours"), await locked.client("theirs")
    running = await submit(theirs)
    claim = await keeper.claim()
    done = await submit(theirs)
    await keeper.end(await keeper.claim(), result={"secret": 1})
    dead = await submit(theirs)
    await keeper.die(await keeper.claim())
    for job in (running, done, dead):
        for path in READS_OF_A_JOB:
            answer = await ours.get(f"/v1/jobs/{job}{path}", headers={"Prefer": "wait=30"})
            assert (answer.status_code, answer.json()["code"]) == (404, "unknown_job"), path
        for path in (
            f"jobs/{job}/cancel",
            f"jobs/{job}/replay",
            f"dead-letters/{job}/replay",
            f"dead-letters/{job}/discard",
        ):
            answer = await ours.post(f"/v1/{path}")
            assert (answer.status_code, answer.json()["code"]) == (404, "unknown_job"), path
        with pytest.raises(websockets.InvalidStatus) as refusal:
            await connect_websocket(
                f"ws://127.0.0.1:{locked.api.port}/v1/jobs/{job}/ws", additional_headers=dict(ours.headers)
            )
        assert refusal.value.response.status_code == 404
    assert (await ours.get("/v1/jobs")).json() == {"jobs": [], "next": None}
    assert (await ours.get("/v1/jobs", params={"cursor": dead})).json()["jobs"] == []
    assert (await ours.get("/v1/dead-letters")).json()["jobs"] == []
    for action in ("replay", "discard"):
        for body in ({"ids": [dead, done]}, {}, {"queue": "default"}):
            bulk = (await ours.post(f"/v1/dead-letters:{action}", json=body)).json()
            assert bulk == {"done": [], "skipped": body.get("ids", [])}
    assert locked.api.context.hub.count() == 0
    # Nothing of it has changed anything.
    assert claim.epoch == 1
    assert (await theirs.get(f"/v1/jobs/{running}")).json()["cancel_requested"] is False
    assert [job["id"] for job in (await theirs.get("/v1/dead-letters")).json()["jobs"]] == [dead]
    assert (await theirs.get(f"/v1/jobs/{done}/result")).json()["result"] == {"secret": 1}


async def test_two_tenants_may_use_the_same_idempotency_key(locked: Locked) -> None:
    ours, theirs = await locked.client("ours"), await locked.client("theirs")
    answers = [
        await client.post("/v1/jobs", json=REPORT | {"priority": priority}, headers={"Idempotency-Key": "march"})
        for priority, client in enumerate((ours, theirs))
    ]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json()["id"] != answers[1].json()["id"]
    assert [len((await client.get("/v1/jobs")).json()["jobs"]) for client in (ours, theirs)] == [1, 1]


async def test_streams_take_the_key_too(locked: Locked, keeper: Keeper) -> None:
    key = await locked.key()
    async with httpx2.AsyncClient(base_url=locked.api.url, headers={"Authorization": f"Bearer {key}"}) as client:
        job = await submit(client)
    stream = await EventStream.open(locked.api.port, f"/v1/jobs/{job}/events", Authorization=f"Bearer {key}")
    url = f"ws://127.0.0.1:{locked.api.port}/v1/jobs/{job}/ws"
    # A browser can't set headers on a WebSocket; an address that others log is no place for a key otherwise.
    async with connect_websocket(f"{url}?access_token={key}") as one:
        await keeper.end(await keeper.claim())
        assert len([frame async for frame in one]) == 3
    assert len(await stream.rest()) == 3
    assert (await locked.api.client.get(f"/v1/jobs/{job}?access_token={key}")).status_code == 401
    with pytest.raises(websockets.InvalidStatus) as refusal:
        await connect_websocket(f"{url}?access_token={key}0")
    assert refusal.value.response.status_code == 401


async def test_without_keys_pages_of_other_sites_are_kept_out(api: Api, settings: ApiSettings) -> None:
    job = await api.submit()
    own = {"Origin": api.url}
    for headers in (own, {"Origin": "http://localhost", "Host": "localhost"}, {"Host": "[::1]:8000"}):
        assert (await api.client.post("/v1/jobs", json=REPORT, headers=headers)).status_code == 202
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://["}):
        answer = await api.client.post("/v1/jobs", json=REPORT, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    # A name of another site that leads to this machine: to its page's browser that is the page's own server.
    for headers in ({"Host": "evil.example", "Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Host": "["}):
        assert (await api.client.post("/v1/jobs", json=REPORT, headers=headers)).status_code == 403
        assert (await api.client.get(f"/v1/jobs/{job['id']}", headers=headers)).status_code == 403
    with pytest.raises(websockets.InvalidStatus) as refusal:
        await connect_websocket(f"ws://127.0.0.1:{api.port}/v1/jobs/{job['id']}/ws", origin="http://evil.example")  # type: ignore[arg-type]  # a str at run time
    assert refusal.value.response.status_code == 403
    async with serving(settings.model_copy(update={"auth_none_anywhere": True})) as anywhere:
        answer = await anywhere.client.get("/v1/tasks", headers={"Host": "longhaul.example"})
        assert answer.status_code == 200
