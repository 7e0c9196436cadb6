"""What the ledger recorded: jobs that were submitted in a time, with their waits and what they took.

To measure a load, and to replay it in the simulator. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from longhaul.ledger.connection import Connection
from longhaul.ledger.events import ATTEMPT_ENDINGS
from longhaul.states import PRIORITY_STEP_SECONDS, TERMINAL, State

_CLOCKS_DIFFER = timedelta(hours=1)
"""Ids hold the time of the API's clock, `created_at` that of the database: rows are sought by the first."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One job, and what became of it. Times that did not come yet are None."""

    job_id: UUID
    task: str
    queue: str
    priority: int
    interruptible: bool
    state: State
    due_at: datetime
    """When it might first start. For a job that was delayed and retried too this is not known: then when it was
    submitted."""
    started_at: datetime | None
    """The start of its first attempt."""
    run_seconds: float | None
    """How long the last attempt ran that ended."""
    busy_seconds: float | None
    """How long all its attempts together held a slot; None while one runs."""
    attempts: int
    interrupted: int
    """Attempts that ended because a pod was drained or lost: hand-overs and crashes."""
    checkpoints: int
    """How often it saved one, in all attempts."""

    @property
    def wait_seconds(self) -> float | None:
        """From being due to its first start."""
        return None if self.started_at is None else max(0.0, (self.started_at - self.due_at).total_seconds())

    @property
    def has_ended(self) -> bool:
        return self.state in TERMINAL


# By id, which is by time, so that each page is one walk along the primary key. A start without an end is an attempt
# that runs; an end without `ending` is a cancel between two attempts (sought in the text: the operators of `json` fail on
# a NUL anywhere in the value). An interruption keeps `rank_at`; a retry with a delay moves it.
_PAGE = f"""
WITH page AS (
    SELECT id, task, queue, priority, interruptible, state, created_at, rank_at, retries, epoch FROM jobs
    WHERE id > %(after)s AND id < %(before)s AND created_at >= %(since)s AND created_at < %(until)s
      AND (%(queue)s::text IS NULL OR queue = %(queue)s)
    ORDER BY id LIMIT %(limit)s
), attempt AS (
    SELECT job_id, epoch, min(at) FILTER (WHERE type = 'started') AS started_at,
        max(at) FILTER (WHERE type = ANY(%(endings)s)) AS ended_at,
        count(*) FILTER (WHERE type = 'interrupted') AS interrupted,
        count(*) FILTER (WHERE type = 'checkpoint') AS checkpoints
    FROM job_events
    WHERE job_id = ANY(ARRAY(SELECT id FROM page)) AND epoch > 0
      AND (type IN ('started', 'checkpoint') OR (type = ANY(%(endings)s) AND data::text LIKE '%%"ending"%%'))
    GROUP BY job_id, epoch
), attempts AS (
    SELECT job_id, min(started_at) AS started_at, bool_and(ended_at IS NOT NULL) AS all_ended,
        sum(extract(epoch FROM ended_at - started_at))::float8 AS busy_seconds,
        ((array_agg(extract(epoch FROM ended_at - started_at) ORDER BY epoch DESC)
            FILTER (WHERE ended_at IS NOT NULL))[1])::float8 AS run_seconds,
        sum(interrupted)::integer AS interrupted, sum(checkpoints)::integer AS checkpoints
    FROM attempt GROUP BY job_id
)
SELECT page.id AS job_id, task, queue, priority, interruptible, state,
    CASE WHEN retries = 0 THEN rank_at + priority * interval '{PRIORITY_STEP_SECONDS} seconds' ELSE created_at END
        AS due_at,
    attempts.started_at, run_seconds, CASE WHEN all_ended THEN busy_seconds END AS busy_seconds,
    epoch::integer AS attempts, coalesce(interrupted, 0) AS interrupted, coalesce(checkpoints, 0) AS checkpoints
FROM page LEFT JOIN attempts ON attempts.job_id = page.id ORDER BY page.id
"""  # noqa: S608 - only constants of this module are interpolated


async def read_recorded(
    connection: Connection, *, since: datetime, until: datetime, queue: str | None = None, batch: int = 1000
) -> AsyncIterator[Recorded]:
    """The jobs that were submitted from `since` until before `until`, oldest first, of whatever state and tenant.

    One short statement for each `batch`, so neither the ledger nor the reader holds them all. Jobs that retention
    deleted are missing.
    """
    query: dict[str, Any] = {
        "after": _first_id(since - _CLOCKS_DIFFER),
        "before": _first_id(until + _CLOCKS_DIFFER),
        "since": since,
        "until": until,
        "queue": queue,
        "limit": batch,
        "endings": sorted(ATTEMPT_ENDINGS),
    }
    while True:
        cursor = await connection.execute(_PAGE, query)
        rows = await cursor.fetchall()
        for row in rows:
            yield Recorded(**row | {"state": State(row["state"])})
        if len(rows) < batch:
            return
        query["after"] = rows[-1]["job_id"]


def _first_id(at: datetime) -> UUID:
    """No id that was made at this time or later is smaller."""
    return UUID(int=max(0, int(at.timestamp() * 1000)) << 80)
