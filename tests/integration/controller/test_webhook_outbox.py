"""The outbox: a row with the end of each job that has a webhook, whatever ended it."""

from __future__ import annotations

from uuid import uuid4

import pytest
from tests.integration.controller.deliveries import delivering, ended, settings, settled, unaffected, view
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer

from longhaul.ledger import jobs, reaping, retention, webhooks
from longhaul.ledger.connection import Connection
from longhaul.states import Ending

pytestmark = [pytest.mark.anyio, pytest.mark.fault("F39")]


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
    await reaping.reap(connection)
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
