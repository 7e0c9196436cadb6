"""The collector: deletes from the result store what is no job's result. That is what attempts wrote whose end was never
committed, and the results of jobs that are deleted: the row always goes first, and this finds what it left.
"""

from __future__ import annotations

from datetime import timedelta

import structlog

from longhaul.ledger import retention
from longhaul.ledger.connection import Connection, read_clock
from longhaul.results import ResultStore
from longhaul_controller import metrics

_log = structlog.get_logger(__name__)


async def collect(connection: Connection, store: ResultStore, *, older_than_seconds: float) -> None:
    """Delete every object that no job refers to or may yet refer to, and that was written so long ago.

    Raises ResultStoreUnavailable. What was not deleted is found again.
    """
    written_before = await read_clock(connection) - timedelta(seconds=older_than_seconds)
    async for page in store.objects():
        old = [one for one in page if one.written_at < written_before]
        if not old:
            continue
        keys = await retention.find_unreferenced(connection, old)
        await store.delete(keys)
        if keys:
            metrics.RESULTS_COLLECTED.inc(len(keys))
            _log.info("results_collected", results=len(keys))
