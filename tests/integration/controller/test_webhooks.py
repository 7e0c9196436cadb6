"""F39: receivers of webhooks that fail in every way, and leaders that do. No job ever notices."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from standardwebhooks import WebhookVerificationError
from tests.integration.controller.conftest import StartReplica
from tests.integration.controller.deliveries import ACME, SECRET, delivering, ended, settings, settled, unaffected, view
from tests.integration.controller.receiver import drip, noise, receiving, silence, status
from tests.integration.ledger import given

from longhaul.ledger import jobs, webhooks
from longhaul.ledger.connection import Connection
from longhaul.states import Ending
from longhaul.webhooks import tenant_secret

pytestmark = [pytest.mark.anyio, pytest.mark.fault("F39")]


@pytest.fixture
async def delivery(database_url: str) -> AsyncIterator[None]:
    """Webhooks are delivered."""
    async with delivering(settings(database_url)):
        yield


# What a receiver gets.


@pytest.mark.usefixtures("delivery")
async def test_a_receiver_gets_one_signed_message(connection: Connection) -> None:
    async with receiving() as receiver:
        id = await ended(connection, receiver.url(path="/hook?for=acme"), metadata={"order": 7})
        assert (await view(connection, id))["tries"] <= 1
        found = await settled(connection, id, "delivered")
        (request,) = receiver.requests
    assert (found["tries"], found["last_status"], found["last_error"], found["next_try_at"]) == (1, 200, None, None)
    assert request.line == "POST /hook?for=acme HTTP/1.1"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["webhook-id"] == str(id)
    message = request.verified(ACME)
    with pytest.raises(WebhookVerificationError):
        request.verified(tenant_secret(SECRET, "another tenant"))
    job = await given.row(connection, id)
    assert message["type"] == "job.succeeded"
    assert message["timestamp"] == message["data"]["finished_at"] == job["finished_at"].isoformat()
    assert {
        name: message["data"][name] for name in ("id", "task", "queue", "state", "attempt", "metadata", "error")
    } == {
        "id": str(id),
        "task": given.TASK,
        "queue": given.QUEUE,
        "state": "succeeded",
        "attempt": 1,
        "metadata": {"order": 7},
        "error": None,
    }
    assert "result" not in json.dumps(message)


@pytest.mark.usefixtures("delivery")
async def test_a_message_stays_small_whatever_the_job_holds(connection: Connection) -> None:
    async with receiving() as receiver:
        await ended(connection, receiver.url(), metadata={"note": "x" * webhooks.TOLD_BYTES_AT_MOST})
        (request,) = await receiver.received(1)
    assert request.verified(ACME)["data"]["metadata"] is None
    assert len(request.body) < 1000


async def test_while_secrets_change_both_verify(connection: Connection, database_url: str) -> None:
    new = "the new secret of the installation that is as long"
    both = settings(database_url, webhook_secret=f"{new}, {SECRET}")
    async with receiving() as receiver, delivering(both):
        await ended(connection, receiver.url(), Ending.PERMANENT)
        (request,) = await receiver.received(1)
    for secret in (new, SECRET):
        message = request.verified(tenant_secret(secret, "acme"))
        assert (message["type"], message["data"]["error"]["code"]) == ("job.failed", "permanent")


# Receivers that fail.


@pytest.mark.usefixtures("delivery")
async def test_an_error_is_tried_again_with_the_same_id(connection: Connection) -> None:
    async with receiving(status(500), status(503), status(204)) as receiver:
        id = await ended(connection, receiver.url())
        found = await settled(connection, id, "delivered")
    assert receiver.ids == [str(id)] * 3
    assert (found["tries"], found["last_status"]) == (3, 204)
    for request in receiver.requests:
        assert request.verified(ACME)["data"]["id"] == str(id)
    await unaffected(connection, id)


@pytest.mark.usefixtures("delivery")
async def test_410_is_the_last_word(connection: Connection) -> None:
    async with receiving(status(410), status(200)) as receiver:
        id = await ended(connection, receiver.url())
        found = await settled(connection, id, "failed")
        assert (found["tries"], found["last_status"], found["last_error"]) == (1, 410, "The receiver answered 410.")
        assert await webhooks.redeliver(connection, id)  # someone mended it
        await settled(connection, id, "delivered")
    assert receiver.ids == [str(id)] * 2
    await unaffected(connection, id)


async def test_a_redirect_is_not_followed_and_tries_end(connection: Connection, database_url: str) -> None:
    async with (
        receiving() as inside,
        receiving(status(301, Location=inside.url())) as receiver,
        delivering(settings(database_url, webhook_tries=2)),
    ):
        id = await ended(connection, receiver.url())
        found = await settled(connection, id, "failed")
    assert (found["tries"], found["last_status"], found["last_error"]) == (2, 301, "The receiver answered 301.")
    assert (len(receiver.requests), inside.requests) == (2, [])
    await unaffected(connection, id)


@pytest.mark.parametrize(
    ("behave", "sentence"),
    [
        pytest.param(silence, "did not answer within 0.5 seconds", id="timeout"),
        pytest.param(drip(part=b"x: y\r\n", every_seconds=0.1), "did not answer within 0.5", id="slow headers"),
        pytest.param(drip(part=b"x: y\r\n" * 20_000, every_seconds=0), "was not HTTP", id="endless headers"),
        pytest.param(drip(part=b"x" * 100_000, every_seconds=0), "was not HTTP", id="one endless header"),
        pytest.param(noise, "was not HTTP", id="no HTTP"),
    ],
)
async def test_a_bad_answer_takes_bounded_time_and_memory(
    connection: Connection, database_url: str, behave: Any, sentence: str
) -> None:
    async with receiving(behave) as receiver, delivering(settings(database_url, webhook_tries=2)):
        id = await ended(connection, receiver.url())
        found = await settled(connection, id, "failed")
    assert (found["tries"], found["last_status"]) == (2, None)
    assert sentence in found["last_error"]
    await unaffected(connection, id)


@pytest.mark.usefixtures("delivery")
async def test_an_endless_body_is_not_read(connection: Connection) -> None:
    async with receiving(drip(part=b"content-length: 9\r\n\r\n", every_seconds=0.1)) as receiver:
        id = await ended(connection, receiver.url())
        assert (await settled(connection, id, "delivered"))["tries"] == 1


async def test_a_receiver_that_hangs_holds_up_no_other(connection: Connection, database_url: str) -> None:
    slow = settings(database_url, webhook_timeout_seconds=60, webhook_concurrency=40)
    async with receiving(silence) as hung, receiving() as other, delivering(slow):
        for id in await given.queued(connection, 100, webhook_url=hung.url()):
            await jobs.cancel(connection, id)
        await hung.received(16)
        (id,) = await given.queued(connection, webhook_url=other.url())
        await jobs.cancel(connection, id)
        assert (await settled(connection, id, "delivered"))["tries"] == 1
    assert len(hung.requests) <= 32


# Leaders: two at once, and one that dies.


async def test_two_leaders_at_once_deliver_once(connection: Connection, database_url: str) -> None:
    async with receiving() as receiver:
        ids = await given.queued(connection, 60, webhook_url=receiver.url())
        for id in ids:
            await jobs.cancel(connection, id)
        patient = settings(database_url, webhook_timeout_seconds=20)
        async with delivering(patient), delivering(patient):
            for id in ids:
                await settled(connection, id, "delivered")
    assert sorted(receiver.ids) == sorted(map(str, ids))


async def test_a_leader_that_dies_half_way_is_followed_by_another(
    connection: Connection, database_url: str, redis_url: str, start_replica: StartReplica
) -> None:
    """The price of telling at least once: a second message with the same id."""
    environment = {
        "LONGHAUL_WEBHOOK_SECRET": SECRET,
        "LONGHAUL_WEBHOOK_ALLOW_PRIVATE": "true",
        "LONGHAUL_WEBHOOK_TIMEOUT_SECONDS": "30",
    }
    async with receiving(silence, status(200)) as receiver:
        first = start_replica(database_url, redis_url, **environment)
        id = await ended(connection, receiver.url())
        await receiver.received(1, timeout_seconds=30)
        first.send(signal.SIGKILL)
        first.wait_exit(10)
        found = await view(connection, id)
        assert (found["state"], found["tries"]) == ("waiting", 1)
        # Its 40 seconds pass.
        await connection.execute("UPDATE webhook_deliveries SET due_at = now()")
        second = start_replica(database_url, redis_url, **environment)
        found = await settled(connection, id, "delivered", timeout_seconds=30)
    assert found["tries"] == 2
    assert receiver.ids == [str(id)] * 2
    assert second.metrics()["longhaul_webhook_tries_total{delivered}"] == 1
    await unaffected(connection, id)


async def test_a_leader_that_wakes_up_late_changes_nothing(connection: Connection, database_url: str) -> None:
    id = await ended(connection, "https://example.com")
    (late,) = await webhooks.claim(connection, limit=1, hold_seconds=0)
    (newer,) = await webhooks.claim(connection, limit=1, hold_seconds=60)
    outcome = webhooks.Outcome(job_id=id, tries=late.tries, state="failed", last_error="late")
    await webhooks.settle(connection, [outcome])
    found = await view(connection, id)
    assert (found["state"], found["tries"], found["last_error"]) == ("waiting", newer.tries, None)
