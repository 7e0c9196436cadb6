"""What a keeper asks of the ledger: each method is one statement, or several that are sent together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol, TypeAlias
from uuid import UUID

from longhaul.ledger import catalogue, claims, leases, schema, workers
from longhaul.ledger.claims import Claim
from longhaul.ledger.connection import Connection, connect
from longhaul.ledger.leases import AttemptEnd, Lease, Record, Written
from longhaul.ledger.workers import Worker
from longhaul.task import TaskSpec


class WorkerLedger(Protocol):
    """One connection. Raises psycopg's errors, and SchemaMismatch."""

    async def register(self, worker: Worker, specs: Sequence[TaskSpec]) -> None:
        """Publish the tasks, and announce the worker."""

    async def check_schema(self) -> None:
        """Raise SchemaMismatch if the schema is not for this version."""

    async def beat(self, worker: Worker, *, draining: bool) -> None:
        """Say that the worker is there, and register it again if its row is gone."""

    async def renew(self, held: Sequence[Lease], *, worker_id: UUID, lease_seconds: float) -> dict[UUID, bool]:
        """See `leases.renew`."""

    async def find_lost(self, unwritten: Sequence[Lease], *, worker_id: UUID | None) -> set[Lease]:
        """See `leases.find_lost`."""

    async def record(self, records: Sequence[Record]) -> list[list[Written] | None]:
        """See `leases.record`."""

    async def count_reports(self, held: Sequence[Lease]) -> dict[Lease, int]:
        """See `leases.count_reports`."""

    async def end(self, ends: Sequence[AttemptEnd]) -> list[Written | None]:
        """See `leases.end`."""

    async def rehearse(self, one: Record | AttemptEnd) -> None:
        """Raise what the ledger says to a write, and undo it."""

    async def claim(
        self, *, queue: str, slots: Sequence[int], tasks: Sequence[str], worker: Worker, lease_seconds: float
    ) -> list[Claim]:
        """See `claims.claim`."""

    async def leave(self, worker_id: UUID) -> None:
        """Take the worker's row away."""


Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[WorkerLedger]]
"""Opens a connection. Raises LedgerUnavailable."""


class SqlLedger:
    """The ledger in PostgreSQL."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def register(self, worker: Worker, specs: Sequence[TaskSpec]) -> None:
        await catalogue.publish(self._connection, specs, registered_by=worker.name)
        await workers.register(self._connection, worker)

    async def check_schema(self) -> None:
        schema.check(await schema.read_revision(self._connection))

    async def beat(self, worker: Worker, *, draining: bool) -> None:
        if not await workers.beat(self._connection, worker.id, draining=draining):
            await workers.register(self._connection, worker)

    async def renew(self, held: Sequence[Lease], *, worker_id: UUID, lease_seconds: float) -> dict[UUID, bool]:
        return await leases.renew(self._connection, held, worker_id=worker_id, lease_seconds=lease_seconds)

    async def find_lost(self, unwritten: Sequence[Lease], *, worker_id: UUID | None) -> set[Lease]:
        return await leases.find_lost(self._connection, unwritten, worker_id=worker_id)

    async def record(self, records: Sequence[Record]) -> list[list[Written] | None]:
        return await leases.record(self._connection, records)

    async def count_reports(self, held: Sequence[Lease]) -> dict[Lease, int]:
        return await leases.count_reports(self._connection, held)

    async def end(self, ends: Sequence[AttemptEnd]) -> list[Written | None]:
        return await leases.end(self._connection, ends)

    async def rehearse(self, one: Record | AttemptEnd) -> None:
        async with self._connection.transaction(force_rollback=True):
            if isinstance(one, Record):
                await leases.record(self._connection, [one])
            else:
                await leases.end(self._connection, [one])
            await self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")  # what would be refused at the commit only

    async def claim(
        self, *, queue: str, slots: Sequence[int], tasks: Sequence[str], worker: Worker, lease_seconds: float
    ) -> list[Claim]:
        return await claims.claim(
            self._connection,
            queue=queue,
            slots=slots,
            tasks=tasks,
            worker_id=worker.id,
            worker=worker.name,
            lease_seconds=lease_seconds,
        )

    async def leave(self, worker_id: UUID) -> None:
        await workers.leave(self._connection, worker_id)


@asynccontextmanager
async def open_ledger(database_url: str, *, application_name: str) -> AsyncIterator[WorkerLedger]:
    """A connection of the keeper's own, whose few statements are planned once. Raises LedgerUnavailable."""
    connection = await connect(database_url, application_name=application_name, plans_once=True)
    async with connection:
        yield SqlLedger(connection)
