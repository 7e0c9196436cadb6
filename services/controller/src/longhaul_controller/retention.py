"""Retention: deletes what ended long ago, in batches."""

from __future__ import annotations

import asyncio

import structlog

from longhaul.ledger import retention, workers
from longhaul_controller import metrics
from longhaul_controller.duty import Duty
from longhaul_controller.ports import AcquireConnection

BATCH_SIZE = 1000

_log = structlog.get_logger(__name__)


class PurgeExpired(Duty):
    """Deletes jobs past their retention, and workers that were silent for long."""

    name = "purge_expired"

    def __init__(
        self,
        acquire: AcquireConnection,
        *,
        retention_seconds: float,
        worker_silence_seconds: float,
        interval_seconds: float,
    ) -> None:
        self.interval_seconds = interval_seconds
        self._acquire = acquire
        self._retention_seconds = retention_seconds
        self._worker_silence_seconds = worker_silence_seconds

    async def run(self) -> None:
        """Purge until nothing is left or half the deadline has passed; the next run goes on. Raises LedgerUnavailable."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.deadline_seconds / 2
        async with self._acquire() as connection:
            await workers.forget(connection, silent_seconds=self._worker_silence_seconds)
            purged = BATCH_SIZE
            while purged == BATCH_SIZE and loop.time() < until:
                purged = await retention.purge(connection, older_than_seconds=self._retention_seconds, limit=BATCH_SIZE)
                if purged:
                    metrics.JOBS_PURGED.inc(purged)
                    _log.info("jobs_purged", jobs=purged)
