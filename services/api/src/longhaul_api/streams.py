"""Streams of a job's events: server-sent events, and the same over WebSocket.

Written straight on ASGI: a stream that waits is one task and a small one that notices the disconnect. A library's response
has a task group, a queue and a ping task of its own for each, which thousands of idle streams pay for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from longhaul.errors import LedgerUnavailable, UnknownJob
from longhaul_api.feed import Event, Watch
from longhaul_api.hub import Hub

RECONNECT_MILLISECONDS = 2000
"""What `retry:` tells a browser; the pod that ends its streams is soon gone."""
LEDGER_RETRY_SECONDS = 1.0
CHUNK_EVENTS = 64
"""Written at once at most: a client that reads slowly holds no more than these and the socket's buffer."""
_OPENING = b"retry: %d\n\n" % RECONNECT_MILLISECONDS
_HEARTBEAT = b": \n\n"
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would keep events back otherwise
]
SERVICE_RESTART = 1012
NORMAL_CLOSURE = 1000


class Stream:
    """Follows one job for one client. The watch is the stream's own from here on: it ends it."""

    def __init__(self, hub: Hub, watch: Watch) -> None:
        self._hub = hub
        self._watch = watch

    @property
    def is_over(self) -> bool:
        """The client has gone, or this process is going."""
        return self._watch.is_over

    @asynccontextmanager
    async def until_gone(self, receive: Receive) -> AsyncIterator[None]:
        """Notice the client's leaving inside the block; the watch ends with it."""
        gone = asyncio.create_task(_gone(receive))
        gone.add_done_callback(lambda _: self._watch.end())
        try:
            yield
        finally:
            gone.cancel()
            self._hub.unwatch(self._watch)

    async def next(self) -> Sequence[Event]:
        """Events to send; none where a heartbeat is due or the stream is over. Raises UnknownJob where it was purged."""
        watch = self._watch
        while not watch.is_over:
            events = watch.take()
            if events is None:
                try:
                    events = await self._hub.read(watch)
                except LedgerUnavailable:
                    # The stream stays open: the ledger comes back, and nothing is lost.
                    await asyncio.sleep(LEDGER_RETRY_SECONDS)
                    continue
            if events:
                self._hub.delivered(len(events))
                return events
            if watch.is_beat_due:
                watch.is_beat_due = False
                return ()
            await watch.wait()
        return ()


class EventStreamResponse(Response):
    """Server-sent events until the terminal one."""

    def __init__(self, hub: Hub, watch: Watch) -> None:
        self._stream = Stream(hub, watch)
        self.status_code = 200
        self.background = None
        self.raw_headers = list(_HEADERS)

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        stream = self._stream
        async with stream.until_gone(receive):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": _OPENING, "more_body": True})
            with contextlib.suppress(UnknownJob):
                while not stream.is_over:
                    events = await stream.next()
                    if not events:
                        await send({"type": "http.response.body", "body": _HEARTBEAT, "more_body": True})
                    for part in _parts(events):
                        body = part[0].frame if len(part) == 1 else b"".join([event.frame for event in part])
                        await send({"type": "http.response.body", "body": body, "more_body": True})
                    if events and events[-1].is_terminal:
                        break
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def follow_by_websocket(websocket: WebSocket, hub: Hub, watch: Watch) -> None:
    """The events as text frames; closes with 1000 after the terminal one, with 1012 where this process is going."""
    stream = Stream(hub, watch)
    async with stream.until_gone(websocket.receive):
        await websocket.accept()
        code = SERVICE_RESTART
        try:
            while not stream.is_over:
                events = await stream.next()
                for event in events:
                    await websocket.send_text(event.json.decode())
                if events and events[-1].is_terminal:
                    code = NORMAL_CLOSURE
                    break
        except UnknownJob:
            code = NORMAL_CLOSURE
        except WebSocketDisconnect:
            return
        if websocket.client_state is not WebSocketState.DISCONNECTED:
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await websocket.close(code)


def _parts(events: Sequence[Event]) -> Sequence[Sequence[Event]]:
    if len(events) <= CHUNK_EVENTS:
        return (events,) if events else ()
    return [events[start : start + CHUNK_EVENTS] for start in range(0, len(events), CHUNK_EVENTS)]


async def _gone(receive: Receive) -> None:
    """Until the client disconnects; whatever it sends meanwhile is passed over."""
    while True:
        message = await receive()
        if message["type"].endswith("disconnect"):
            return
