"""Streams: every event once and in order, whatever happens to Redis, to other clients and to this process."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import orjson
import pytest
import redis.asyncio as redis
import websockets
from tests.integration.api.harness import Api, EventStream, Keeper, serving
from tests.waiting import eventually
from websockets.asyncio.client import connect as connect_websocket

from longhaul.contract import EventView
from longhaul.events import channel
from longhaul.ledger.connection import connect
from longhaul.ledger.events import encode
from longhaul_api.feed import KEPT
from longhaul_api.settings import ApiSettings

pytestmark = pytest.mark.anyio


@pytest.fixture
async def second_api(settings: ApiSettings) -> AsyncIterator[Api]:
    async with serving(settings) as running:
        yield running


async def test_a_stream_tells_a_job_from_its_first_event_to_its_last(api: Api, keeper: Keeper) -> None:
    job = await api.submit()
    stream = await EventStream.open(api.port, f"/v1/jobs/{job['id']}/events")
    assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert await stream.ids(1) == [1]
    claim = await keeper.claim()
    await keeper.progress(claim, 2)
    await keeper.log(claim, "line\nbreak")
    await keeper.end(claim)
    events = await stream.rest()
    assert [event["event"] for event in events] == ["started", "progress", "progress", "log", "succeeded"]
    views = [EventView.model_validate_json(event["data"]) for event in events]
    assert [view.id for view in views] == [int(event["id"]) for event in events] == [2, 3, 4, 5, 6]
    assert views[3].data["message"] == "line\nbreak"
    assert {str(view.job_id) for view in views} == {job["id"]}


async def test_a_stream_of_a_finished_job_ends_and_then_is_not_asked_for_again(api: Api, keeper: Keeper) -> None:
    job = await api.submit()
    await keeper.end(await keeper.claim())
    path = f"/v1/jobs/{job['id']}/events"
    stream = await EventStream.open(api.port, path)
    assert [int(event["id"]) for event in await stream.rest()] == [1, 2, 3]
    again = await api.client.get(path, headers={"Last-Event-ID": "3"})
    assert (again.status_code, again.content) == (204, b"")


async def test_last_event_id_resumes_without_gap_or_repeat(api: Api, second_api: Api, keeper: Keeper) -> None:
    """The client changes to another API process in the middle, as it does in a rollout."""
    job = await api.submit()
    claim = await keeper.claim()
    path = f"/v1/jobs/{job['id']}/events"
    seen: list[int] = []
    for turn in range(6):
        server = (api, second_api)[turn % 2]
        last_id = {"Last-Event-ID": str(seen[-1])} if seen else {}
        stream = await EventStream.open(server.port, path, **last_id)
        await keeper.progress(claim, 3)
        seen += await stream.ids(3)
        await stream.close()
    await keeper.end(claim)
    stream = await EventStream.open(api.port, f"{path}?last_event_id={seen[-1]}")
    seen += [int(event["id"]) for event in await stream.rest()]
    assert seen == list(range(1, 2 + 18 + 1 + 1))


async def test_a_wrong_last_event_id_is_refused_and_a_too_high_one_is_not_believed(api: Api, keeper: Keeper) -> None:
    job = await api.submit()
    path = f"/v1/jobs/{job['id']}/events"
    for wrong in ("x", "-1", "1.5", "9" * 30):
        answer = await api.client.get(path, headers={"Last-Event-ID": wrong})
        assert answer.status_code == 422
    stream = await EventStream.open(api.port, path, Last_Event_ID="99")
    await keeper.end(await keeper.claim())
    assert [int(event["id"]) for event in await stream.rest()] == [2, 3]


async def test_lost_messages_are_filled_from_the_ledger(api: Api, keeper: Keeper) -> None:
    job = await api.submit()
    stream = await EventStream.open(api.port, f"/v1/jobs/{job['id']}/events")
    claim = await keeper.claim()
    await stream.ids(2)
    keeper.publishes = False
    await keeper.progress(claim, 5)
    keeper.publishes = True
    await keeper.progress(claim)
    assert await stream.ids(6) == [3, 4, 5, 6, 7, 8]


async def test_what_nobody_published_arrives_with_the_next_look(settings: ApiSettings, keeper: Keeper) -> None:
    async with serving(settings.model_copy(update={"heartbeat_seconds": 0.5})) as api:
        job = await api.submit()
        stream = await EventStream.open(api.port, f"/v1/jobs/{job['id']}/events")
        await stream.ids(1)
        keeper.publishes = False
        await keeper.end(await keeper.claim())
        assert [event["event"] for event in await stream.rest()] == ["started", "succeeded"]


@pytest.mark.parametrize(("ahead", "type"), [(1, "succeeded"), (10**15, "progress"), (10**15, "succeeded")])
async def test_a_forged_event_ends_no_stream(
    api: Api, keeper: Keeper, settings: ApiSettings, ahead: int, type: str
) -> None:
    """Tasks reach Redis too: what comes over it is a hint, and the ledger says whether a job has ended."""
    job = await api.submit()
    claim = await keeper.claim()
    stream = await EventStream.open(api.port, f"/v1/jobs/{job['id']}/events")
    assert await stream.ids(2) == [1, 2]
    async with redis.Redis.from_url(settings.events_redis_url) as client:
        forged = encode(claim.job_id, 2 + ahead, type, datetime.now(UTC), 1, {})
        assert await client.publish(channel(claim.job_id), forged) == 1
        await keeper.log(claim, "real")
        event = await stream.next()
        assert event is not None
        assert orjson.loads(event["data"])["data"]["message"] == "real"
        await keeper.end(claim)
        assert [event["event"] for event in await stream.rest()] == ["succeeded"]


async def test_a_stream_passes_over_events_that_the_ledger_does_not_have(
    api: Api, keeper: Keeper, settings: ApiSettings
) -> None:
    """A trigger of the operator's swallowed them, and a message of one was lost."""
    job = await api.submit()
    claim = await keeper.claim()
    stream = await EventStream.open(api.port, f"/v1/jobs/{job['id']}/events")
    assert await stream.ids(2) == [1, 2]
    keeper.publishes = False
    for number in range(4):
        await keeper.log(claim, str(number))
    await keeper.connection.execute("DELETE FROM job_events WHERE seq IN (3, 5)")
    keeper.publishes = True
    await keeper.end(claim)
    assert [int(event["id"]) for event in await stream.rest()] == [4, 6, 7]


