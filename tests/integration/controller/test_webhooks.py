"""F39: receivers of webhooks that fail in every way, and URLs that want to lead inside. No job ever notices."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from shutil import which
from typing import Any
from uuid import UUID, uuid4

import pytest
from standardwebhooks import WebhookVerificationError
from tests.integration.controller.conftest import StartReplica
from tests.integration.controller.receiver import drip, noise, receiving, silence, status
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer
from tests.waiting import eventually

from longhaul.ledger import jobs, leases, retention, webhooks
from longhaul.ledger.connection import Connection, connect
from longhaul.states import Ending
from longhaul.webhooks import tenant_secret
from longhaul_controller.settings import ControllerSettings
from longhaul_controller.webhooks import Webhooks

pytestmark = [pytest.mark.anyio, pytest.mark.fault("F39")]

SECRET = "a secret of the installation that is long enough"
ACME = tenant_secret(SECRET, "acme")
TIMEOUT_SECONDS = 0.5
REFUSED = "The host's address is not public, so nothing was sent to it."


def settings(database_url: str, **more: Any) -> ControllerSettings:
    values: dict[str, Any] = {
        "redis_url": "redis://127.0.0.1:1",
        "tick_seconds": 0.2,
        "webhook_secret": SECRET,
        "webhook_allow_private": True,
        "webhook_timeout_seconds": TIMEOUT_SECONDS,
        "webhook_backoff_seconds": 0.05,
    }
    return ControllerSettings(database_url=database_url, **(values | more))


@asynccontextmanager
async def delivering(settings: ControllerSettings, **more: Any) -> AsyncIterator[None]:
    """Let a leader's duty run until the end of the block, beside what the test does."""
    told = Webhooks(settings, **more)

    async def repeat(connection: Connection) -> None:
        while True:
            await told.run(connection)
            await asyncio.sleep(0.01)

    async with await connect(settings.database_url, application_name="webhooks") as connection:
        task = asyncio.create_task(repeat(connection))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await told.close()


@pytest.fixture
async def delivery(database_url: str) -> AsyncIterator[None]:
    """Webhooks are delivered."""
    async with delivering(settings(database_url)):
        yield


async def view(connection: Connection, id: UUID) -> dict[str, Any]:
    found = await webhooks.read(connection, id)
    assert found is not None
    return found


async def settled(connection: Connection, id: UUID, state: str, *, timeout_seconds: float = 10.0) -> dict[str, Any]:
    """Wait until a job's webhook is in that state."""

    async def there() -> dict[str, Any] | None:
        found = await view(connection, id)
        return found if found["state"] == state else None

    return await eventually(there, timeout_seconds=timeout_seconds, what=f"the webhook is {state}") or {}


async def ended(connection: Connection, url: str, ending: Ending = Ending.SUCCEEDED, **facts: Any) -> UUID:
    return await given.finished(connection, ending, webhook_url=url, **facts)


# The outbox: a row with the end, whatever ended it.


async def test_every_end_of_a_job_with_a_webhook_is_in_the_outbox(connection: Connection) -> None:
    url = "https://Example.com:8443/hook"
    retried, cancelled, cancelled_running, reaped = await given.queued(connection, 4, webhook_url=url)
    succeeded, failed = await ended(connection, url), await ended(connection, url, Ending.PERMANENT)
    dead = await given.dead(connection, webhook_url=url)
    await jobs.cancel(connection, cancelled)
    claims = {claim.job_id: claim for claim in await Claimer().claim(connection, slots=3)}
    assert await given.ended(connection, claims[retried], Ending.TRANSIENT)
    await jobs.cancel(connection, cancelled_running)
    assert (await view(connection, cancelled_running))["state"] == "pending"
    assert await given.ended(connection, claims[cancelled_running], Ending.CANCELLED)
    await connection.execute("UPDATE jobs SET max_interruptions = 0 WHERE id = %s", (reaped,))
    await given.expired(connection, reaped)
    await leases.reap(connection)
    (replayed,) = await jobs.replay(connection, {failed: uuid4()}, submitted_by="test", trace_context=None)
    assert replayed["webhook_url"] == url
    await given.finished(connection, Ending.SUCCEEDED)  # without a webhook

    cursor = await connection.execute("SELECT job_id, host, state FROM webhook_deliveries")
    rows = await cursor.fetchall()
    assert {row["job_id"] for row in rows} == {succeeded, failed, dead, cancelled, cancelled_running, reaped}
    assert {(row["host"], row["state"]) for row in rows} == {("example.com:8443", "waiting")}
    assert (await view(connection, retried))["state"] == "pending"


