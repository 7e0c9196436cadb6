"""Dead letters: jobs that used up their retries or interruptions. List, replay, discard; one by one or many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import FastAPI, Query, Request, Response

from longhaul import telemetry
from longhaul.contract import BulkAnswer, BulkRequest, DeadLetterView, JobPage, JobView
from longhaul.errors import InvalidRequest, NotDeadLettered, NotReplayable, UnknownJob
from longhaul.ids import new_job_id
from longhaul.ledger import events as ledger_events
from longhaul.ledger import jobs as ledger_jobs
from longhaul.ledger.connection import Connection
from longhaul.states import State
from longhaul_api import openapi
from longhaul_api.answers import accepted, answer
from longhaul_api.auth import Principal
from longhaul_api.context import Context, context_of
from longhaul_api.json_body import parse
from longhaul_api.routes.jobs import PAGE, Filter, job_page, log_replays
from longhaul_api.routes.submit import read_body

BULK_AT_MOST = 1000
LOG_LINES = 20

_log = structlog.get_logger(__name__)


def install(app: FastAPI) -> None:
    more: dict[str, Any] = {"tags": ["dead letters"]}
    bulk: dict[str, Any] = {
        "response_model": BulkAnswer,
        "responses": openapi.errors(has_body=True),
        "openapi_extra": openapi.body(BulkRequest),
        **more,
    }
    app.add_api_route(
        "/v1/dead-letters",
        page,
        methods=["GET"],
        response_model=JobPage,
        responses=openapi.errors(InvalidRequest),
        **more,
    )
    app.add_api_route(
        "/v1/dead-letters/{job_id}",
        show,
        methods=["GET"],
        response_model=DeadLetterView,
        responses=openapi.errors(UnknownJob, InvalidRequest, NotDeadLettered),
        **more,
    )
    app.add_api_route("/v1/dead-letters:replay", replay_many, methods=["POST"], **bulk)
    app.add_api_route("/v1/dead-letters:discard", discard_many, methods=["POST"], **bulk)
    app.add_api_route(
        "/v1/dead-letters/{job_id}/replay", replay, methods=["POST"], response_model=JobView, status_code=202,
        responses={
            202: openapi.headers(Location="The new job.", Retry_After="Seconds until it is worth a look."),
            **openapi.errors(UnknownJob, InvalidRequest, NotReplayable),
        },
        **more,
    )  # fmt: skip
    app.add_api_route(
        "/v1/dead-letters/{job_id}/discard", discard, methods=["POST"], response_model=JobView,
        responses=openapi.errors(UnknownJob, InvalidRequest, NotDeadLettered), **more,
    )  # fmt: skip


async def page(
    request: Request,
    task: Filter = None,
    queue: Filter = None,
    cursor: Annotated[UUID | None, Query(description="`next` of the page before.")] = None,
    limit: PAGE = 50,
) -> Response:
    """The dead letters that nobody has replayed or discarded, newest first."""
    context = context_of(request)
    principal = await context.authenticate(request, "read")
    rows = await context.ledger.ask(
        partial(
            ledger_jobs.list_jobs,
            tenant=principal.tenant,
            task=task,
            queue=queue,
            before=cursor,
            dead_letters=True,
            limit=limit + 1,
        )
    )
    return answer(job_page(rows, limit))


async def show(request: Request, job_id: UUID) -> Response:
    """A dead job with all that is known of why it is: its attempts' evidence, last checkpoint and last log lines."""
    context = context_of(request)
    principal = await context.authenticate(request, "read")
    row = await context.jobs.read(job_id, tenant=principal.tenant)
    if row["state"] != State.DEAD:
        raise NotDeadLettered("This job is not dead: see its `state`.")
    return answer({"job": ledger_jobs.view(row), **await context.ledger.ask(partial(_read_evidence, id=job_id))})


async def _read_evidence(connection: Connection, *, id: UUID) -> dict[str, Any]:
    return {
        "attempts": await ledger_events.read_attempts(connection, id),
        "checkpoint": await ledger_jobs.read_checkpoint(connection, id),
        "logs": await ledger_events.read_last_logs(connection, id, limit=LOG_LINES),
    }


