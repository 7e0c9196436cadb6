"""Streams: a job's events as server-sent events and over WebSocket."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import FastAPI, Request, Response, WebSocket
from starlette.requests import HTTPConnection

from longhaul.errors import InvalidRequest, LonghaulError, UnknownJob
from longhaul.states import TERMINAL
from longhaul_api import openapi
from longhaul_api.context import context_of
from longhaul_api.feed import Watch
from longhaul_api.problems import problem_response
from longhaul_api.streams import EventStreamResponse, follow_by_websocket

_LAST_ID = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
_EVENT = {
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string"},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/EventView"},
        },
    },
}
"""One server-sent event, in the words of OpenAPI 3.2, which FastAPI uses for its own streams too."""


def install(app: FastAPI) -> None:
    app.add_api_route(
        "/v1/jobs/{job_id}/events",
        events,
        methods=["GET"],
        tags=["jobs"],
        response_class=Response,
        responses={
            200: {
                "description": "Server-sent events until the job's end: `id` is the event's, `event` its type, `data` an "
                "`EventView` as JSON. A comment comes every 15 seconds. A client that is hundreds of events behind gets "
                "every change of state, and of progress, logs and checkpoints the newest.",
                "content": {"text/event-stream": {"itemSchema": _EVENT}},
            },
            204: {"description": "The job has ended, and the client has all its events: no need to come again."},
            **openapi.errors(UnknownJob, InvalidRequest),
        },
        openapi_extra={
            "parameters": [
                openapi.JOB_ID,
                openapi.header("Last-Event-ID", "Resume after this event; without it the stream starts with the first.", _LAST_ID),
                openapi.query("last_event_id", "The same, for clients that can't set headers.", _LAST_ID),
            ]
        },
    )  # fmt: skip
    app.add_api_websocket_route("/v1/jobs/{job_id}/ws", websocket)


async def events(request: Request) -> Response:
    """Follow a job by server-sent events."""
    watch = await _begin(request)
    if watch is None:
        return Response(status_code=204)
    return EventStreamResponse(context_of(request).hub, watch)


async def websocket(websocket: WebSocket) -> None:
    """Follow a job over WebSocket: each event is a text frame with an `EventView`; 1000 is the close after the last.

    A refusal is an HTTP answer with the problem. The key is in `Authorization`, or in `?access_token=` for browsers.
    """
    try:
        watch = await _begin(websocket)
    except LonghaulError as error:
        await websocket.send_denial_response(problem_response(error))
        return
    if watch is None:
        await websocket.accept()
        await websocket.close()
        return
    await follow_by_websocket(websocket, context_of(websocket).hub, watch)


async def _begin(connection: HTTPConnection) -> Watch | None:
    """A watch on the job, resumed where the client says; None where the job has ended and the client has all.

    Raises what `authenticate` does, UnknownJob, InvalidRequest, LedgerUnavailable.
    """
    context = context_of(connection)
    principal = await context.authenticate(connection, "read")
    try:
        id = UUID(connection.path_params["job_id"])
    except ValueError:
        raise UnknownJob from None
    after = _last_event_id(connection)
    watch = await context.hub.watch(id, after=after)
    try:
        # Read after the watch began, so that nothing falls in between.
        row: dict[str, Any] = await context.jobs.read(id, tenant=principal.tenant)
    except BaseException:
        context.hub.unwatch(watch)
        raise
    if row["state"] in TERMINAL and after >= row["event_seq"]:
        context.hub.unwatch(watch)
        return None
    watch.cursor = min(after, row["event_seq"])
    context.hub.learn(watch.feed, row["event_seq"])
    return watch


def _last_event_id(connection: HTTPConnection) -> int:
    text = connection.headers.get("last-event-id") or connection.query_params.get("last_event_id") or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise InvalidRequest(errors=[{"field": "Last-Event-ID", "message": "must be the id of an event"}])
    return int(text)