async def test_an_end_that_is_not_committed_is_not_told(connection: Connection) -> None:
    (id,) = await given.queued(connection, webhook_url="https://example.com")
    async with connection.transaction(force_rollback=True):
        await jobs.cancel(connection, id)
    assert (await view(connection, id))["state"] == "pending"


async def test_what_is_no_url_fails_the_delivery_and_never_the_end(connection: Connection, database_url: str) -> None:
    for url in ("", "no url", "ftp://example.com", "https://", "http://[::1", "http://a b/", "http://\N{SNOWMAN}"):
        id = await ended(connection, url)
        async with delivering(settings(database_url, webhook_tries=1)):
            found = await settled(connection, id, "failed")
        assert found["last_error"], url
        await unaffected(connection, id)


async def test_an_old_job_takes_its_delivery_with_it(connection: Connection) -> None:
    await ended(connection, "https://example.com")
    assert await retention.purge(connection, older_than_seconds=0) == 1
    assert (await webhooks.count_waiting(connection)).first == 0


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


# URLs that want to lead inside.


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "0", "169.254.169.254"],
)
async def test_a_private_address_is_refused_at_once(connection: Connection, database_url: str, host: str) -> None:
    async with receiving() as receiver, delivering(settings(database_url, webhook_allow_private=False)):
        id = await ended(connection, receiver.url(host))
        found = await settled(connection, id, "failed")
    assert (found["tries"], found["last_status"], found["last_error"]) == (1, None, REFUSED)
    assert receiver.requests == []
    await unaffected(connection, id)


async def test_a_name_is_asked_once_and_its_answer_is_where_the_message_goes(
    connection: Connection, database_url: str
) -> None:
    """DNS rebinding: whoever checks one answer and connects by another can be led inside."""
    asked: list[str] = []

    async def rebinding(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]  # where nobody listens

    async with receiving() as receiver, delivering(settings(database_url), resolve_host=rebinding):
        await settled(connection, await ended(connection, receiver.url("rebind.example")), "delivered")
    assert asked == ["rebind.example"]
    assert receiver.requests[0].headers["host"] == f"rebind.example:{receiver.port}"


@pytest.mark.parametrize("answers", [["10.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["2606:4700::1111", "fd00:ec2::254"]])
async def test_a_name_with_any_private_address_is_refused_at_each_try(
    connection: Connection, database_url: str, answers: list[str]
) -> None:
    """Also one that was public at the try before: each try checks what it connects to."""
    asked: list[str] = []

    async def rebinding(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        if len(asked) == 1:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return answers

    strict = settings(database_url, webhook_allow_private=False)
    async with receiving() as receiver, delivering(strict, resolve_host=rebinding):
        id = await ended(connection, receiver.url("rebind.example"))
        found = await settled(connection, id, "failed")
    assert (found["tries"], found["last_error"], receiver.requests) == (2, REFUSED, [])


async def test_https_checks_the_name_although_it_connects_to_the_address(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    names: list[str | None] = []
    certificate, server = make_certificate(tmp_path)
    server.sni_callback = lambda _socket, name, _context: names.append(name)

    async def local(_host: str, _port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    trusting = ssl.create_default_context(cafile=certificate)
    async with (
        receiving(tls=server) as receiver,
        delivering(settings(database_url, webhook_tries=1), resolve_host=local, ssl_context=trusting),
    ):
        await settled(connection, await ended(connection, receiver.url("receiver.example")), "delivered")
        found = await settled(connection, await ended(connection, receiver.url("other.example")), "failed")
    assert names == ["receiver.example", "other.example"]
    assert receiver.requests[0].headers["host"] == f"receiver.example:{receiver.port}"
    assert (len(receiver.requests), found["last_error"]) == (1, "The receiver could not be reached.")


def make_certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """For `receiver.example`: the certificate, and a server's context with it."""
    if which("openssl") is None:
        pytest.skip("openssl, which makes the receiver's certificate, is not on the PATH.")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=receiver", "-addext", "subjectAltName=DNS:receiver.example", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return certificate, context


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


async def unaffected(connection: Connection, id: UUID) -> None:
    """The job is as it ended, whatever became of its webhook."""
    job = await given.row(connection, id)
    assert (job["state"], job["epoch"], job["event_seq"]) == ("succeeded", 1, 3)
