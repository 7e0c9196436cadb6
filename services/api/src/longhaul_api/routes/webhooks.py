"""Webhooks: how far the telling of a job's end is, and telling it again. The controller does the telling."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

import structlog
from fastapi import FastAPI, Request, Response

from longhaul.contract import WebhookView
from longhaul.errors import InvalidRequest, UnknownJob, UnknownWebhook
from longhaul.ledger import webhooks as ledger_webhooks
from longhaul_api import openapi
from longhaul_api.answers import answer
from longhaul_api.context import Context, context_of
from longhaul_api.settings import Webhooks

_log = structlog.get_logger(__name__)


def install(app: FastAPI) -> None:
    more: dict[str, Any] = {
        "tags": ["jobs"],
        "response_model": WebhookView,
        "responses": openapi.errors(UnknownJob, UnknownWebhook, InvalidRequest),
    }
    app.add_api_route("/v1/jobs/{job_id}/webhook", show, methods=["GET"], **more)
    app.add_api_route("/v1/jobs/{job_id}/webhook/redeliver", redeliver, methods=["POST"], status_code=202, **more)


def require_webhooks(url: str | None, *, accepted: Webhooks) -> None:
    """Raises InvalidRequest where this installation would not deliver to that URL."""
    if url is None or (url.startswith("https:" if accepted == "https" else "http") and accepted != "off"):
        return
    message = (
        "must be left out: this installation delivers no webhooks" if accepted == "off" else "must begin with https://"
    )
    raise InvalidRequest(errors=[{"field": "/webhook", "message": message}])


async def show(request: Request, job_id: UUID) -> Response:
    """How far the telling of a job's end is."""
    context = context_of(request)
    principal = await context.authenticate(request, "read")
    await context.jobs.read(job_id, tenant=principal.tenant)
    return answer(await _read(context, job_id))


async def redeliver(request: Request, job_id: UUID) -> Response:
    """Tell a job's end again, beginning with the first try. Its id stays: a receiver that drops repeats drops it."""
    context = context_of(request)
    principal = await context.authenticate(request, "submit")
    await context.jobs.read(job_id, tenant=principal.tenant)
    if not await context.ledger.ask(partial(ledger_webhooks.redeliver, job_id=job_id)):
        raise UnknownWebhook
    _log.info("webhook_redelivered", job_id=str(job_id), by=principal.name)
    return answer(await _read(context, job_id), 202)


async def _read(context: Context, job_id: UUID) -> dict[str, Any]:
    view = await context.ledger.ask(partial(ledger_webhooks.read, job_id=job_id))
    if view is None:
        raise UnknownWebhook
    return view
