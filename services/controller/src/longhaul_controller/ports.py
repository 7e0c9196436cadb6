"""What the leader and its duties need of PostgreSQL, Redis and Kubernetes, as protocols.

`ledger` and `doorbells` implement them on real servers. The simulation of faults implements them on a model of the
ledger and a virtual clock, so that it runs the code that ships.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol, TypeAlias
from uuid import UUID

from longhaul.ledger.connection import Connection
from longhaul.ledger.leases import Written
from longhaul.ledger.queues import Due
from longhaul.ledger.reaping import Loss, LostOwner


class LeaderSession(Protocol):
    """A session of the ledger that can hold the leadership: it ends with the session."""

    async def look(self) -> None:
        """Commit a small write, of a kind that is refused whenever renewals are. Raises if the ledger does not serve."""

    async def try_lead(self) -> bool:
        """Take the leadership for as long as this session lasts. False if another session has it."""


class ControllerLedger(Protocol):
    """What the reaper, the re-ring and demand ask of the ledger. Signatures and errors are those of `longhaul.ledger`."""

    async def read_clock(self) -> datetime:
        """`longhaul.ledger.connection.read_clock`."""

    async def read_lost_owners(self, *, as_of: datetime) -> list[LostOwner]:
        """`longhaul.ledger.reaping.read_lost_owners`."""

    async def touch_late_lease(self, *, as_of: datetime, late_seconds: float) -> bool:
        """`longhaul.ledger.reaping.touch_late_lease`."""

    async def reap(self, *, as_of: datetime, losses: Mapping[UUID, Loss], limit: int = 200) -> list[Written]:
        """`longhaul.ledger.reaping.reap`."""

    async def read_due(self) -> dict[str, Due]:
        """`longhaul.ledger.queues.read_due`."""

    async def read_running_by_pool(self) -> dict[str, list[str]]:
        """`longhaul.ledger.queues.read_running_by_pool`."""


class Doorbells(Protocol):
    """The lists of doorbells and the sets of running jobs, which KEDA measures. Every method raises redis.RedisError."""

    async def ring(self, counts: Mapping[str, int]) -> None:
        """`longhaul.doorbell.ring`."""

    async def count(self, queues: Iterable[str]) -> dict[str, int]:
        """`longhaul.doorbell.count`."""

    async def trim(self, counts: Mapping[str, int]) -> None:
        """`longhaul.doorbell.trim`."""

    async def count_running(self) -> dict[str, int]:
        """How many jobs each pool's set has: of all pools that ever had one."""

    async def replace_running(self, pool: str, job_ids: Iterable[str]) -> None:
        """Make a pool's set exactly this, in one step: a scaler never sees it half written."""


class EventChannel(Protocol):
    """Where committed events go for the streams that are open."""

    async def publish(self, written: Iterable[Written]) -> None:
        """`longhaul.events.publish`. Raises redis.RedisError."""


class Diagnostics(Protocol):
    """Someone who may know how lost workers ended."""

    async def explain(self, owners: Iterable[LostOwner]) -> Mapping[UUID, Loss]:
        """What is known, by worker. Evidence only: the reaper goes on without it, whatever this raises or takes."""


Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[LeaderSession]]
"""Opens a session for a leader. Leaving the context ends the session."""
Acquire: TypeAlias = Callable[[], AbstractAsyncContextManager[ControllerLedger]]
"""Borrows the ledger for a part of a duty's run. Raises LedgerUnavailable."""
AcquireConnection: TypeAlias = Callable[[], AbstractAsyncContextManager[Connection]]
"""The same for a duty that the simulation does not run: a connection for the functions of `longhaul.ledger`."""
