"""The ledger as keepers and controllers ask it: each question crosses the simulated network to the simulated database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg import errors
from tests.faults.simulation import times
from tests.faults.simulation.database import Database
from tests.faults.simulation.kernel import Process
from tests.faults.simulation.network import TCP_SECONDS, Line

from longhaul.errors import LedgerUnavailable
from longhaul.ledger.claims import Claim
from longhaul.ledger.leases import AttemptEnd, Lease, Record, Written
from longhaul.ledger.queues import Due
from longhaul.ledger.reaping import Loss, LostOwner
from longhaul.ledger.workers import Worker
from longhaul.task import TaskSpec


class DatabaseLine(Line):
    """A connection of psycopg."""

    cancel_seconds = 10.0
    """5 s to ask the server to cancel, and 5 s for what it says to that: psycopg 3.3, `AsyncConnection.wait`."""

    def __init__(self, process: Process, database: Database, *, idle_seconds: float | None = None) -> None:
        super().__init__(process, database, timeout_seconds=TCP_SECONDS, idle_seconds=idle_seconds)
        self._database = database

    async def connect(self) -> None:
        """Raises LedgerUnavailable, at the latest after libpq's `connect_timeout`."""
        try:
            async with asyncio.timeout(times.CONNECT_TIMEOUT):
                await self._ask_to_connect()
        except (psycopg.OperationalError, TimeoutError) as error:
            raise LedgerUnavailable from error

    async def _ask_to_connect(self) -> None:
        cancel_seconds, self.cancel_seconds = self.cancel_seconds, 0.0  # nothing to cancel yet
        try:
            await self.ask(_nothing)
        finally:
            self.cancel_seconds = cancel_seconds

    def away(self, reason: str) -> Exception:
        return psycopg.OperationalError(reason)

    def timed_out(self) -> Exception:
        return psycopg.OperationalError("could not receive data from server: Connection timed out")

    def conflict(self) -> Exception:
        return self._database.kernel.random.choice(
            (errors.QueryCanceled, errors.LockNotAvailable, errors.SerializationFailure, errors.DeadlockDetected)
        )("try again")


def _nothing() -> None:
    """What a server does for a connection that opens."""


class SimulatedLedger:
    """`longhaul_worker.ledger.WorkerLedger`."""

    def __init__(self, line: DatabaseLine, database: Database) -> None:
        self._line = line
        self._database = database

    async def register(self, worker: Worker, specs: Sequence[TaskSpec]) -> None:  # noqa: ARG002 - one task for all
        await self._line.ask(self._database.register, worker)

    async def check_schema(self) -> None:
        await self._line.ask(self._database.check_schema)

    async def beat(self, worker: Worker, *, draining: bool) -> None:  # noqa: ARG002 - for people
        await self._line.ask(self._database.beat, worker)

    async def renew(self, held: Sequence[Lease], *, worker_id: UUID, lease_seconds: float) -> dict[UUID, bool]:
        return await self._line.ask(self._database.renew, held, worker_id, lease_seconds)

    async def find_lost(self, unwritten: Sequence[Lease], *, worker_id: UUID | None) -> set[Lease]:
        return await self._line.ask(self._database.find_lost, unwritten, worker_id)

    async def record(self, records: Sequence[Record]) -> list[list[Written] | None]:
        return await self._line.ask(self._database.record, records)

    async def count_reports(self, held: Sequence[Lease]) -> dict[Lease, int]:
        return await self._line.ask(self._database.count_reports, held)

    async def end(self, ends: Sequence[AttemptEnd]) -> list[Written | None]:
        return await self._line.ask(self._database.end, ends)

    async def rehearse(self, one: Record | AttemptEnd) -> None:
        await self._line.ask(self._database.rehearse, one)

    async def claim(
        self,
        *,
        queue: str,  # noqa: ARG002 - there is one
        slots: Sequence[int],
        tasks: Sequence[str],  # noqa: ARG002
        worker: Worker,
        lease_seconds: float,
    ) -> list[Claim]:
        return await self._line.ask(self._database.claim, worker, slots, lease_seconds)

    async def leave(self, worker_id: UUID) -> None:
        await self._line.ask(self._database.leave, worker_id)


class SimulatedLeaderSession:
    """`longhaul_controller.ports.LeaderSession`."""

    def __init__(self, line: DatabaseLine, database: Database) -> None:
        self._line = line
        self._database = database

    async def look(self) -> None:
        await self._line.ask(self._database.look)

    async def try_lead(self) -> bool:
        return await self._line.ask(self._database.try_lead, self._line)


class SimulatedControllerLedger:
    """`longhaul_controller.ports.ControllerLedger`."""

    def __init__(self, line: DatabaseLine, database: Database) -> None:
        self._line = line
        self._database = database

    async def _ask(self, operation: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return await self._line.ask(operation, *arguments)
        except psycopg.OperationalError as error:  # as `connection.acquire` does
            raise LedgerUnavailable from error

    async def read_clock(self) -> datetime:
        at: datetime = await self._ask(self._database.read_clock)
        return at

    async def read_lost_owners(self, *, as_of: datetime) -> list[LostOwner]:
        owners: list[LostOwner] = await self._ask(self._database.read_lost_owners, as_of)
        return owners

    async def touch_late_lease(self, *, as_of: datetime, late_seconds: float) -> bool:
        return bool(await self._ask(self._database.touch_late_lease, as_of, late_seconds))

    async def reap(
        self,
        *,
        as_of: datetime,
        losses: Mapping[UUID, Loss],  # noqa: ARG002 - for people
        limit: int = 200,  # noqa: ARG002
    ) -> list[Written]:
        written: list[Written] = await self._ask(self._database.reap, as_of)
        return written

    async def read_due(self) -> dict[str, Due]:
        due: dict[str, Due] = await self._ask(self._database.read_due)
        return due

    async def read_running_by_pool(self) -> dict[str, list[str]]:
        running: dict[str, list[str]] = await self._ask(self._database.read_running_by_pool)
        return running