async def test_a_flushed_redis_loses_nothing(api: Api, keeper: Keeper, settings: ApiSettings) -> None:
    job = await api.submit()
    stream = await EventStream.open(api.port, f"/v1/jobs/{job['id']}/events")
    claim = await keeper.claim()
    await stream.ids(2)
    async with redis.Redis.from_url(settings.redis_url) as client:
        await client.flushall()
        await keeper.progress(claim)
        # The connection goes too, while events happen.
        await client.client_kill_filter(_type="pubsub")
        await keeper.progress(claim, 3)
    await keeper.end(claim)
    assert [int(event["id"]) for event in await stream.rest()] == [3, 4, 5, 6, 7]


async def test_an_idle_stream_has_a_heartbeat(settings: ApiSettings) -> None:
    async with serving(settings.model_copy(update={"heartbeat_seconds": 0.3})) as api:
        job = await api.submit()
        stream = await EventStream.open(api.port, f"/v1/jobs/{job['id']}/events")
        await stream.ids(1)
        with pytest.raises(TimeoutError):
            await stream.next(timeout_seconds=1.5)
        assert 2 <= stream.comments <= 6


async def test_idle_streams_ask_the_ledger_next_to_nothing(api: Api, settings: ApiSettings) -> None:
    jobs = [await api.submit() for _ in range(50)]
    streams = [await EventStream.open(api.port, f"/v1/jobs/{job['id']}/events") for job in jobs]
    for stream in streams:
        await stream.ids(1)
    connection = await connect(settings.database_url, application_name="test")

    async def transactions() -> int:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        cursor = await connection.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
        row = await cursor.fetchone()
        assert row is not None
        return int(row["xact_commit"])

    before = await transactions()
    await asyncio.sleep(2)  # the time itself is what is measured
    assert await transactions() - before < 20
    async with redis.Redis.from_url(settings.redis_url) as client:
        assert len(await client.pubsub_channels("events:*")) == 50
        assert len(await client.client_list(_type="pubsub")) == 1
        for stream in streams:
            await stream.close()

        async def unsubscribed() -> bool:
            return not await client.pubsub_channels("events:*")

        await eventually(unsubscribed, what="no subscription is left where nobody listens")
    assert api.context.hub.count() == 0
    await connection.close()


