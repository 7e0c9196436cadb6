"""The ringer: doorbells of many requests in one push, after their commits, and never in anybody's way."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable

import redis.asyncio as redis
import structlog

from longhaul import doorbell

PAUSE_SECONDS = 0.005
"""Between two pushes. The first of a burst goes at once; under load the next ones share a push."""
AWAY_SECONDS = 1.0
"""Between two tries while Redis is away."""

_log = structlog.get_logger(__name__)


class Ringer:
    """Rings in the background. What can't be rung is forgotten: the controller finds the job within a second.

    `observe(rung, failed)` is told how many doorbells were pushed or dropped.
    """

    def __init__(self, client: redis.Redis, observe: Callable[[int, int], None]) -> None:
        self._client = client
        self._observe = observe
        self._counts: Counter[str] = Counter()
        self._wanted = asyncio.Event()
        self._away = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ring what is due still, if Redis answers."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._counts and not self._away:
            await self._ring()

    def ring(self, queue: str, count: int = 1) -> None:
        """Say that a queue has `count` more due jobs. Returns at once."""
        self._counts[queue] += count
        self._wanted.set()

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            try:
                await self._ring()
            except Exception:  # noqa: BLE001 - a fault of our own must not end the ringing for good
                _log.exception("ringer_failed")
            await asyncio.sleep(AWAY_SECONDS if self._away else PAUSE_SECONDS)

    async def _ring(self) -> None:
        counts, self._counts = self._counts, Counter()
        self._wanted.clear()
        # A Redis that was away is tried with one doorbell a queue: it may still swallow megabytes without an answer.
        tried = dict.fromkeys(counts, 1) if self._away else dict(counts)
        try:
            await doorbell.ring(self._client, tried)
        except (redis.RedisError, OSError) as error:
            if not self._away:
                _log.warning("doorbell_failed", reason=type(error).__name__)
            self._away = True
            self._observe(0, counts.total())
        else:
            self._away = False
            self._observe(sum(tried.values()), counts.total() - sum(tried.values()))
