"""What the pure state machine makes of a job's history: the row that it must have, and that every step was allowed.

Whoever writes for the tests of the state machine says under which epoch it writes (`writer`), so that a write of an
older epoch shows, whatever number the ledger put beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tests import reference_model
from tests.reference_model import Change, Job, Terms

from longhaul.states import TERMINAL, TRANSITIONS, Ending, State, decide

Row = Mapping[str, Any]

CLAIM_SECONDS = 3600.0
"""The lease that these tests claim with: none runs out by itself."""
TIMES = ("run_after", "rank_at", "lease_expires_at")
UNTOLD = ("resolution",)
"""No event tells of it: a replay or a discard comes after the end."""


def seconds(at: datetime) -> float:
    """The database's clock as the state machine reads it; to the microsecond, as PostgreSQL keeps it."""
    return round(at.timestamp(), 6)


def job_of(row: Row) -> Job:
    """A row as the state machine sees it."""
    return Job(
        id=row["id"],
        terms=Terms(
            task=row["task"],
            queue=row["queue"],
            priority=row["priority"],
            retries_max=row["retries_max"],
            max_interruptions=row["max_interruptions"],
            backoff_seconds=row["backoff_seconds"],
            backoff_max_seconds=row["backoff_max_seconds"],
        ),
        run_after=seconds(row["run_after"]),
        rank_at=seconds(row["rank_at"]),
        state=State(row["state"]),
        epoch=row["epoch"],
        owner=row["worker_id"],
        lease_expires_at=row["lease_expires_at"] and seconds(row["lease_expires_at"]),
        retries=row["retries"],
        interruptions=row["interruptions"],
        cancel_requested=row["cancel_requested_at"] is not None,
        progress=row["progress"],
        checkpoint=row["checkpoint"],
        result=row["result"],
        resolution=row["resolution"],
        event_seq=row["event_seq"],
    )


def submitted(row: Row, run_after: datetime | None = None) -> Job:
    """What a job was when it was submitted to be due then."""
    due = None if run_after is None else seconds(run_after)
    return reference_model.submit(row["id"], job_of(row).terms, now=seconds(row["created_at"]), run_after=due).job


def tell(job: Job, history: Sequence[Row], *, owners: Mapping[int, Any], times_moved: bool) -> Job:
    """What a job becomes by events that came after it, oldest first; `owners` are those of its epochs. `times_moved`:
    a test let delays pass meanwhile, which no event tells.

    Raises AssertionError at the first event that the state machine does not allow, or would not write so.
    """
    for event in history:
        if times_moved:
            job = job._replace(run_after=min(job.run_after, seconds(event["at"])))
        at = f"event {event['seq']} of {job.id}: {event['type']} under epoch {event['epoch']}, {event['data']}"
        assert job.state not in TERMINAL, f"after the end, {at}"
        change = _change(job, event, owners)
        assert change is not None, f"from {job}, {at}"
        told = change.job
        assert told.state == job.state or told.state in TRANSITIONS[job.state], f"from {job}, {at}"
        assert (list(change.events), told.event_seq, told.epoch) == ([event["type"]], event["seq"], event["epoch"]), (
            f"from {job} {told} was expected, and came {at}"
        )
        writer = event["data"].get("writer", event["data"].get("evidence", {}).get("writer", told.epoch))
        assert writer == told.epoch, f"I3: written by the owner of epoch {writer}, {at}"
        job = told
    return job


def check(
    row: Row, history: Sequence[Row], *, before: Job, known: int, owners: Mapping[int, Any], times_moved: bool
) -> None:
    """Raise AssertionError where the row of a job is not what its history tells: from its submit on, and from the row
    that it was `before` a step, when `known` of its events were there."""
    job, first = job_of(row), history[0]
    assert (first["type"], first["seq"], first["epoch"]) == ("queued", 1, 0), f"{job.id} began with {first}"
    told = tell(submitted(row), history[1:], owners=owners, times_moved=True)
    assert_same(job, told, but=(*TIMES, *UNTOLD))
    told = tell(before, history[known:], owners=owners, times_moved=times_moved)
    assert_same(job, told, but=(*TIMES, *UNTOLD) if times_moved else UNTOLD)
    for column in ("worker_id", "slot", "lease_expires_at"):
        assert (row[column] is not None) == (job.state is State.RUNNING), f"{column} of {row}"
    assert (row["finished_at"] is not None) == (job.state in TERMINAL), f"finished_at of {row}"
    if job.state is State.RUNNING:
        assert row["started_at"] >= row["run_after"], f"started before it was due: {row}"


def assert_same(found: Job, expected: Job, *, but: Sequence[str] = ()) -> None:
    """Raise AssertionError where the ledger's row is not what the state machine says. Times may be a microsecond off."""
    for name in Job._fields:
        one, other = getattr(found, name), getattr(expected, name)
        near = name in TIMES and one is not None and other is not None and abs(one - other) < 2e-6
        assert near or one == other or name in but, (
            f"{name} is {one!r}, and the state machine says {other!r}: {found}, {expected}"
        )


def _change(job: Job, event: Row, owners: Mapping[int, Any]) -> Change | None:
    """What the state machine makes of the statement that wrote this event; None where there is none that could."""
    type, data, epoch, now = event["type"], event["data"], event["epoch"], seconds(event["at"])
    if "ending" in data:
        wish = data.get("retry_after_seconds", 0.0)
        transition = decide(Ending(data["ending"]), job.budget, jitter=0.0, delay_seconds=wish)
        result = {"writer": epoch} if transition.state is State.SUCCEEDED else None
        checkpoint = data.get("evidence", {}).get("checkpoint")
        return reference_model.end(job, epoch, transition, now=now, result=result, checkpoint=checkpoint)
    match type:
        case "started":
            return reference_model.claim(job, owner=owners[epoch], now=now, lease_seconds=CLAIM_SECONDS)
        case "log":
            return reference_model.record(job, epoch, ["log"])
        case "progress":
            return reference_model.record(job, epoch, ["progress"], progress=data["fraction"])
        case "checkpoint":
            return reference_model.record(job, epoch, ["checkpoint"], checkpoint=data["checkpoint"])
        case "cancel_requested" | "cancelled":
            return reference_model.cancel(job)
    return None
