"""What the history of a job tells: which state it must be in, and that every step to it was allowed.

Whoever writes for the tests of the state machine says under which epoch it writes (`writer`), so that a write of an
older epoch shows, whatever number the ledger put beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from longhaul.states import TERMINAL, TRANSITIONS, Budget, Ending, State, decide

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Story:
    """What is told of a job so far."""

    state: State = State.QUEUED
    epoch: int = 0
    retries: int = 0
    interruptions: int = 0
    cancel_requested: bool = False
    progress: float = 0.0
    checkpoint: Any = None
    result: Any = None


def tell(job: Row, history: Sequence[Row]) -> Story:
    """The story of a job by its events, oldest first. Raises AssertionError at the first that can't follow."""
    story = Story()
    for number, event in enumerate(history, start=1):
        at = f"event {number} of {job['id']}: {event['type']} under epoch {event['epoch']}, {event['data']}"
        assert event["seq"] == number, f"a gap before {at}"
        assert story.state not in TERMINAL, f"after the end, {at}"
        told = _started(story) if event["type"] == "started" else _told(story, job, event)
        assert told is not None, f"from {story}, {at}"
        assert told.state == story.state or told.state in TRANSITIONS[story.state], f"from {story}, {at}"
        assert event["epoch"] == told.epoch, f"under another epoch than {told.epoch}, {at}"
        writer = event["data"].get("writer", event["data"].get("evidence", {}).get("writer", told.epoch))
        assert writer == told.epoch, f"I3: written by the owner of epoch {writer}, {at}"
        story = told
    return story


def check(job: Row, history: Sequence[Row]) -> None:
    """Raise AssertionError where the row of a job is not what its history tells."""
    story = tell(job, history)
    row = Story(
        state=State(job["state"]),
        epoch=job["epoch"],
        retries=job["retries"],
        interruptions=job["interruptions"],
        cancel_requested=job["cancel_requested_at"] is not None,
        progress=job["progress"],
        checkpoint=job["checkpoint"],
        result=job["result"],
    )
    assert row == story, f"{job['id']} is {row}, and its history tells {story}"
    assert job["event_seq"] == len(history)
    for column in ("worker_id", "slot", "lease_expires_at"):
        assert (job[column] is not None) == (story.state is State.RUNNING), f"{column} of {job}"
    assert (job["finished_at"] is not None) == (story.state in TERMINAL), f"finished_at of {job}"
    if story.state is State.RUNNING:
        assert job["started_at"] >= job["run_after"], f"started before it was due: {job}"


def _started(story: Story) -> Story | None:
    if story.state is not State.QUEUED:
        return None
    return replace(story, state=State.RUNNING, epoch=story.epoch + 1)


def _told(story: Story, job: Row, event: Row) -> Story | None:
    """The story after an event other than `started`; None where it can't follow."""
    type, data, running = event["type"], event["data"], story.state is State.RUNNING
    if "ending" in data:
        return _ended(story, job, type, data) if running else None
    match type:
        case "queued" if event["seq"] == 1:
            return story
        case "log" if running:
            return story
        case "progress" if running:
            return replace(story, progress=data["fraction"])
        case "checkpoint" if running:
            return replace(story, checkpoint=data["checkpoint"])
        case "cancel_requested" if running and not story.cancel_requested:
            return replace(story, cancel_requested=True)
        case "cancelled" if story.state is State.QUEUED:
            return replace(story, state=State.CANCELLED, cancel_requested=True)
    return None


def _ended(story: Story, job: Row, type: str, data: Mapping[str, Any]) -> Story | None:
    """What the pure state machine makes of the end of an attempt, and nothing else."""
    budget = Budget(
        retries=story.retries,
        retries_max=job["retries_max"],
        interruptions=story.interruptions,
        max_interruptions=job["max_interruptions"],
        backoff_seconds=job["backoff_seconds"],
        backoff_max_seconds=job["backoff_max_seconds"],
    )
    transition = decide(Ending(data["ending"]), budget, jitter=0)
    stops = transition.state is State.QUEUED and story.cancel_requested
    if type != ("cancelled" if stops else transition.event):
        return None
    state = State.CANCELLED if stops else transition.state
    succeeded = state is State.SUCCEEDED
    return replace(
        story,
        state=state,
        retries=story.retries + transition.retries_used,
        interruptions=story.interruptions + transition.interruptions_used,
        progress=1.0 if succeeded else story.progress,
        checkpoint=data.get("evidence", {}).get("checkpoint") or story.checkpoint,
        result={"writer": story.epoch} if succeeded else None,
    )
