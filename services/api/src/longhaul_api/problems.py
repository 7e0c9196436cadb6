"""Errors as the API answers them: `application/problem+json` (RFC 9457) with a stable `code`."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from longhaul.errors import (
    BodyTooLarge,
    InvalidRequest,
    LedgerUnavailable,
    LonghaulError,
    MethodNotAllowed,
    NotFound,
    RequestError,
    ResultStoreUnavailable,
    Unauthenticated,
    UnknownJob,
    UnknownQueue,
)
from longhaul_api.json_body import field_errors

MEDIA_TYPE = "application/problem+json"
AWAY_RETRY_SECONDS = 2
"""A failed-over PostgreSQL is back in seconds; a client that repeats sooner only adds to its work."""

_log = structlog.get_logger(__name__)


class UnsupportedMediaType(RequestError):
    """The body must be JSON: send it with `Content-Type: application/json`."""

    code = "unsupported_media_type"
    status = 415


def problem(error: LonghaulError, request_id: str | None = None) -> dict[str, Any]:
    """An error as the fields of `longhaul.contract.ProblemView`."""
    fields: dict[str, Any] = {
        "type": f"urn:longhaul:problem:{error.code}",
        "title": error.code.replace("_", " ").capitalize(),
        "status": error.status,
        "detail": error.message,
        "code": error.code,
    }
    if request_id:
        fields["instance"] = request_id
    return fields | error.details


def problem_response(
    error: LonghaulError, request_id: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer for an error, with the headers that its status asks for."""
    more = dict(headers or {})
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        more.setdefault("Retry-After", str(AWAY_RETRY_SECONDS))
    if isinstance(error, Unauthenticated):
        more["WWW-Authenticate"] = 'Bearer realm="longhaul"'
    body = orjson.dumps(problem(error, request_id))
    return Response(body, status_code=error.status, headers=more, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Turn every exception that a route may raise into its problem."""
    app.add_exception_handler(LonghaulError, _longhaul_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)


def request_id_of(request: Request) -> str | None:
    """The id that this request's answer and log lines carry."""
    return request.scope.get("request_id")


async def _longhaul_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, LonghaulError)
    is_expected = isinstance(error, LedgerUnavailable | ResultStoreUnavailable)
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not is_expected:
        return unexpected(error, request_id_of(request))
    return problem_response(error, request_id_of(request))


def unexpected(error: Exception, request_id: str | None) -> Response:
    """The answer for a fault of our own: logged under the request's id, and nothing of it shown."""
    _log.error("request_failed", request_id=request_id, exc_info=error)
    return problem_response(LonghaulError(), request_id)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = error.errors()
    if any(one["loc"][0] == "path" for one in errors):
        # A name that can't be one is the name of nothing.
        kinds: dict[str, type[NotFound]] = {"job_id": UnknownJob, "queue": UnknownQueue}
        name = next(str(one["loc"][1]) for one in errors if one["loc"][0] == "path")
        return problem_response(kinds.get(name, NotFound)(), request_id_of(request))
    return problem_response(InvalidRequest(errors=field_errors(errors)), request_id_of(request))


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known: dict[int, type[RequestError]] = {404: NotFound, 405: MethodNotAllowed, 413: BodyTooLarge}
    answer = known.get(error.status_code, RequestError)()
    return problem_response(answer, request_id_of(request), error.headers)
