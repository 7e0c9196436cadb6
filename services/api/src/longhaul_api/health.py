"""Is this API ready: PostgreSQL answers, and its schema is one that this version can use.

A PostgreSQL that answers reads and refuses writes (it is read-only, a grant is missing) makes the API `degraded`, as a
Redis that is away does: out of rotation, it could not serve the reads, and no other pod would do better.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import redis.asyncio as redis

from longhaul.errors import LedgerUnavailable, SchemaMismatch
from longhaul.ledger import jobs as ledger_jobs
from longhaul.ledger import schema
from longhaul_api.ledger_access import LedgerAccess

FRESH_SECONDS = 1.0
LEDGER_SECONDS = 2.0
WRITE_SECONDS = 1.0
REDIS_SECONDS = 0.5


@dataclass(frozen=True)
class Report:
    """`problems` keep the API from serving; `degraded` says what works worse meanwhile."""

    problems: dict[str, str]
    degraded: dict[str, str]


class Health:
    """Asks PostgreSQL and Redis at most once a second, however often it is asked itself."""

    def __init__(
        self,
        ledger: LedgerAccess,
        doorbells: redis.Redis,
        *,
        refusals: Callable[[], str | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`refusals` tells what the ledger refused lately: some of it (a trigger) shows at a write only."""
        self._ledger = ledger
        self._refusals = refusals
        self._doorbells = doorbells
        self._clock = clock
        self._asking: asyncio.Task[Report] | None = None
        self._fresh_until = float("-inf")

    async def report(self) -> Report:
        if self._asking is None or (self._asking.done() and self._clock() >= self._fresh_until):
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> Report:
        (problem, refusal), doorbells = await asyncio.gather(self._ask_ledger(), self._ask_redis())
        self._fresh_until = self._clock() + FRESH_SECONDS
        degraded = {"ledger": refusal, "redis": doorbells}
        return Report(
            problems={"ledger": problem} if problem else {},
            degraded={name: text for name, text in degraded.items() if text},
        )

    async def _ask_ledger(self) -> tuple[str | None, str | None]:
        """What keeps reads from being served, and what only writes."""
        try:
            schema.check(await self._ledger.ask(schema.read_revision, timeout_seconds=LEDGER_SECONDS))
        except (LedgerUnavailable, SchemaMismatch) as error:
            return error.message, None
        try:
            await self._ledger.ask(ledger_jobs.check_submits, timeout_seconds=WRITE_SECONDS)
        except LedgerUnavailable as error:
            return None, error.message
        return None, self._refusals()

    async def _ask_redis(self) -> str | None:
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                await self._doorbells.ping()
        except (redis.RedisError, OSError):
            return "Redis does not answer: jobs are accepted and start once it is back, and events come late."
        return None