async def replay(request: Request, job_id: UUID) -> Response:
    """Submit a dead letter again: a new job that points to it."""
    context = context_of(request)
    principal = await context.authenticate(request, "admin")
    await context.jobs.read(job_id, tenant=principal.tenant)
    rows = await context.ledger.ask(partial(_replay, ids=[job_id], principal=principal))
    if not rows:
        raise NotReplayable("This job is not in the dead-letter queue (any more): see its `state` and `resolution`.")
    _ring(context, rows, principal)
    return accepted(rows[0])


async def discard(request: Request, job_id: UUID) -> Response:
    """Take a job out of the dead-letter queue for good. The job itself stays until it is purged."""
    context = context_of(request)
    principal = await context.authenticate(request, "admin")
    await context.jobs.read(job_id, tenant=principal.tenant)
    done = await context.ledger.ask(partial(ledger_jobs.discard, ids=[job_id]))
    if not done:
        raise NotDeadLettered
    _log_discards(done, principal)
    return answer(ledger_jobs.view(await context.jobs.read(job_id, tenant=principal.tenant)))


async def replay_many(request: Request) -> Response:
    """Submit many dead letters again. `done` are the ids of the new jobs."""
    context = context_of(request)
    principal = await context.authenticate(request, "admin")
    bulk = parse(await read_body(request), BulkRequest)
    rows, skipped = await context.ledger.ask(partial(_replay_found, bulk=bulk, principal=principal))
    _ring(context, rows, principal)
    return answer({"done": [row["id"] for row in rows], "skipped": skipped})


async def discard_many(request: Request) -> Response:
    """Take many jobs out of the dead-letter queue for good."""
    context = context_of(request)
    principal = await context.authenticate(request, "admin")
    bulk = parse(await read_body(request), BulkRequest)
    done, skipped = await context.ledger.ask(partial(_discard_found, bulk=bulk, principal=principal))
    _log_discards(done, principal)
    return answer({"done": done, "skipped": skipped})


async def _replay_found(
    connection: Connection, *, bulk: BulkRequest, principal: Principal
) -> tuple[list[dict[str, Any]], list[UUID]]:
    """The new jobs, and the ids that are not dead letters (any more)."""
    found = await _find(connection, bulk, principal)
    rows = await _replay(connection, ids=found, principal=principal)
    done = {row["origin_id"] for row in rows}
    return rows, [id for id in bulk.ids or found if id not in done]


async def _discard_found(
    connection: Connection, *, bulk: BulkRequest, principal: Principal
) -> tuple[list[UUID], list[UUID]]:
    found = await _find(connection, bulk, principal)
    done = await ledger_jobs.discard(connection, found)
    return done, [id for id in bulk.ids or found if id not in set(done)]


async def _find(connection: Connection, bulk: BulkRequest, principal: Principal) -> list[UUID]:
    """The jobs that are meant, of this tenant."""
    if bulk.ids is None:
        rows = await ledger_jobs.list_jobs(
            connection,
            tenant=principal.tenant,
            task=bulk.task,
            queue=bulk.queue,
            dead_letters=True,
            limit=BULK_AT_MOST,
        )
        return [row["id"] for row in rows]
    known = await ledger_jobs.read(connection, bulk.ids)
    return [
        id
        for id, row in known.items()
        if row["tenant"] == principal.tenant and bulk.task in (None, row["task"]) and bulk.queue in (None, row["queue"])
    ]


async def _replay(connection: Connection, *, ids: list[UUID], principal: Principal) -> list[dict[str, Any]]:
    return await ledger_jobs.replay(
        connection,
        {id: new_job_id() for id in ids},
        submitted_by=principal.name,
        trace_context=telemetry.current_trace_context(),
        dead_letters=True,
    )


def _log_discards(ids: Iterable[UUID], principal: Principal) -> None:
    for id in ids:
        _log.info("dead_letter_discarded", job_id=str(id), by=principal.name)


def _ring(context: Context, rows: list[dict[str, Any]], principal: Principal) -> None:
    log_replays(rows, principal)
    for queue, count in Counter(row["queue"] for row in rows).items():
        context.ringer.ring(queue, count)
