"""The raw doorbell equals what the pinned Celery sends, and a real Celery worker hears it."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import pytest
import redis.asyncio as redis
from prometheus_client.parser import text_string_to_metric_families
from tests.pods import Platform, Worker, platform
from tests.waiting import eventually

from longhaul import doorbell
from longhaul.ids import new_job_id
from longhaul.ledger import catalogue, jobs
from longhaul_worker.celery.app import app, broker_url, hear_doorbell

pytestmark = pytest.mark.anyio

QUEUE = "reports"
EACH_ITS_OWN = {"headers": {"id", "root_id", "origin"}, "properties": {"correlation_id", "reply_to", "delivery_tag"}}
"""Who sent it, and which one it is: all else must be equal."""


def send_with_celery(redis_url: str, queue: str) -> None:
    """What the worker's own Celery app sends for one doorbell."""
    with app.connection_for_write(broker_url(redis_url)) as connection:
        hear_doorbell.apply_async(queue=doorbell.key(queue), connection=connection)  # type: ignore[call-arg]  # celery-types leaves it out


async def taken(client: redis.Redis, queue: str = QUEUE) -> list[dict[str, Any]]:
    """The messages of a queue as they lie in Redis, which is empty then. Oldest first."""
    raw = await client.lrange(doorbell.key(queue), 0, -1)
    await client.delete(doorbell.key(queue))
    return [json.loads(message) for message in reversed(raw)]


def without_ids(message: dict[str, Any]) -> dict[str, Any]:
    """A message with only the types of what differs from one to the next."""
    shown = dict(message)
    for part, names in EACH_ITS_OWN.items():
        shown[part] = {name: type(value).__name__ if name in names else value for name, value in message[part].items()}
    return shown


async def test_the_raw_doorbell_equals_the_one_that_celery_sends(redis_url: str) -> None:
    async with doorbell.create_client(redis_url) as client:
        await anyio.to_thread.run_sync(send_with_celery, redis_url, QUEUE)
        # No other list: a priority step of its own would be one that nobody measures.
        assert await client.keys("doorbell*") == [doorbell.key(QUEUE).encode()]
        (golden,) = await taken(client)
        await doorbell.ring(client, {QUEUE: 1})
        (raw,) = await taken(client)
    assert without_ids(raw) == without_ids(golden)
    for part in EACH_ITS_OWN:
        assert list(raw[part]) == list(golden[part])
    assert json.loads(base64.b64decode(raw["body"])) == json.loads(base64.b64decode(golden["body"]))
    for message in (raw, golden):
        # One id is the message's own wherever Celery repeats it.
        assert message["headers"]["id"] == message["headers"]["root_id"] == message["properties"]["correlation_id"]
    for name in ("correlation_id", "delivery_tag"):
        assert [UUID(message["properties"][name]).version for message in (raw, golden)] == [4, 4]


async def test_each_doorbell_has_ids_of_its_own(redis_url: str) -> None:
    """Celery keys what it holds by the delivery tag: two of one tag would be one."""
    async with doorbell.create_client(redis_url) as client:
        await doorbell.ring(client, {QUEUE: 2500, "other": 3})
        assert await doorbell.count(client, [QUEUE, "other", "none"]) == {QUEUE: 2500, "other": 3, "none": 0}
        messages = await taken(client)
        tags = {message["properties"]["delivery_tag"] for message in messages}
        assert len(tags) == 2500
        (other, *_) = await taken(client, "other")
        assert other["properties"]["delivery_info"]["routing_key"] == "doorbell:other"


