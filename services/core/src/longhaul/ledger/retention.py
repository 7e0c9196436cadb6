"""Retention: jobs that ended long ago leave the ledger, with their events."""

from __future__ import annotations

from longhaul.ledger.connection import Connection

# Keeps: only jobs that ended are deleted; a dead letter stays until someone replayed or discarded it. By arrays: for those
# the planner takes the index, however many rows it expects.
_PURGE = """
WITH old AS (
    SELECT id FROM jobs
    WHERE finished_at < now() - make_interval(secs => %(older_than_seconds)s)
      AND (state <> 'dead' OR resolution IS NOT NULL)
    ORDER BY finished_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), history AS (
    DELETE FROM job_events WHERE job_id = ANY(ARRAY(SELECT id FROM old))
)
DELETE FROM jobs WHERE id = ANY(ARRAY(SELECT id FROM old))
"""


async def purge(connection: Connection, *, older_than_seconds: float, limit: int = 1000) -> int:
    """Delete at most `limit` jobs that ended so long ago. Returns how many; call again while it is `limit`."""
    cursor = await connection.execute(_PURGE, {"older_than_seconds": older_than_seconds, "limit": limit})
    return cursor.rowcount
