"""A migrated ledger with one queue, and connections to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from tests.integration.ledger import given

from longhaul.ledger import queues
from longhaul.ledger.connection import Connection, connect


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """A connection to an empty ledger that knows the queue `work`."""
    async with await connect(database_url, application_name="test") as connection:
        await queues.declare(connection, [given.QUEUE])
        yield connection


@pytest.fixture
async def connections(connection: Connection, database_url: str) -> AsyncIterator[list[Connection]]:
    """Ten more connections to the same ledger."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(await connect(database_url, application_name=f"test {i}"))
            for i in range(10)
        ]
