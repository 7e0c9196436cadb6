"""Queues: how they are, pause and resume, limits."""

from __future__ import annotations

from functools import partial
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response

from longhaul.contract import Name, QueueUpdate, QueueView
from longhaul.errors import InvalidRequest, UnknownQueue
from longhaul.ledger import queues as ledger_queues
from longhaul_api import openapi
from longhaul_api.answers import answer
from longhaul_api.context import Context, context_of
from longhaul_api.json_body import parse
from longhaul_api.routes.submit import read_body

_log = structlog.get_logger(__name__)


def install(app: FastAPI) -> None:
    one: dict[str, Any] = {
        "tags": ["queues"],
        "response_model": QueueView,
        "responses": openapi.errors(UnknownQueue, InvalidRequest),
    }
    app.add_api_route(
        "/v1/queues",
        queues,
        methods=["GET"],
        tags=["queues"],
        response_model=list[QueueView],
        responses=openapi.errors(),
    )
    app.add_api_route("/v1/queues/{queue}", show, methods=["GET"], **one)
    app.add_api_route("/v1/queues/{queue}/pause", pause, methods=["POST"], **one)
    app.add_api_route("/v1/queues/{queue}/resume", resume, methods=["POST"], **one)
    one["responses"] = openapi.errors(UnknownQueue, has_body=True)
    app.add_api_route("/v1/queues/{queue}", update, methods=["PATCH"], openapi_extra=openapi.body(QueueUpdate), **one)


async def queues(request: Request) -> Response:
    """All queues with their figures, over all tenants."""
    context = context_of(request)
    await context.authenticate(request, "read")
    return answer(await _read(context))


async def show(request: Request, queue: Name) -> Response:
    """One queue with its figures."""
    context = context_of(request)
    await context.authenticate(request, "read")
    return await _show(context, queue)


async def pause(request: Request, queue: Name) -> Response:
    """Start no more jobs of a queue; those that run go on."""
    return await _pause(request, queue, paused=True)


async def resume(request: Request, queue: Name) -> Response:
    """Start jobs of a queue again."""
    return await _pause(request, queue, paused=False)


async def update(request: Request, queue: Name) -> Response:
    """Limit how many jobs of a queue run at once."""
    context = context_of(request)
    principal = await context.authenticate(request, "admin")
    change = parse(await read_body(request), QueueUpdate)
    if not await context.ledger.ask(partial(ledger_queues.limit, name=queue, max_running=change.max_running)):
        raise UnknownQueue
    _log.info("queue_limited", queue=queue, max_running=change.max_running, by=principal.name)
    return await _show(context, queue)


async def _pause(request: Request, queue: str, *, paused: bool) -> Response:
    context = context_of(request)
    principal = await context.authenticate(request, "admin")
    if not await context.ledger.ask(partial(ledger_queues.pause, name=queue, paused=paused)):
        raise UnknownQueue
    _log.info("queue_paused" if paused else "queue_resumed", queue=queue, by=principal.name)
    return await _show(context, queue)


async def _show(context: Context, queue: str) -> Response:
    found = await _read(context, queue)
    if not found:
        raise UnknownQueue
    return answer(found[0])


async def _read(context: Context, queue: str | None = None) -> list[dict[str, Any]]:
    settings = context.settings
    return await context.ledger.ask(
        partial(
            ledger_queues.read, lease_seconds=settings.lease_seconds, threshold=settings.queue_threshold, name=queue
        )
    )
