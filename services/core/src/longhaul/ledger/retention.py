"""Retention: jobs that ended long ago leave the ledger, with their events and the deliveries of their webhooks."""

from __future__ import annotations

from collections.abc import Sequence

from longhaul.ledger.connection import Connection
from longhaul.results import StoredObject

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
), deliveries AS (
    DELETE FROM webhook_deliveries WHERE job_id = ANY(ARRAY(SELECT id FROM old))
)
DELETE FROM jobs WHERE id = ANY(ARRAY(SELECT id FROM old))
"""

# Keeps: an object stays while a row refers to it, and while its attempt may still be committed.
_UNREFERENCED = """
SELECT key FROM unnest(%(keys)s::text[], %(job_ids)s::uuid[], %(epochs)s::bigint[]) AS object (key, job_id, epoch)
WHERE NOT EXISTS (
    SELECT FROM jobs WHERE id = object.job_id
    AND (result_key = object.key OR (state = 'running' AND jobs.epoch = object.epoch)))
"""


async def purge(connection: Connection, *, older_than_seconds: float, limit: int = 1000) -> int:
    """Delete at most `limit` jobs that ended so long ago. Returns how many; call again while it is `limit`.

    Results of theirs in the result store are unreferenced from then on.
    """
    cursor = await connection.execute(_PURGE, {"older_than_seconds": older_than_seconds, "limit": limit})
    return cursor.rowcount


async def find_unreferenced(connection: Connection, objects: Sequence[StoredObject]) -> list[str]:
    """The keys of those objects that are no job's result and can't become one. They must have been listed before."""
    query = {
        "keys": [one.key for one in objects],
        "job_ids": [one.job_id for one in objects],
        "epochs": [one.epoch for one in objects],
    }
    cursor = await connection.execute(_UNREFERENCED, query)
    return [row["key"] for row in await cursor.fetchall()]
