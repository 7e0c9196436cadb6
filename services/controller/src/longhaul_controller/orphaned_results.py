"""Orphaned results: objects in the result store that no job refers to.

Attempts leave them whose end was never committed, and jobs that were deleted: the row always goes first.
"""

from __future__ import annotations

from datetime import timedelta

import structlog

from longhaul.ledger import retention
from longhaul.ledger.connection import read_clock
from longhaul.results import ResultStore
from longhaul_controller import metrics
from longhaul_controller.duty import Duty
from longhaul_controller.ports import AcquireConnection

_log = structlog.get_logger(__name__)


class DeleteOrphanedResults(Duty):
    """Deletes every object that no job refers to or may yet refer to."""

    name = "delete_orphaned_results"
    deadline_seconds = 3600.0
    """A run lists the whole store, a thousand objects at a time."""

    def __init__(
        self,
        acquire: AcquireConnection,
        store: ResultStore,
        *,
        older_than_seconds: float,
        interval_seconds: float,
    ) -> None:
        self.interval_seconds = interval_seconds
        self._acquire = acquire
        self._store = store
        self._older_than_seconds = older_than_seconds

    async def run(self) -> None:
        """Look through the store once. Raises LedgerUnavailable or ResultStoreUnavailable; the next run finds the rest."""
        async with self._acquire() as connection:
            written_before = await read_clock(connection) - timedelta(seconds=self._older_than_seconds)
        async for page in self._store.objects():
            old = [stored for stored in page if stored.written_at < written_before]
            if not old:
                continue
            async with self._acquire() as connection:
                keys = await retention.find_unreferenced(connection, old)
            await self._store.delete(keys)
            if keys:
                metrics.ORPHANED_RESULTS_DELETED.inc(len(keys))
                _log.info("orphaned_results_deleted", results=len(keys))
