"""Webhooks that are delivered to receivers of the test, and what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

from tests.integration.controller.conftest import lends
from tests.integration.ledger import given
from tests.waiting import eventually

from longhaul.ledger import webhooks
from longhaul.ledger.connection import Connection, connect
from longhaul.states import Ending
from longhaul.webhooks import tenant_secret
from longhaul_controller.settings import ControllerSettings
from longhaul_controller.webhooks import Webhooks

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
    async with await connect(settings.database_url, application_name="webhooks") as connection:
        duty = Webhooks(lends(connection), settings, **more)

        async def repeat() -> None:
            while True:
                await duty.run()
                await asyncio.sleep(0.01)

        task = asyncio.create_task(repeat())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await duty.close()


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


async def unaffected(connection: Connection, id: UUID) -> None:
    """The job is as it ended, whatever became of its webhook."""
    job = await given.row(connection, id)
    assert (job["state"], job["epoch"], job["event_seq"]) == ("succeeded", 1, 3)
