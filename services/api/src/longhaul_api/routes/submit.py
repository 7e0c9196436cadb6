"""Submit: one job, or up to a thousand at once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

import orjson
import structlog
from fastapi import FastAPI, Request, Response

from longhaul.contract import BatchAnswers, BatchItem, BatchRequest, JobView, SubmitRequest
from longhaul.errors import (
    IdempotencyConflict,
    InvalidParams,
    InvalidRequest,
    LedgerUnavailable,
    LonghaulError,
    UnknownQueue,
    UnknownTask,
)
from longhaul.ledger import jobs as ledger_jobs
from longhaul.ledger.jobs import NewJob, Submitted
from longhaul_api import openapi
from longhaul_api.answers import accepted, answer
from longhaul_api.auth import Principal
from longhaul_api.catalogue import Snapshot
from longhaul_api.context import Context, context_of
from longhaul_api.json_body import check, parse, validate
from longhaul_api.problems import UnsupportedMediaType, problem, request_id_of
from longhaul_api.routes.webhooks import require_webhooks
from longhaul_api.settings import Webhooks
from longhaul_api.submissions import new_job

T = TypeVar("T")
KEY_HEADER = "idempotency-key"
ITEMS_AT_MOST = 1000
_TURN_ITEMS = 50
"""Items that are checked before others get a turn: about a millisecond."""
_VISIBLE_ASCII = re.compile(r"[!-~]{1,255}")

_log = structlog.get_logger(__name__)


def install(app: FastAPI) -> None:
    refusals = (UnknownTask, InvalidParams, UnknownQueue)
    app.add_api_route(
        "/v1/jobs",
        submit,
        methods=["POST"],
        tags=["jobs"],
        response_model=JobView,
        status_code=202,
        responses={
            202: openapi.headers(Location="The job.", Retry_After="Seconds until it is worth a look."),
            200: {"description": "Accepted before under the same key.", "model": JobView}
            | openapi.headers(Location="The job.", Idempotency_Replayed="`true`"),
            **openapi.errors(*refusals, IdempotencyConflict, has_body=True),
        },
        openapi_extra={
            **openapi.body(SubmitRequest),
            "parameters": [
                openapi.header(
                    "Idempotency-Key",
                    "The same key and the same body give the same job, however often it is sent.",
                    {"type": "string", "pattern": "^[!-~]{1,255}$"},
                )
            ],
        },
    )
    app.add_api_route(
        "/v1/jobs:batch",
        submit_batch,
        methods=["POST"],
        tags=["jobs"],
        response_model=BatchAnswers,
        responses=openapi.errors(has_body=True),
        openapi_extra=openapi.body(BatchRequest),
    )


async def submit(request: Request) -> Response:
    """Submit a job. The answer comes after its commit."""
    context = context_of(request)
    principal = await context.authenticate(request, "submit")
    key = request.headers.get(KEY_HEADER)
    if key is not None and not _VISIBLE_ASCII.fullmatch(key):
        raise InvalidRequest(
            errors=[{"field": "Idempotency-Key", "message": "must be 1 to 255 visible ASCII characters"}]
        )
    submission = parse(await read_body(request), SubmitRequest)
    snapshot = await _snapshot(context, submission)
    job = _job(snapshot, principal, submission, key, webhooks=context.settings.webhooks)
    submitted = await context.submissions.submit(job)
    if submitted.is_conflict:
        raise IdempotencyConflict
    row = submitted.row
    if submitted.is_replay:
        context.metrics.replayed.inc()
        headers = {"Location": f"/v1/jobs/{row['id']}", "Idempotency-Replayed": "true"}
        return answer(ledger_jobs.view(row), 200, headers)
    _ring(context, submitted)
    return accepted(row)


async def submit_batch(request: Request) -> Response:
    """Submit up to 1,000 jobs. Each is answered as if it had come alone: one that is refused holds up no other."""
    context = context_of(request)
    principal = await context.authenticate(request, "submit")
    if KEY_HEADER in request.headers:
        raise InvalidRequest("A batch takes no Idempotency-Key: give each item its own `idempotency_key`.")
    items = _items(check(await read_body(request)))
    submissions = [_submission(item) async for item in _in_turns(items)]
    snapshot = await _snapshot(context, *[one for one in submissions if isinstance(one, BatchItem)])
    webhooks = context.settings.webhooks
    outcomes = [_outcome(snapshot, principal, one, webhooks=webhooks) async for one in _in_turns(submissions)]
    jobs = [one for one in outcomes if isinstance(one, NewJob)]
    submitted = iter(await context.submissions.submit_many(jobs))
    answers: list[Submitted | Exception] = [next(submitted) if isinstance(one, NewJob) else one for one in outcomes]
    if all(isinstance(one, LedgerUnavailable) for one in answers):
        raise next(one for one in answers if isinstance(one, LedgerUnavailable))
    request_id = request_id_of(request)
    return answer({"jobs": [_item_answer(context, one, request_id) for one in answers]})


async def read_body(request: Request) -> bytes:
    """The body, if it says that it is JSON. A browser asks first before it lets another site send this type."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise UnsupportedMediaType
    return await request.body()


