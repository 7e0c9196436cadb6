"""The ledger as the controller uses it: `ports` on connections to PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from longhaul.ledger import connection as connections
from longhaul.ledger import leadership, queues, reaping, schema
from longhaul.ledger.connection import Connection, Pool
from longhaul.ledger.leases import Written
from longhaul.ledger.queues import Due
from longhaul.ledger.reaping import Loss, LostOwner
from longhaul_controller.ports import ControllerLedger, LeaderSession


@dataclass(frozen=True)
class PostgresLeaderSession:
    """The functions of `longhaul.ledger.leadership` on one session."""

    connection: Connection

    async def look(self) -> None:
        schema.check(await schema.read_revision(self.connection))  # a migration may cut this version off
        await leadership.beat(self.connection)

    async def try_lead(self) -> bool:
        return await leadership.try_lead(self.connection)


@dataclass(frozen=True)
class PostgresLedger:
    """The functions of `longhaul.ledger` on one connection."""

    connection: Connection

    async def read_clock(self) -> datetime:
        return await connections.read_clock(self.connection)

    async def read_lost_owners(self, *, as_of: datetime) -> list[LostOwner]:
        return await reaping.read_lost_owners(self.connection, as_of=as_of)

    async def touch_late_lease(self, *, as_of: datetime, late_seconds: float) -> bool:
        return await reaping.touch_late_lease(self.connection, as_of=as_of, late_seconds=late_seconds)

    async def reap(self, *, as_of: datetime, losses: Mapping[UUID, Loss], limit: int = 200) -> list[Written]:
        return await reaping.reap(self.connection, as_of=as_of, losses=losses, limit=limit)

    async def read_due(self) -> dict[str, Due]:
        return await queues.read_due(self.connection)

    async def read_running_by_pool(self) -> dict[str, list[str]]:
        return await queues.read_running_by_pool(self.connection)


@asynccontextmanager
async def connect_leader(database_url: str) -> AsyncIterator[LeaderSession]:
    """A session of its own for a leader. Raises LedgerUnavailable."""
    connection = await connections.connect(database_url, application_name="longhaul-controller leader")
    try:
        await leadership.prepare(connection)
        yield PostgresLeaderSession(connection)
    finally:
        await connection.close()


@asynccontextmanager
async def acquire_ledger(pool: Pool) -> AsyncIterator[ControllerLedger]:
    """The ledger for one run of a duty. Raises LedgerUnavailable."""
    async with connections.acquire(pool) as connection:
        yield PostgresLedger(connection)
