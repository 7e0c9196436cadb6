"""Tasks: what can be submitted."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from longhaul.contract import TaskView
from longhaul_api import openapi
from longhaul_api.answers import answer
from longhaul_api.context import context_of


def install(app: FastAPI) -> None:
    app.add_api_route(
        "/v1/tasks",
        tasks,
        methods=["GET"],
        tags=["tasks"],
        response_model=list[TaskView],
        responses=openapi.errors(),
    )


async def tasks(request: Request) -> Response:
    """The tasks that workers have published, each with the JSON Schemas of its params and its result."""
    context = context_of(request)
    await context.authenticate(request, "read")
    specs = await context.catalogue.specs()
    return answer([{name: getattr(spec, name) for name in TaskView.model_fields} for spec in specs])
