"""The way to the ledger: every question is answered within the API's deadline, or refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog

from longhaul.errors import InvalidRequest, LedgerRefuses, LedgerUnavailable
from longhaul.ledger.connection import Connection, Refusal, acquire, create_pool, first_line, refusal_of

REFUSAL_SECONDS = 5.0
"""How long a refusal is remembered."""

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class LedgerAccess:
    """A pool of connections with a deadline. `open` returns at once, also while the database is away."""

    def __init__(self, database_url: str, *, pool_size: int, deadline_seconds: float, reconnect_seconds: float) -> None:
        self._deadline_seconds = deadline_seconds
        self._pool = create_pool(
            database_url,
            application_name="longhaul-api",
            max_size=pool_size,
            statement_timeout_seconds=deadline_seconds,
            acquire_timeout_seconds=deadline_seconds / 2,
        )
        # The pool's own pauses double up to this; then the next caller tries anew. So it is back as soon as the database.
        self._pool.reconnect_timeout = reconnect_seconds
        self._abandoned: set[asyncio.Task[Any]] = set()
        self._refusal = ""
        self._refusal_until = 0.0

    async def open(self) -> None:
        await self._pool.open()

    async def close(self) -> None:
        for task in self._abandoned:
            task.cancel()
        await self._pool.close(timeout=2.0)

    async def ask(self, question: Callable[[Connection], Awaitable[T]], *, timeout_seconds: float | None = None) -> T:
        """The answer to a question.

        Raises LedgerUnavailable where none comes in time: the outcome is unknown then. LedgerRefuses and InvalidRequest
        say that a statement changed nothing, and whether that is for its values.
        """
        task = asyncio.create_task(self._answer(question))
        try:
            await asyncio.wait((task,), timeout=timeout_seconds or self._deadline_seconds)
        finally:
            if not task.done():
                # psycopg takes up to ten seconds to give a silent connection up: nobody waits for that.
                task.cancel()
                self._abandoned.add(task)
                task.add_done_callback(self._forget)
        if not task.done():
            raise LedgerUnavailable
        return task.result()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # told to nobody: its caller was answered long ago

    async def _answer(self, question: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            async with acquire(self._pool) as connection:
                return await question(connection)
        except LedgerRefuses as error:
            self._remember(error)
            raise
        except Exception as error:
            if refusal_of(error) is Refusal.VALUES:
                raise InvalidRequest(
                    "The database can't hold a value of this request: check its texts and numbers."
                ) from error
            raise

    def _remember(self, error: LedgerRefuses) -> None:
        if self.refusal() != error.message:
            cause = error.__cause__
            _log.error("ledger_refuses", error=first_line(cause) if isinstance(cause, Exception) else None)
        self._refusal = error.message
        self._refusal_until = asyncio.get_running_loop().time() + REFUSAL_SECONDS

    def refusal(self) -> str | None:
        """What the ledger refused within the last REFUSAL_SECONDS, whatever the values were; None where it did not."""
        return self._refusal if asyncio.get_running_loop().time() < self._refusal_until else None

    def figures(self) -> dict[str, int]:
        """The pool's figures: size, free connections, callers who wait."""
        stats = self._pool.get_stats()
        return {name: stats.get(f"pool_{name}", 0) for name in ("size", "available")} | {
            "waiting": stats.get("requests_waiting", 0)
        }