async def _snapshot(context: Context, *submissions: SubmitRequest) -> Snapshot:
    """The catalogue with what these ask for, as far as it exists. Raises LedgerUnavailable."""
    return await context.catalogue.snapshot(
        tasks={one.task for one in submissions},
        queues={one.queue for one in submissions if one.queue is not None},
    )


def _job(
    snapshot: Snapshot, principal: Principal, submission: SubmitRequest, key: str | None, *, webhooks: Webhooks
) -> NewJob:
    """Raises UnknownTask, InvalidParams, UnknownQueue, and InvalidRequest where its webhook would not be delivered."""
    require_webhooks(submission.webhook, accepted=webhooks)
    task = snapshot.task(submission.task)
    task.check(submission.params)
    if submission.queue is not None:
        snapshot.require_queue(submission.queue)
    return new_job(submission, task.spec, principal, idempotency_key=key)


def _items(value: Any) -> list[Any]:
    """The items of a batch, their own shape not looked at yet."""
    if not isinstance(value, dict) or value.keys() != {"jobs"} or not isinstance(value["jobs"], list):
        raise InvalidRequest(errors=[{"field": "", "message": 'must be an object like {"jobs": [...]}'}])
    items = value["jobs"]
    if not 1 <= len(items) <= ITEMS_AT_MOST:
        raise InvalidRequest(errors=[{"field": "/jobs", "message": f"must hold 1 to {ITEMS_AT_MOST} jobs"}])
    return items


async def _in_turns(items: Sequence[T]) -> AsyncIterator[T]:
    """The items, with a turn for other requests now and then."""
    for number, item in enumerate(items, 1):
        yield item
        if number % _TURN_ITEMS == 0:
            await asyncio.sleep(0)


def _submission(item: Any) -> BatchItem | LonghaulError:
    try:
        return validate(orjson.dumps(item), BatchItem)
    except LonghaulError as error:
        return error


def _outcome(
    snapshot: Snapshot, principal: Principal, item: BatchItem | LonghaulError, *, webhooks: Webhooks
) -> NewJob | LonghaulError:
    if isinstance(item, LonghaulError):
        return item
    try:
        return _job(snapshot, principal, item, item.idempotency_key, webhooks=webhooks)
    except LonghaulError as error:
        return error


def _item_answer(context: Context, outcome: Submitted | Exception, request_id: str | None) -> dict[str, Any]:
    if isinstance(outcome, Submitted) and outcome.is_conflict:
        outcome = IdempotencyConflict()
    if isinstance(outcome, Submitted):
        if outcome.is_replay:
            context.metrics.replayed.inc()
        else:
            _ring(context, outcome)
        return {"status": 200 if outcome.is_replay else 202, "job": ledger_jobs.view(outcome.row), "error": None}
    error = outcome if isinstance(outcome, LonghaulError) else LonghaulError()
    return {"status": error.status, "job": None, "error": problem(error, request_id)}


def _ring(context: Context, submitted: Submitted) -> None:
    """Ring for a job that may start now; one that is due later is rung by the controller."""
    context.metrics.accepted.inc()
    row = submitted.row
    # A line for each of thousands a second would cost more than it tells: the ledger has all of it.
    _log.debug("job_accepted", job_id=str(row["id"]), queue=row["queue"], task=row["task"])
    if row["run_after"] <= row["created_at"]:
        context.ringer.ring(row["queue"])
