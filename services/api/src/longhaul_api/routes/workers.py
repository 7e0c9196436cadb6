"""Workers: who is there."""

from __future__ import annotations

from functools import partial

from fastapi import FastAPI, Request, Response

from longhaul.contract import WorkerView
from longhaul.ledger import workers as ledger_workers
from longhaul_api import openapi
from longhaul_api.answers import answer
from longhaul_api.context import context_of


def install(app: FastAPI) -> None:
    app.add_api_route(
        "/v1/workers",
        workers,
        methods=["GET"],
        tags=["workers"],
        response_model=list[WorkerView],
        responses=openapi.errors(),
    )


async def workers(request: Request) -> Response:
    """The worker pods, those too that were not heard of for a while."""
    context = context_of(request)
    await context.authenticate(request, "read")
    lease_seconds = context.settings.lease_seconds
    return answer(await context.ledger.ask(partial(ledger_workers.list_workers, lease_seconds=lease_seconds)))