@pytest.fixture
def worker(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[tuple[Platform, Worker]]:
    """A pod without a controller: nobody rings but the test."""
    with platform(database_url, redis_url, tmp_path) as here:
        yield here, here.start_worker()


async def unrung(here: Platform, *, queue: str = "default") -> UUID:
    """A due job that nobody rang for."""
    async with await here.connect() as connection:
        spec = (await catalogue.read(connection))["demo.echo"]
        job = jobs.NewJob(
            id=new_job_id(),
            tenant="default",
            submitted_by="test",
            task=spec.name,
            queue=queue,
            priority=0,
            params={},
            metadata={},
            retries_max=0,
            max_interruptions=0,
            timeout_seconds=60,
            soft_timeout_seconds=None,
            backoff_seconds=0,
            backoff_max_seconds=0,
            interruptible=False,
        )
        await jobs.submit(connection, [job])
    return job.id


def heard(worker: Worker) -> dict[str, float]:
    """Doorbells that the pod has heard, by whether a job was claimed (`true`, `false`)."""
    return count(worker, "longhaul_doorbells_heard_total", by="claimed")


def count(worker: Worker, metric: str, *, by: str = "") -> dict[str, float]:
    """A pod's metric, by one of its labels."""
    answer = worker.probe("/metrics")
    assert answer is not None
    samples = itertools.chain(*(family.samples for family in text_string_to_metric_families(answer.text)))
    return {one.labels.get(by, ""): one.value for one in samples if one.name == metric}


async def test_a_real_worker_hears_both_and_forgets_those_without_work(
    worker: tuple[Platform, Worker], redis_url: str
) -> None:
    here, pod = worker
    async with doorbell.create_client(redis_url) as client:
        by_hand = await unrung(here)
        await doorbell.ring(client, {"default": 1})
        assert (await here.wait_state(by_hand, "succeeded"))["attempt"] == 1
        by_celery = await unrung(here)
        await anyio.to_thread.run_sync(send_with_celery, redis_url, "default")
        assert (await here.wait_state(by_celery, "succeeded"))["attempt"] == 1
        assert heard(pod) == {"true": 2}

        await doorbell.ring(client, {"default": 150})

        async def all_heard() -> bool:
            return heard(pod).get("false") == 150

        await eventually(all_heard, what="those that stand for nothing were heard too")
        # Acknowledged early: nothing is kept that a restart would bring back.
        assert await client.exists("unacked", "unacked_index", doorbell.key("default")) == 0
        last = await unrung(here)
        await doorbell.ring(client, {"default": 1})
        await here.wait_state(last, "succeeded")


def forged() -> dict[str, bytes]:
    """What someone who can write to Redis may put into a queue, by what is wrong with it. Dropped, all of it."""
    genuine = doorbell.messages("default", 1)[0]
    return {
        "no JSON": b"\xff not json",
        "no object": b"[1, 2]",
        "nothing": b"",
        "an empty object": b"{}",
        "another task": genuine.replace(b"longhaul.doorbell", b"os.system"),
        "pickle": genuine.replace(b"application/json", b"application/x-python-serialize"),
        "no arguments at all": json.dumps({**json.loads(genuine), "body": "bm9uc2Vuc2U="}).encode(),
        "a queue that is not there": doorbell.messages("elsewhere", 1)[0],
    }


def odd() -> dict[str, bytes]:
    """What still reads as a doorbell, or as a call that its child refuses."""
    genuine = doorbell.messages("default", 1)[0]
    arguments = base64.b64encode(b'[["rm"], {"queue": "all"}, {}]').decode()
    return {
        "arguments": json.dumps({**json.loads(genuine), "body": arguments}).encode(),
        "10 MB": genuine.replace(b'"argsrepr":"()"', b'"argsrepr":"' + b"x" * 10_000_000 + b'"'),
    }


@pytest.mark.fault("F20")
async def test_forged_doorbells_harm_nobody(worker: tuple[Platform, Worker], redis_url: str) -> None:
    here, pod = worker
    celery = pod.celery()
    async with doorbell.create_client(redis_url) as client:
        for message in [*forged().values(), *odd().values()]:
            await client.lpush(doorbell.key("default"), message)
            job_id = await unrung(here)
            await doorbell.ring(client, {"default": 1})
            assert (await here.wait_state(job_id, "succeeded"))["attempt"] == 1
            live = pod.probe("/livez")
            assert live is not None
            assert live.status_code == 200
    assert pod.celery() == celery  # the same process still
    assert count(pod, "longhaul_doorbells_dropped_total") == {"": len(forged())}


async def test_a_forged_doorbell_starts_nothing_of_a_queue_that_the_pod_does_not_serve(
    worker: tuple[Platform, Worker], redis_url: str
) -> None:
    here, pod = worker
    elsewhere = await unrung(here, queue="elsewhere")
    mine = await unrung(here)
    async with doorbell.create_client(redis_url) as client:
        forgery = doorbell.messages("elsewhere", 1)[0]
        await client.lpush(doorbell.key("default"), forgery)
        await doorbell.ring(client, {"default": 1})
    await here.wait_state(mine, "succeeded")

    async def is_dropped() -> bool:
        return count(pod, "longhaul_doorbells_dropped_total") == {"": 1}

    await eventually(is_dropped, what="the forgery was counted")
    assert (await here.job(elsewhere))["state"] == "queued"
