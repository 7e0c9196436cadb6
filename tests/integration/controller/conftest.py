"""A ledger with one queue, its Redis, and controllers on both: as processes, or as the classes that they are made of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import redis.asyncio as redis
from tests.integration.controller.replica import Replica
from tests.waiting import eventually

from longhaul import doorbell
from longhaul.ledger.connection import Connection
from longhaul_controller.leader import Leader
from longhaul_controller.ledger import PostgresLedger, connect_leader
from longhaul_controller.ports import Acquire, AcquireConnection

StartReplica = Callable[..., Replica]
LEASE_SECONDS = 0.5
"""Of a reaper within the test's process."""


def lends(connection: Connection) -> AcquireConnection:
    """Lends a duty the test's own connection, as the pool of a controller would."""

    @asynccontextmanager
    async def acquire() -> AsyncIterator[Connection]:
        yield connection

    return acquire


def lends_ledger(connection: Connection) -> Acquire:
    """The same for a duty that asks the ledger through its protocol."""

    @asynccontextmanager
    async def acquire() -> AsyncIterator[PostgresLedger]:
        yield PostgresLedger(connection)

    return acquire


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.Redis]:
    """A client of the empty Redis where the doorbells are."""
    async with doorbell.create_client(redis_url) as client:
        yield client


@pytest.fixture
def start_replica(tmp_path: Path) -> Iterator[StartReplica]:
    """Start a controller: `start_replica(database_url, redis_url, **environment)`. All are gone at the end."""
    replicas: list[Replica] = []

    def start(database_url: str, redis_url: str, **environment: str) -> Replica:
        name = f"controller-{len(replicas)}"
        replicas.append(Replica(name, database_url, redis_url, tmp_path, **environment))
        return replicas[-1]

    yield start
    for replica in replicas:
        replica.end()


@pytest.fixture
async def leader(database_url: str) -> AsyncIterator[Leader]:
    """A leader in this process, which has just come to lead."""
    leader = Leader(partial(connect_leader, database_url), reconnect_seconds=0.1)
    task = asyncio.create_task(leader.run())

    async def leads() -> bool:
        return leader.is_leader

    await eventually(leads, what="the only replica leads")
    yield leader
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
