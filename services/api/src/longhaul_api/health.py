"""Is this API ready: PostgreSQL answers, and its schema is one that this version can use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import redis.asyncio as redis

from longhaul.errors import LedgerUnavailable, SchemaMismatch
from longhaul.ledger import schema
from longhaul_api.ledger_access import LedgerAccess

FRESH_SECONDS = 1.0
LEDGER_SECONDS = 2.0
REDIS_SECONDS = 0.5


@dataclass(frozen=True)
class Report:
    """`problems` keep the API from serving; `degraded` says what works worse meanwhile."""

    problems: dict[str, str]
    degraded: dict[str, str]


class Health:
    """Asks PostgreSQL and Redis at most once a second, however often it is asked itself."""

    def __init__(
        self, ledger: LedgerAccess, doorbells: redis.Redis, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ledger = ledger
        self._doorbells = doorbells
        self._clock = clock
        self._asking: asyncio.Task[Report] | None = None
        self._fresh_until = float("-inf")

    async def report(self) -> Report:
        if self._asking is None or (self._asking.done() and self._clock() >= self._fresh_until):
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> Report:
        ledger, doorbells = await asyncio.gather(self._ask_ledger(), self._ask_redis())
        self._fresh_until = self._clock() + FRESH_SECONDS
        return Report(problems={"ledger": ledger} if ledger else {}, degraded={"redis": doorbells} if doorbells else {})

    async def _ask_ledger(self) -> str | None:
        try:
            schema.check(await self._ledger.ask(schema.read_revision, timeout_seconds=LEDGER_SECONDS))
        except (LedgerUnavailable, SchemaMismatch) as error:
            return error.message
        return None

    async def _ask_redis(self) -> str | None:
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                await self._doorbells.ping()
        except (redis.RedisError, OSError):
            return "Redis does not answer: jobs are accepted and start once it is back, and events come late."
        return None