async def test_two_hundred_clients_of_one_job_all_get_everything(api: Api, keeper: Keeper) -> None:
    job = await api.submit()
    path = f"/v1/jobs/{job['id']}/events"
    streams = [await EventStream.open(api.port, path) for _ in range(200)]
    claim = await keeper.claim()
    for _ in range(5):
        await keeper.progress(claim, 4)
    await keeper.end(claim)
    for events in await asyncio.gather(*[stream.rest() for stream in streams]):
        assert [int(event["id"]) for event in events] == list(range(1, 24))


async def test_a_slow_client_is_bounded_and_slows_nobody(api: Api, keeper: Keeper) -> None:
    """One client stops reading while a job talks a lot; it gets every change of state, and the newest of the rest."""
    job = await api.submit()
    path = f"/v1/jobs/{job['id']}/events"
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)  # the kernel would take megabytes for it
    slow.connect(("127.0.0.1", api.port))
    slow.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    fast = await EventStream.open(api.port, path)
    claim = await keeper.claim()
    last_id = (await fast.ids(2))[-1]
    for _ in range(40):
        await keeper.progress(claim, 100, padding="x" * 2000)
        began = time.monotonic()
        ids = await fast.ids(100)
        assert ids == list(range(last_id + 1, last_id + 101))
        assert time.monotonic() - began < 5
        last_id = ids[-1]
    await keeper.end(claim)
    assert [event["event"] for event in await fast.rest()] == ["succeeded"]
    (feed,) = api.context.hub._feeds.values()
    assert len(feed._events) <= 2 * KEPT
    slow.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=slow)
    events = await (await EventStream(reader, writer).read_head()).rest()
    ids = [int(event["id"]) for event in events]
    assert ids == sorted(set(ids))
    assert len(ids) < 3000
    assert ids[-KEPT:] == list(range(4003 - KEPT + 1, 4004))
    assert [event["event"] for event in events if event["event"] != "progress"] == ["queued", "started", "succeeded"]


async def test_a_late_client_of_a_long_history_gets_all_changes_and_the_newest_reports(
    api: Api, keeper: Keeper
) -> None:
    job = await api.submit()
    claim = await keeper.claim()
    for _ in range(10):
        await keeper.progress(claim, 100)
    await keeper.end(claim)
    stream = await EventStream.open(api.port, f"/v1/jobs/{job['id']}/events")
    ids = [int(event["id"]) for event in await stream.rest()]
    assert ids == [1, 2, *range(1003 - KEPT + 1, 1004)]


async def test_streams_end_at_once_when_the_process_goes(settings: ApiSettings, keeper: Keeper) -> None:
    async with serving(settings) as api:
        job = await api.submit()
        stream = await EventStream.open(api.port, f"/v1/jobs/{job['id']}/events")
        assert await stream.ids(1) == [1]
        poll = asyncio.create_task(api.client.get(f"/v1/jobs/{job['id']}", headers={"Prefer": "wait=60"}))
        await api.listening(2)
        api.context.hub.stop()
        async with asyncio.timeout(20):
            assert await stream.next() is None
            assert (await poll).status_code == 200


async def test_a_websocket_carries_the_same_events(api: Api, keeper: Keeper) -> None:
    job = await api.submit()
    url = f"ws://127.0.0.1:{api.port}/v1/jobs/{job['id']}/ws"
    async with connect_websocket(url) as first:
        assert orjson.loads(await first.recv())["id"] == 1
    async with connect_websocket(f"{url}?last_event_id=1") as second:
        claim = await keeper.claim()
        await second.send("what a client says is passed over")
        await second.send("twice")
        await keeper.progress(claim)
        await keeper.end(claim)
        frames = [EventView.model_validate_json(frame) async for frame in second]
        assert [(frame.id, frame.type) for frame in frames] == [(2, "started"), (3, "progress"), (4, "succeeded")]
        assert second.close_code == 1000
    assert api.context.hub.count() == 0


async def test_a_websocket_for_no_job_is_refused_in_http(api: Api) -> None:
    with pytest.raises(websockets.InvalidStatus) as refusal:
        await connect_websocket(f"ws://127.0.0.1:{api.port}/v1/jobs/nothing/ws")
    assert refusal.value.response.status_code == 404
    assert orjson.loads(refusal.value.response.body or b"")["code"] == "unknown_job"


async def test_a_websocket_closes_with_1012_when_the_process_goes(api: Api) -> None:
    job = await api.submit()
    async with connect_websocket(f"ws://127.0.0.1:{api.port}/v1/jobs/{job['id']}/ws") as one:
        await one.recv()
        api.context.hub.stop()
        with pytest.raises(websockets.ConnectionClosed):
            await one.recv()
        assert one.close_code == 1012
