"""Clients of streams that stall, that all come back at once, and that are slow: an API of bounded memory."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx2
import psutil
import pytest
import redis.asyncio as redis
from tests.faults.toxiproxy import Toxiproxy
from tests.integration.api.harness import REPORT, EventStream, Keeper, publish_tasks
from tests.integration.cli.stack import Api
from tests.pods import free_port

from longhaul.ledger.connection import connect

pytestmark = pytest.mark.anyio

STREAMS = 3000
KIB_A_STREAM = 64
"""An idle stream is measured at a third of that."""
STALLED = 40
EVENT_BYTES = 2000
EVENTS = 4000
MEBIBYTE = 2**20


@pytest.fixture
def start_api(database_url: str, redis_url: str, tmp_path: Path) -> partial[Api]:
    """Starts an API as a process of its own, always at the same address."""
    environment = {"LONGHAUL_DATABASE_URL": database_url, "LONGHAUL_REDIS_URL": redis_url}
    return partial(Api, environment=environment, port=free_port(), log=tmp_path / "api.log")


@pytest.fixture
async def keeper(database_url: str, redis_url: str) -> AsyncIterator[Keeper]:
    await publish_tasks(database_url)
    connection = await connect(database_url, application_name="keeper")
    async with redis.Redis.from_url(redis_url) as client:
        one = Keeper(connection, client)
        await one.register()
        yield one
    await connection.close()


async def submitted(api: Api) -> str:
    """The path of a new job's events."""
    async with httpx2.AsyncClient(base_url=api.url) as client:
        answer = await client.post("/v1/jobs", json=REPORT)
    assert answer.status_code == 202
    return f"/v1/jobs/{answer.json()['id']}/events"


def resident_bytes(api: Api) -> int:
    size: int = psutil.Process(api.pid).memory_info().rss
    return size


async def opened(port: int, path: str, count: int, **headers: str) -> list[EventStream]:
    """So many streams, asked for at once."""

    async def one() -> EventStream:
        async with asyncio.timeout(60):
            while True:
                try:
                    return await EventStream.open(port, path, **headers)
                except ConnectionError:  # the machine's queue of new connections was full
                    await asyncio.sleep(0.05)

    return await asyncio.gather(*(one() for _ in range(count)))


async def closed(streams: list[EventStream]) -> None:
    for stream in streams:
        await stream.close()


@pytest.mark.fault("F41")
@pytest.mark.timeout(300)
async def test_thousands_of_streams_that_come_back_at_once_miss_nothing(
    start_api: partial[Api], keeper: Keeper
) -> None:
    """Their API dies; all of them come to the next one with the last event that they have."""
    api = await asyncio.to_thread(start_api)
    try:
        path = await submitted(api)
        claim = await keeper.claim()
        await keeper.progress(claim, 20)
        streams = await opened(api.port, path, STREAMS)
        seen = [await stream.ids(22, timeout_seconds=60) for stream in streams]
        assert seen == [list(range(1, 23))] * STREAMS
        api.end()
        await closed(streams)
        # Meanwhile the job goes on, and nobody hears of it.
        await keeper.progress(claim, 20)
        api = await asyncio.to_thread(start_api)
        before = resident_bytes(api)
        streams = await opened(api.port, path, STREAMS, Last_Event_ID="22")
        assert {stream.status for stream in streams} == {200}
        await keeper.end(claim)
        rests = await asyncio.gather(*(stream.rest() for stream in streams))
        assert [[int(event["id"]) for event in rest] for rest in rests] == [list(range(23, 44))] * STREAMS
        assert (resident_bytes(api) - before) / STREAMS < KIB_A_STREAM * 1024
        await closed(streams)
    finally:
        api.end()


@pytest.mark.fault("F41")
@pytest.mark.timeout(180)
async def test_clients_that_stall_cost_bounded_memory_and_resume_without_a_gap(
    start_api: partial[Api], keeper: Keeper
) -> None:
    api = await asyncio.to_thread(start_api)
    try:
        path = await submitted(api)
        claim = await keeper.claim()
        warm = await EventStream.open(api.port, path)
        await warm.ids(2)
        stalled = [_stalled(api.port, path) for _ in range(STALLED)]
        before = resident_bytes(api)
        last_id = 2
        for _ in range(EVENTS // 200):
            await keeper.progress(claim, 200, padding="x" * EVENT_BYTES)
            last_id = (await warm.ids(200, timeout_seconds=30))[-1]
        # Unread, all of it would be 320 MB. The job's newest events are held once, and each socket's buffers.
        grown = resident_bytes(api) - before
        assert grown < 80 * MEBIBYTE
        assert grown < STALLED * EVENTS * EVENT_BYTES / 4
        # Those who stalled come back with what they have read: a handful, then all changes and the newest of the rest.
        for one in stalled:
            one.close()
        behind = await EventStream.open(api.port, path, Last_Event_ID=str(last_id - 100))
        assert await behind.ids(100, timeout_seconds=30) == list(range(last_id - 99, last_id + 1))
        far_behind = await EventStream.open(api.port, path, Last_Event_ID="1")
        await keeper.end(claim)
        for stream, first in ((behind, None), (far_behind, "started")):
            events = await stream.rest()
            assert events[-1]["event"] == "succeeded"
            assert first in (None, events[0]["event"])
            ids = [int(event["id"]) for event in events]
            assert ids == sorted(set(ids))
            newest = ids[-200:] if first else ids
            assert newest == list(range(newest[0], last_id + 2))
    finally:
        api.end()


def _stalled(port: int, path: str) -> socket.socket:
    """A client that asks for a stream, and never reads."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)  # the kernel would take megabytes for it
    one.connect(("127.0.0.1", port))
    one.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return one


@pytest.mark.fault("F24")
async def test_clients_behind_slow_lines_hold_up_nobody_else(
    start_api: partial[Api], keeper: Keeper, proxies: Toxiproxy
) -> None:
    """Fifty send 20 kB at 4 kB/s, some are cut in the middle; another one is answered as ever."""
    api = await asyncio.to_thread(start_api)
    line = proxies.proxy("line", api.port)
    line.narrow(kilobytes_per_second=4)
    body = {**REPORT, "metadata": {"text": "x" * 20_000}}
    try:
        async with (
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{line.port}", timeout=60) as slow,
            httpx2.AsyncClient(base_url=api.url, timeout=10) as fast,
        ):
            await fast.post("/v1/jobs", json=REPORT)
            pending = [
                asyncio.create_task(slow.post("/v1/jobs", json=body, headers={"Idempotency-Key": f"slow-{number}"}))
                for number in range(50)
            ]
            took: list[float] = []
            while len(took) < 100:
                began = time.monotonic()
                answer = await fast.post("/v1/jobs", json=REPORT)
                assert answer.status_code == 202
                took.append(time.monotonic() - began)
            assert sum(task.done() for task in pending) < 50
            line.blip()
            outcomes = await asyncio.gather(*pending, return_exceptions=True)
            assert any(isinstance(one, httpx2.TransportError) for one in outcomes)
            # Whoever was cut repeats under its key, and has one job.
            answers = [
                await fast.post("/v1/jobs", json=body, headers={"Idempotency-Key": f"slow-{number}"})
                for number in range(50)
            ]
            assert {answer.status_code for answer in answers} <= {200, 202}
            assert len({answer.json()["id"] for answer in answers}) == 50
            assert sorted(took)[90] < 1.0
    finally:
        api.end()
