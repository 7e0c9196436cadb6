"""A feed: the newest events of one job, encoded once and shared by all who follow it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson

from longhaul.ledger.events import TERMINAL_EVENTS, encode
from longhaul_api.readers import EVENT_PAGE

KEPT = EVENT_PAGE
"""Events of a job that are held in memory while someone follows it; who is further behind reads the ledger."""


class Event:
    """One event, ready to send."""

    __slots__ = ("frame", "id", "json", "type")

    def __init__(self, id: int, type: str, json: bytes) -> None:
        self.id = id
        self.type = type
        self.json = json
        """`longhaul.contract.EventView`."""
        self.frame = b"id: %d\nevent: %s\ndata: %s\n\n" % (id, type.encode(), json)
        """The same as a server-sent event."""

    @property
    def is_terminal(self) -> bool:
        return self.type in TERMINAL_EVENTS


def from_message(json: bytes) -> Event:
    """An event as the event channel carries it."""
    fields = orjson.loads(json)
    return Event(fields["id"], fields["type"], json)


def from_view(view: Mapping[str, Any]) -> Event:
    """An event as the ledger's readers give it."""
    json = encode(view["job_id"], view["id"], view["type"], view["at"], view["attempt"], view["data"])
    return Event(view["id"], view["type"], json)


class Feed:
    """The tail of a job's history, without gaps, up to `last_id`; and those who wait for what comes."""

    __slots__ = ("_events", "filling", "is_stale", "job_id", "known_id", "last_id", "loading", "watches")

    def __init__(self, job_id: UUID) -> None:
        self.job_id = job_id
        self.last_id = 0
        """All events up to this one can be read, here or in the ledger. 0 until something is known."""
        self.known_id = 0
        """The newest event that is known to exist; above `last_id` while those in between are missing here."""
        self.is_stale = False
        """There may be events after `last_id` that nothing but a message on the event channel tells of."""
        self.filling: asyncio.Task[None] | None = None
        """Reads what is missing after `last_id`."""
        self.loading: asyncio.Task[None] | None = None
        """Reads what came before the events that are held."""
        self.watches: set[Watch] = set()
        self._events: list[Event] = []

    def append(self, events: Sequence[Event]) -> None:
        """Add events that follow `last_id` without a gap, and wake those who wait. Older ones are passed over."""
        fresh = [event for event in events if event.id > self.last_id]
        if not fresh:
            return
        assert fresh[0].id == self.last_id + 1, "a feed has no gaps"
        self._events += fresh
        self.last_id = fresh[-1].id
        if len(self._events) > 2 * KEPT:  # trimmed now and then, not at each event
            del self._events[:-KEPT]
        self.wake()

    def extend(self, events: Sequence[Event]) -> None:
        """Add events that the ledger has after `last_id`. Where it has gaps (something deleted events), they are left
        there, for each client to read."""
        if events and events[-1].id - self.last_id > len(events):
            self.skip_to(events[-1].id)
        else:
            self.append(events)

    def prepend(self, events: Sequence[Event]) -> None:
        """Add older events that lead up to those that are held."""
        first = self.last_id - len(self._events) + 1
        older = [event for event in events if event.id < first]
        if older and older[-1].id == first - 1 and older[-1].id - older[0].id == len(older) - 1:
            self._events[:0] = older

    def skip_to(self, last_id: int) -> None:
        """There are events up to `last_id`, too many to hold: they are in the ledger."""
        if last_id > self.last_id:
            self._events.clear()
            self.last_id = last_id
            self.wake()

    def after(self, cursor: int) -> list[Event] | None:
        """The events after `cursor`; None where some of them are not held."""
        count = self.last_id - cursor
        if count > len(self._events):
            return None
        return self._events[-count:] if count > 0 else []

    def wake(self) -> None:
        for watch in self.watches:
            watch.wake()


class Watch:
    """One client's place in a feed."""

    __slots__ = ("_wake", "cursor", "feed", "is_beat_due", "is_over")

    def __init__(self, feed: Feed, cursor: int) -> None:
        self.feed = feed
        self.cursor = cursor
        """The id of the last event that the client has."""
        self.is_beat_due = False
        """A heartbeat is due on this stream."""
        self.is_over = False
        """The client has gone, or this process is going."""
        self._wake: asyncio.Future[None] | None = None

    @property
    def is_behind(self) -> bool:
        """There are events after `cursor`."""
        return self.feed.last_id > self.cursor

    def take(self) -> list[Event] | None:
        """The events after the cursor, which moves on; None where some of them are not held."""
        events = self.feed.after(self.cursor)
        if events:
            self.cursor = events[-1].id
        return events

    def end(self) -> None:
        self.is_over = True
        self.wake()

    def wake(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def wait(self) -> None:
        """Until something may have changed: it is behind, or someone called `wake`."""
        if self.is_behind:
            return
        self._wake = asyncio.get_running_loop().create_future()
        try:
            await self._wake
        finally:
            self._wake = None
