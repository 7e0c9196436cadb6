"""Retention: deletes what ended long ago, in small bites."""

from __future__ import annotations

import structlog

from longhaul.ledger import retention, workers
from longhaul.ledger.connection import Connection
from longhaul_controller import metrics

_log = structlog.get_logger(__name__)

_BITE = 1000


async def retain(connection: Connection, *, retention_seconds: float, worker_silence_seconds: float) -> None:
    """Delete what is older than that."""
    purged = 0
    while (bite := await retention.purge(connection, older_than_seconds=retention_seconds, limit=_BITE)) > 0:
        purged += bite
        if bite < _BITE:
            break
    if purged:
        metrics.JOBS_PURGED.inc(purged)
        _log.info("jobs_purged", jobs=purged)
    await workers.forget(connection, silent_seconds=worker_silence_seconds)
