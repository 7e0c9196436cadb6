"""A migrated ledger with one queue, and connections to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from longhaul.ledger.connection import Connection, connect


@pytest.fixture
async def connections(connection: Connection, database_url: str) -> AsyncIterator[list[Connection]]:
    """Ten more connections to the same ledger."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(await connect(database_url, application_name=f"test {i}"))
            for i in range(10)
        ]
