"""A ledger with one queue; and all of Longhaul, for the tests of one file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from tests import servers
from tests.integration.cli.stack import Stack, run_stack
from tests.integration.ledger import given

from longhaul.ledger import queues
from longhaul.ledger.connection import Connection, connect


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """A connection to an empty ledger that knows the queue `work`."""
    async with await connect(database_url, application_name="test") as connection:
        await queues.declare(connection, [given.QUEUE])
        yield connection


@pytest.fixture(scope="module")
def stack(
    file_database_url: str, redis_server: servers.RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """An API, a controller and a worker pod, whose jobs have little time to stop when they are cancelled."""
    folder = tmp_path_factory.mktemp("stack")
    with run_stack(file_database_url, redis_server.redis_url(), folder, LONGHAUL_CANCEL_GRACE_SECONDS="0.5") as one:
        yield one
