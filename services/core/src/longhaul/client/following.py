"""Following a job: where a follower stands in its events, and when a waiting one asks again. Nothing here waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

import httpx2
from pydantic import ValidationError

from longhaul.client import calls
from longhaul.client.answers import RETRIED, StillRunning, UnreadableAnswer, error_of
from longhaul.client.calls import Call, JobId
from longhaul.contract import EventView, JobView
from longhaul.states import TERMINAL

LONGEST_POLL_SECONDS = 30.0
SHORTEST_POLL_SECONDS = 0.5
"""A job that reports progress all the time answers every poll at once; this keeps a waiting client from hurrying it."""
SILENCE_SECONDS = 45.0
"""Three of the stream's heartbeats."""
MISSED_STREAMS_MAX = 2


class LongPoll:
    """Waits for a job's end with `Prefer: wait`, by polls that the API answers at the next change."""

    def __init__(self, id: JobId, timeout: float | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._get = calls.get(id)
        self._clock = clock
        self._asked_at = clock()
        self._ends_at = None if timeout is None else self._asked_at + timeout

    def next(self) -> Call[JobView]:
        """The next poll to send."""
        self._asked_at = self._clock()
        seconds = LONGEST_POLL_SECONDS
        if self._ends_at is not None:
            seconds = min(seconds, max(0.0, self._ends_at - self._asked_at))
        return Call(
            method=self._get.method,
            path=self._get.path,
            parse=self._get.parse,
            headers={"Prefer": f"wait={int(seconds)}"} if seconds >= 1 else {},
            patience_seconds=seconds,
        )

    def pause_after(self, job: JobView) -> float | None:
        """Seconds until the next poll; None where the job has ended. Raises StillRunning."""
        if job.state in TERMINAL:
            return None
        now = self._clock()
        pause = max(0.0, SHORTEST_POLL_SECONDS - (now - self._asked_at))
        if self._ends_at is None:
            return pause
        if now >= self._ends_at:
            raise StillRunning(state=job.state)
        return min(pause, self._ends_at - now)


class Following:
    """Reads a job's events once each and in order, over as many streams as it takes.

    After a stream that ended early the job itself is asked for: it tells whether anything is missing. Where streams
    bring nothing although there is something (a proxy that holds them back), the newest state of the job stands in for
    the events, as it would for a client that reads too slowly.
    """

    def __init__(self, id: JobId, *, after: int) -> None:
        self.path = f"{calls.get(id).path}/events"
        self.last_id = after
        self.has_ended = False
        self._known_id = after
        """Of the newest event that the job is known to have."""
        self._missed_streams = 0

    def headers(self) -> dict[str, str]:
        return {"Last-Event-ID": str(self.last_id)} if self.last_id else {}

    def accept(self, response: httpx2.Response) -> bool:
        """Whether the answer, if it failed already read, is a stream. Raises the error that no retry would cure."""
        if response.is_success:
            return response.headers.get("content-type", "").startswith("text/event-stream")
        if response.status_code not in RETRIED:
            raise error_of(response)
        return False

    def take(self, sent: httpx2.ServerSentEvent) -> EventView | None:
        """The event, unless it was read before."""
        if not sent.data:
            return None
        try:
            event = EventView.model_validate_json(sent.data)
        except ValidationError as error:
            raise UnreadableAnswer from error
        if event.id <= self.last_id:
            return None
        self._missed_streams = 0
        return self._advance(event)

    def after_stream(self, job: JobView) -> EventView | None:
        """Look at the job after a stream that ended without its last event; perhaps that stands in for an event."""
        if self.last_id < self._known_id:
            self._missed_streams += 1
        self._known_id = max(self._known_id, job.last_event_id)
        if self.last_id >= job.last_event_id:
            self.has_ended = job.state in TERMINAL
        elif self._missed_streams > MISSED_STREAMS_MAX:
            return self._advance(_latest_event(job))
        return None

    @property
    def pause_seconds(self) -> float:
        """Before the next stream is opened."""
        return 0.1 if not self._missed_streams else 1.0

    def _advance(self, event: EventView) -> EventView:
        self.last_id = event.id
        self._known_id = max(self._known_id, event.id)
        self.has_ended = event.type in TERMINAL
        return event


def _latest_event(job: JobView) -> EventView:
    has_ended = job.state in TERMINAL
    error = {"error": job.error.model_dump()} if job.error and has_ended else {}
    return EventView(
        job_id=UUID(str(job.id)),
        id=job.last_event_id,
        type=job.state if has_ended else "progress",
        at=job.updated_at,
        attempt=job.attempt,
        data=error if has_ended else job.progress.model_dump(),
    )
