"""The invariants, asked of a ledger after a fault: all that was accepted has ended, each job once, no key made two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.pods import Platform
from tests.waiting import eventually

# Keeps I1: of what was accepted nothing is still under way.
_UNFINISHED = "SELECT count(*) AS count FROM jobs WHERE finished_at IS NULL AND idempotency_key IS NOT NULL"
# I2, I3: a job has one end, and no event of an older epoch comes after one of a newer epoch.
_ENDS = """
SELECT job_id FROM job_events WHERE type IN ('succeeded', 'failed', 'dead', 'cancelled')
GROUP BY job_id HAVING count(*) > 1
"""
_STALE = """
SELECT job_id, seq FROM (
    SELECT job_id, seq, type, epoch, max(epoch) OVER (PARTITION BY job_id ORDER BY seq) AS newest FROM job_events
) AS events WHERE epoch < newest AND type NOT IN ('cancel_requested', 'queued')
"""


async def kept(here: Platform, accepted: Mapping[str, str], *, timeout_seconds: float = 60) -> list[dict[str, Any]]:
    """Wait until all jobs that have a key ended, and check I1 to I3 for those that were accepted under one.

    Returns the rows of all jobs that have a key: `id`, `key`, `state`, `epoch`, `interruptions`.
    """
    async with await here.connect() as connection:

        async def is_drained() -> bool:
            cursor = await connection.execute(_UNFINISHED)
            return await cursor.fetchone() == {"count": 0}

        await eventually(is_drained, timeout_seconds=timeout_seconds, what="every accepted job ended")
        cursor = await connection.execute(
            "SELECT id::text, idempotency_key AS key, state, epoch, interruptions FROM jobs"
            " WHERE idempotency_key IS NOT NULL"
        )
        rows = await cursor.fetchall()
        assert {row["key"]: row["id"] for row in rows} == dict(accepted)
        assert len(rows) == len(accepted), "a key made two jobs"
        assert {row["state"] for row in rows} == {"succeeded"}
        assert await (await connection.execute(_ENDS)).fetchall() == []
        assert await (await connection.execute(_STALE)).fetchall() == []
    return rows


async def interrupted(here: Platform) -> list[str]:
    """Ids of jobs, each as often as one of its attempts was interrupted."""
    async with await here.connect() as connection:
        cursor = await connection.execute("SELECT job_id::text FROM job_events WHERE type = 'interrupted'")
        return [row["job_id"] for row in await cursor.fetchall()]
