"""The event hub: who follows which job, fed by the event channel and, where that has holes, by the ledger."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID

import redis.asyncio as redis
import structlog

from longhaul import events as event_channel
from longhaul.errors import LedgerUnavailable, LonghaulError, UnknownJob
from longhaul.ledger.leases import Written
from longhaul_api.channel import Channel
from longhaul_api.feed import KEPT, Event, Feed, Watch, from_message, from_view
from longhaul_api.readers import CHANGES_PAGE, EVENT_PAGE, EventReader

BEATS = 15
"""Parts of a heartbeat's interval: each beats for its share of the streams, so that they do not all write at once."""

_CONFIRM_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class Hub:
    """Follows the jobs that someone watches: one subscription a process, next to no queries while nothing is lost."""

    def __init__(
        self,
        history: EventReader,
        *,
        events_url: str,
        publisher: redis.Redis,
        delivered: Callable[[int], None],
        heartbeat_seconds: float,
        away_poll_seconds: float,
        reconnect_seconds: float,
    ) -> None:
        self.is_stopping = False
        self.delivered = delivered
        """Told how many events each write to a client carried."""
        self._history = history
        self._publisher = publisher
        self._heartbeat_seconds = heartbeat_seconds
        self._away_poll_seconds = away_poll_seconds
        self._feeds: dict[UUID, Feed] = {}
        self._parts: list[set[Watch]] = [set() for _ in range(BEATS)]
        self._beat = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._look_now = asyncio.Event()
        self._channel = Channel(
            events_url, on_event=self._on_event, on_change=self._on_change, reconnect_seconds=reconnect_seconds
        )

    def start(self) -> None:
        self._channel.start()
        self._spawn(self._beat_on())
        self._spawn(self._look_on())

    def stop(self) -> None:
        """End every stream at its next turn."""
        self.is_stopping = True
        for feed in self._feeds.values():
            for watch in feed.watches:
                watch.end()

    async def close(self) -> None:
        self.stop()
        for task in list(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._channel.stop()

    @property
    def is_live(self) -> bool:
        """Whether events come over Redis; else the ledger is looked at every few seconds."""
        return self._channel.is_up

    def count(self) -> int:
        """Open watches."""
        return sum(len(feed.watches) for feed in self._feeds.values())

    async def watch(self, job_id: UUID, *, after: int) -> Watch:
        """Begin to follow a job. What is committed from now on is not missed. Call `unwatch` at the end."""
        feed = self._feeds.get(job_id)
        if feed is None:
            feed = self._feeds[job_id] = Feed(job_id)
        watch = Watch(feed, after)
        watch.is_over = self.is_stopping
        feed.watches.add(watch)
        min(self._parts, key=len).add(watch)  # who came at once does not beat at once
        try:
            # A Redis that is silent is waited for no longer: what it loses is found in the ledger.
            await asyncio.wait((self._channel.subscribe(job_id),), timeout=_CONFIRM_SECONDS)
        except BaseException:
            self.unwatch(watch)
            raise
        return watch

    def unwatch(self, watch: Watch) -> None:
        feed = watch.feed
        feed.watches.discard(watch)
        for part in self._parts:
            part.discard(watch)
        if not feed.watches and self._feeds.get(feed.job_id) is feed:
            del self._feeds[feed.job_id]
            self._channel.unsubscribe(feed.job_id)

    def announce(self, written: Written) -> None:
        """Publish an event that this process has committed, in the background, to its own streams at once."""
        feed = self._feeds.get(written.job_id)
        if feed is not None:
            self.learn(feed, written.seq)
        self._spawn(self._publish(written))

    async def read(self, watch: Watch) -> list[Event]:
        """The next events after the watch's cursor, which moves on: for those that its feed does not hold.

        Who is further behind than a feed can hold gets the events that changed the job's state, and then the newest of
        all kinds: older progress, logs and checkpoints are passed over.

        Raises LedgerUnavailable, and UnknownJob where the job was purged meanwhile.
        """
        feed = watch.feed
        behind = feed.last_id - watch.cursor
        if behind <= KEPT:
            await self._load(feed)
            events = watch.take()
            if events is not None:
                return events
        events = await (self._read_page(watch) if behind <= 2 * KEPT else self._read_changes(watch))
        if events:
            watch.cursor = max(watch.cursor, events[-1].id)
        return events

    def learn(self, feed: Feed, last_id: int) -> None:
        """The ledger has events of this job up to `last_id`: see to it that the feed gets there."""
        if last_id <= feed.known_id and (last_id <= feed.last_id or feed.filling):
            return
        feed.known_id = max(feed.known_id, last_id)
        if feed.last_id == 0 or last_id - feed.last_id > KEPT:
            feed.skip_to(last_id)
        if feed.last_id < feed.known_id or feed.is_stale:
            self._fill_soon(feed)

    def _fill_soon(self, feed: Feed) -> None:
        if feed.filling is None:
            feed.filling = self._spawn(self._fill(feed))

    async def _load(self, feed: Feed) -> None:
        """Hold the newest KEPT events of a job: one question, however many clients come at once."""
        if feed.loading is None:
            feed.loading = asyncio.create_task(self._load_once(feed))
        await asyncio.shield(feed.loading)

    async def _load_once(self, feed: Feed) -> None:
        try:
            views = await self._history.read(feed.job_id, after=max(0, feed.last_id - KEPT))
            feed.prepend([from_view(view) for view in views])
        finally:
            feed.loading = None

    async def _read_page(self, watch: Watch) -> list[Event]:
        views = await self._history.read(watch.feed.job_id, after=watch.cursor)
        if not views:
            raise UnknownJob
        return [from_view(view) for view in views]

    async def _read_changes(self, watch: Watch) -> list[Event]:
        until = watch.feed.last_id - KEPT
        views = await self._history.read_changes(watch.feed.job_id, after=watch.cursor, until=until)
        if len(views) < CHANGES_PAGE:
            watch.cursor = until
        return [from_view(view) for view in views]

    def _on_event(self, job_id: UUID, json: bytes) -> None:
        feed = self._feeds.get(job_id)
        if feed is None:
            return
        event = from_message(json)
        if event.id == feed.last_id + 1 and feed.filling is None and not event.is_terminal:
            feed.append([event])
        elif event.id > feed.last_id:
            # Whoever reaches Redis can publish, tasks too: what ends a stream, and a gap, are looked up in the ledger.
            feed.is_stale = True
            if feed.last_id > 0:  # else the ledger is being asked where the job stands
                self._fill_soon(feed)

    def _on_change(self, is_up: bool) -> None:
        _log.info("event_channel", is_up=is_up)
        self._look_now.set()

    async def _fill(self, feed: Feed) -> None:
        """Read what a feed misses, until it has all that is known to exist, and all that there is if it is stale."""
        try:
            while feed.last_id < feed.known_id or feed.is_stale:
                feed.is_stale = False
                views = await self._history.read(feed.job_id, after=feed.last_id)
                feed.extend([from_view(view) for view in views])
                feed.is_stale |= len(views) == EVENT_PAGE
                if not views and not feed.is_stale:
                    return
        except LedgerUnavailable:
            return  # the next event, or the next look, tries again
        finally:
            feed.filling = None

    async def _beat_on(self) -> None:
        """One timer for all heartbeats."""
        while True:
            await asyncio.sleep(self._heartbeat_seconds / BEATS)
            self._beat = (self._beat + 1) % BEATS
            for watch in self._parts[self._beat]:
                watch.is_beat_due = True
                watch.wake()

    async def _look_on(self) -> None:
        """Look into the ledger for events that the channel lost: after it was away, while it is, and now and then."""
        while True:
            seconds = self._heartbeat_seconds if self.is_live else self._away_poll_seconds
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look_now.wait(), seconds)
            self._look_now.clear()
            if self._feeds:
                try:
                    await self._look()
                except LonghaulError:
                    continue  # the ledger is away, and looked into again
                except Exception:  # noqa: BLE001 - a fault of our own must not end the looking for good
                    _log.exception("event_look_failed")

    async def _look(self) -> None:
        feeds = [feed for feed in self._feeds.values() if feed.last_id > 0]
        last_ids = await self._history.read_last_ids([feed.job_id for feed in feeds])
        for feed in feeds:
            self.learn(feed, last_ids.get(feed.job_id, 0))

    async def _publish(self, written: Written) -> None:
        # Others see the event late then, when they look into the ledger.
        with contextlib.suppress(redis.RedisError, OSError):
            await event_channel.publish(self._publisher, [written])

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
