"""The API as an ASGI app."""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

from longhaul_api import openapi, problems
from longhaul_api.context import Context
from longhaul_api.gateway import Gateway
from longhaul_api.routes import console, dead_letters, jobs, probes, queues, streams, submit, tasks, webhooks, workers
from longhaul_api.settings import ApiSettings


def create_app(settings: ApiSettings) -> FastAPI:
    """Build everything; the app's lifespan opens and closes it. `app.state.context` holds its parts."""
    context = Context(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with context.running():
            yield

    app = FastAPI(
        title="Longhaul",
        version=version("longhaul-api"),
        description=openapi.describe(),
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from elsewhere; /openapi.json is there for tools
        redoc_url=None,
        redirect_slashes=False,  # behind a proxy that ends TLS it would send clients, and their keys, to plain http
        telemetry={
            "tracing": settings.otlp_endpoint is not None,
            "operation_spans": False,
            "metrics": False,
            "logs": False,
            "exclude": _is_untraced,
        },
    )
    app.state.context = context
    app.add_middleware(
        Gateway,
        metrics=context.metrics,
        body_limit_bytes=settings.body_limit_bytes,
        is_stopping=lambda: context.stopping,
    )
    problems.install(app)
    openapi.install(app)
    # Routes are tried in this order: those that are asked most come first.
    for routes in (submit, jobs, webhooks, streams, tasks, queues, workers, dead_letters, probes, console):
        routes.install(app)
    return app


def _is_untraced(scope: MutableMapping[str, Any]) -> bool:
    """Probes would drown the rest; a WebSocket's address may hold a key, and spans carry addresses away."""
    return scope["type"] == "websocket" or scope["path"] in probes.PATHS
