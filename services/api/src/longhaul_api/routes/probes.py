"""Probes and metrics: whether this process lives, may be sent requests, and how it does."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from longhaul_api.answers import answer
from longhaul_api.context import context_of

PATHS = frozenset({"/livez", "/readyz", "/metrics"})


def install(app: FastAPI) -> None:
    # Not a part of the versioned contract: nothing but the platform asks these.
    app.add_api_route("/livez", livez, methods=["GET"], include_in_schema=False)
    app.add_api_route("/readyz", readyz, methods=["GET"], include_in_schema=False)
    app.add_api_route("/metrics", metrics, methods=["GET"], include_in_schema=False)


async def livez(request: Request) -> Response:  # noqa: ARG001 - a route takes its request
    """The event loop answers: that is all that a restart could mend."""
    return answer({"status": "ok"})


async def readyz(request: Request) -> Response:
    """200 while requests can be served: also `degraded`, when Redis is away or the ledger refuses writes; 503 without the
    ledger, and at the end."""
    context = context_of(request)
    if context.stopping:
        return answer({"status": "stopping", "problems": {}, "degraded": {}}, 503)
    report = await context.health.report()
    status = "unready" if report.problems else "degraded" if report.degraded else "ok"
    body = {"status": status, "problems": report.problems, "degraded": report.degraded}
    return answer(body, 503 if report.problems else 200)


async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    return Response(context_of(request).metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})
