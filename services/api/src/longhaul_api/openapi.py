"""The API's own description: every answer, every error, and the state machine as text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from longhaul.contract import BatchRequest, BulkRequest, ProblemView, QueueUpdate, SubmitRequest
from longhaul.errors import (
    BodyTooLarge,
    Forbidden,
    InvalidRequest,
    LedgerRefuses,
    LedgerUnavailable,
    LonghaulError,
    RequestError,
    Unauthenticated,
)
from longhaul.states import TRANSITIONS
from longhaul_api import problems

Document = dict[str, Any]

_DESCRIPTION = """Hour-long work behind a fast API. No accepted job is ever lost, doubled or cut short by the platform.

`202` is answered after the job is committed. Follow it by server-sent events, WebSocket, long poll (`Prefer: wait=30`)
or plain poll.

**States of a job**

{transitions}

`queued` includes jobs whose `run_after` is in the future. A running attempt that ends by a passing error, a timeout or
because the platform moved it makes the job `queued` again while its retries and interruptions last, and `dead` after
that: dead jobs are in the dead-letter queue. `attempt` counts the attempts and is the fencing token.

**Errors** are `application/problem+json` (RFC 9457) with a stable `code`; `instance` is the request's id, which
`X-Request-Id` sets and every answer carries.
"""

JOB_ID: Document = {
    "name": "job_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "format": "uuid"},
}
_STANDARD = (Unauthenticated, Forbidden, LonghaulError, LedgerUnavailable, LedgerRefuses)
_WITH_BODY = (RequestError, InvalidRequest, BodyTooLarge, problems.UnsupportedMediaType)


def header(name: str, description: str, schema: Document | None = None) -> Document:
    """An optional request header."""
    return {"name": name, "in": "header", "description": description, "schema": schema or {"type": "string"}}


def query(name: str, description: str, schema: Document) -> Document:
    """An optional query parameter."""
    return {"name": name, "in": "query", "description": description, "schema": schema}


def body(model: type[BaseModel]) -> Document:
    """A JSON body, for a route that reads it by itself."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def headers(**descriptions: str) -> Document:
    """Response headers; an underscore in a name stands for a hyphen."""
    return {
        "headers": {
            name.replace("_", "-"): {"description": text, "schema": {"type": "string"}}
            for name, text in descriptions.items()
        }
    }


def errors(*classes: type[LonghaulError], has_body: bool = False) -> dict[int | str, Document]:
    """Every error that a route may answer with, by status, next to those that all have."""
    by_status: dict[int | str, Document] = {}
    every = dict.fromkeys((*classes, *(_WITH_BODY if has_body else ()), *_STANDARD))
    for status in sorted({one.status for one in every}):
        texts = [f"`{one.code}`: {' '.join((one.__doc__ or '').split())}" for one in every if one.status == status]
        schema = {"$ref": "#/components/schemas/ProblemView"}
        by_status[status] = {
            "description": "\n\n".join(texts),
            "content": {problems.MEDIA_TYPE: {"schema": schema}},
        }
    return by_status


def install(app: FastAPI) -> None:
    """Complete what FastAPI writes with the models of bodies that routes read themselves, and with the keys."""
    original = app.openapi

    def openapi() -> Document:
        if app.openapi_schema is None:
            document = original()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            for name, schema in _schemas((SubmitRequest, BatchRequest, BulkRequest, QueueUpdate, ProblemView)).items():
                schemas.setdefault(name, schema)
            document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            for path, operations in document["paths"].items():
                if path.startswith("/v1/"):
                    for operation in operations.values():
                        operation["security"] = [{"key": []}]
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's manual says to extend it


def describe() -> str:
    """The API's description, with the state machine as `longhaul.states` has it."""
    lines = [
        f"- `{state}` → {', '.join(f'`{after}`' for after in sorted(afters))}" if afters else f"- `{state}`: the end"
        for state, afters in TRANSITIONS.items()
    ]
    return _DESCRIPTION.format(transitions="\n".join(lines))


def _schemas(models: Iterable[type[BaseModel]]) -> Document:
    _, document = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    definitions: Document = document.get("$defs", {})
    return definitions
