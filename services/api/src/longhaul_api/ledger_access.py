"""The way to the ledger: every question is answered within the API's deadline, or refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from longhaul.errors import LedgerUnavailable
from longhaul.ledger.connection import Connection, acquire, create_pool

T = TypeVar("T")


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

    async def open(self) -> None:
        await self._pool.open()

    async def close(self) -> None:
        for task in self._abandoned:
            task.cancel()
        await self._pool.close(timeout=2.0)

    async def ask(self, question: Callable[[Connection], Awaitable[T]], *, timeout_seconds: float | None = None) -> T:
        """The answer to a question. Raises LedgerUnavailable where none comes in time: the outcome is unknown then."""
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
        async with acquire(self._pool) as connection:
            return await question(connection)

    def figures(self) -> dict[str, int]:
        """The pool's figures: size, free connections, callers who wait."""
        stats = self._pool.get_stats()
        return {name: stats.get(f"pool_{name}", 0) for name in ("size", "available")} | {
            "waiting": stats.get("requests_waiting", 0)
        }
