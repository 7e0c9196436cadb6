"""The history of a job: numbered events without gaps, and its attempts as they tell it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from longhaul.ledger import stored_json
from longhaul.ledger.connection import Connection

TERMINAL_EVENTS = frozenset({"succeeded", "failed", "dead", "cancelled"})
ATTEMPT_ENDINGS = TERMINAL_EVENTS | {"retrying", "interrupted"}
REPORTS = frozenset({"progress", "log", "checkpoint"})
"""What a running attempt reports. Everything else changes the job's state, or asks for it."""


def encode(job_id: UUID, seq: int, type: str, at: datetime, epoch: int, data: Any) -> bytes:
    """An event as the ledger's readers, the event channel and the streams carry it: `longhaul.contract.EventView`."""
    return stored_json.encode({"job_id": job_id, "id": seq, "type": type, "at": at, "attempt": epoch, "data": data})


async def read(connection: Connection, job_id: UUID, *, after: int, limit: int = 500) -> list[dict[str, Any]]:
    """Events of a job with an id above `after`, in order: the fields of `EventView`."""
    cursor = await connection.execute(
        "SELECT seq, type, epoch, at, data FROM job_events WHERE job_id = %s AND seq > %s ORDER BY seq LIMIT %s",
        (job_id, after, limit),
    )
    return [_view(job_id, row) for row in await cursor.fetchall()]


_PAGES = """
SELECT wanted.job_id, wanted.after, event.seq, event.type, event.epoch, event.at, event.data
FROM unnest(%(job_ids)s::uuid[], %(afters)s::bigint[]) AS wanted (job_id, after)
CROSS JOIN LATERAL (
    SELECT seq, type, epoch, at, data FROM job_events
    WHERE job_events.job_id = wanted.job_id AND seq > wanted.after ORDER BY seq LIMIT %(limit)s
) AS event
ORDER BY wanted.job_id, wanted.after, event.seq
"""


async def read_pages(
    connection: Connection, wanted: Sequence[tuple[UUID, int]], *, limit: int
) -> dict[tuple[UUID, int], list[dict[str, Any]]]:
    """Several pages at once: for each distinct `(job_id, after)` what `read` gives."""
    query = {"job_ids": [one[0] for one in wanted], "afters": [one[1] for one in wanted], "limit": limit}
    cursor = await connection.execute(_PAGES, query)
    pages: dict[tuple[UUID, int], list[dict[str, Any]]] = {(job_id, after): [] for job_id, after in wanted}
    for row in await cursor.fetchall():
        pages[row["job_id"], row["after"]].append(_view(row["job_id"], row))
    return pages


async def read_changes(
    connection: Connection, job_id: UUID, *, after: int, until: int, limit: int = 500
) -> list[dict[str, Any]]:
    """Events with `after` < id <= `until` that changed what the job is: all but those that a running attempt reports."""
    cursor = await connection.execute(
        "SELECT seq, type, epoch, at, data FROM job_events"
        " WHERE job_id = %s AND seq > %s AND seq <= %s AND type <> ALL(%s) ORDER BY seq LIMIT %s",
        (job_id, after, until, sorted(REPORTS), limit),
    )
    return [_view(job_id, row) for row in await cursor.fetchall()]


async def read_logs(connection: Connection, job_id: UUID, *, after: int, limit: int = 500) -> list[dict[str, Any]]:
    """Lines that the job logged, with an event id above `after`."""
    cursor = await connection.execute(
        "SELECT seq, type, epoch, at, data FROM job_events"
        " WHERE job_id = %s AND type = 'log' AND seq > %s ORDER BY seq LIMIT %s",
        (job_id, after, limit),
    )
    return [_view(job_id, row) for row in await cursor.fetchall()]


async def read_last_logs(connection: Connection, job_id: UUID, *, limit: int) -> list[dict[str, Any]]:
    """The last lines that the job logged, oldest first."""
    cursor = await connection.execute(
        "SELECT seq, type, epoch, at, data FROM job_events"
        " WHERE job_id = %s AND type = 'log' ORDER BY seq DESC LIMIT %s",
        (job_id, limit),
    )
    return [_view(job_id, row) for row in reversed(await cursor.fetchall())]


async def read_last_ids(connection: Connection, job_ids: Iterable[UUID]) -> dict[UUID, int]:
    """The number of the newest event of each of these jobs."""
    cursor = await connection.execute("SELECT id, event_seq FROM jobs WHERE id = ANY(%s)", (list(job_ids),))
    return {row["id"]: row["event_seq"] for row in await cursor.fetchall()}


async def read_attempts(connection: Connection, job_id: UUID) -> list[dict[str, Any]]:
    """The attempts of a job: the fields of `longhaul.contract.AttemptView`."""
    cursor = await connection.execute(
        "SELECT seq, type, epoch, at, data FROM job_events WHERE job_id = %s AND epoch > 0 AND type = ANY(%s) ORDER BY seq",
        (job_id, ["started", *ATTEMPT_ENDINGS]),
    )
    attempts: dict[int, dict[str, Any]] = {}
    for row in await cursor.fetchall():
        data = _data(row)
        if row["type"] == "started":
            attempts[row["epoch"]] = {
                "attempt": row["epoch"],
                "worker": data.get("worker"),
                "started_at": row["at"],
                "ended_at": None,
                "ending": None,
                "error": None,
                "evidence": None,
            }
        elif "ending" in data and (attempt := attempts.get(row["epoch"])):
            # Without an ending it is a cancel that found the job between two attempts.
            attempt["ended_at"] = row["at"]
            attempt["ending"] = data["ending"]
            attempt["error"] = data.get("error")
            attempt["evidence"] = data.get("evidence")
    return list(attempts.values())


def _view(job_id: UUID, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "id": row["seq"],
        "type": row["type"],
        "at": row["at"],
        "attempt": row["epoch"],
        "data": _data(row),
    }


def _data(row: Mapping[str, Any]) -> dict[str, Any]:
    """What an event says: an object, as its readers expect, also where the ledger holds something else."""
    data = row["data"]
    return data if isinstance(data, dict) else {"value": data}
