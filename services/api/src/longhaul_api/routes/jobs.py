"""Jobs: list, read, result, attempts, logs, cancel, replay."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import FastAPI, Query, Request, Response
from pydantic import AwareDatetime, BeforeValidator
from pydantic_core import PydanticCustomError

from longhaul import telemetry
from longhaul.contract import AttemptView, EventView, JobPage, JobView, Name, ResultView
from longhaul.errors import (
    InvalidRequest,
    JobFinished,
    NoResult,
    NotReplayable,
    ResultGone,
    ResultStoreUnavailable,
    UnknownJob,
)
from longhaul.ids import new_job_id
from longhaul.ledger import events as ledger_events
from longhaul.ledger import jobs as ledger_jobs
from longhaul.ledger.leases import Written
from longhaul.states import TERMINAL, State
from longhaul_api import answers, openapi
from longhaul_api.answers import accepted, answer, etag, job_headers, stored_result
from longhaul_api.auth import Principal
from longhaul_api.context import Context, context_of
from longhaul_api.streams import Stream

WAIT_SECONDS_AT_MOST = 60
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*([0-9]{1,6})\s*(?:$|[,;])", re.IGNORECASE)
PAGE = Annotated[int, Query(ge=1, le=200, description="Jobs on a page.")]
Filter = Annotated[Name | None, Query()]

_log = structlog.get_logger(__name__)


def _not_a_number(value: object) -> object:
    """Pydantic would take seconds or milliseconds since 1970 too, and guess which."""
    if isinstance(value, str) and "-" not in value[1:]:
        raise PydanticCustomError("time", "must be a time like 2026-01-31T12:00:00Z")
    return value


Time = Annotated[AwareDatetime | None, BeforeValidator(_not_a_number)]


def install(app: FastAPI) -> None:
    unknown = openapi.errors(UnknownJob, InvalidRequest)
    app.add_api_route(
        "/v1/jobs/{job_id}",
        show,
        methods=["GET"],
        tags=["jobs"],
        response_model=JobView,
        responses={
            200: openapi.headers(
                ETag="This state of the job.",
                Retry_After="Seconds until it is worth another look; absent once the job has ended.",
                Preference_Applied="`wait=N` where it was.",
            ),
            304: {"description": "Nothing has changed since the state that `If-None-Match` names."},
            **openapi.errors(UnknownJob),
        },
        openapi_extra={
            "parameters": [
                openapi.JOB_ID,
                openapi.header("If-None-Match", "ETag of the state that the client has."),
                openapi.header("Prefer", f"`wait=N`: answer at the next change, N (at most {WAIT_SECONDS_AT_MOST}) seconds "
                               "from now at the latest. The change is one from `If-None-Match`'s state where that is given."),
            ]
        },
    )  # fmt: skip
    more: dict[str, Any] = {"tags": ["jobs"]}
    app.add_api_route(
        "/v1/jobs", page, methods=["GET"], response_model=JobPage, responses=openapi.errors(InvalidRequest), **more
    )
    for name, endpoint, model, also in (
        ("result", result, ResultView, [NoResult, ResultGone, ResultStoreUnavailable]),
        ("attempts", attempts, list[AttemptView], []),
        ("logs", logs, list[EventView], []),
    ):
        responses = openapi.errors(UnknownJob, InvalidRequest, *also)
        app.add_api_route(
            f"/v1/jobs/{{job_id}}/{name}", endpoint, methods=["GET"], response_model=model, responses=responses, **more
        )
    app.add_api_route(
        "/v1/jobs/{job_id}/cancel", cancel, methods=["POST"], response_model=JobView, status_code=202,
        responses={**unknown, **openapi.errors(UnknownJob, InvalidRequest, JobFinished)}, **more,
    )  # fmt: skip
    app.add_api_route(
        "/v1/jobs/{job_id}/replay", replay, methods=["POST"], response_model=JobView, status_code=202,
        responses={
            202: openapi.headers(Location="The new job.", Retry_After="Seconds until it is worth a look."),
            **openapi.errors(UnknownJob, InvalidRequest, NotReplayable),
        },
        **more,
    )  # fmt: skip


async def show(request: Request) -> Response:
    """A job as it stands; with `Prefer: wait=N` as soon as it has changed."""
    context = context_of(request)
    principal = await context.authenticate(request, "read")
    try:
        id = UUID(request.path_params["job_id"])
    except ValueError:
        raise UnknownJob from None
    row = await context.jobs.read(id, tenant=principal.tenant)
    known = request.headers.get("if-none-match")
    prefer = request.headers.get("prefer")
    if known is None and prefer is None:
        return answer(ledger_jobs.view(row), 200, job_headers(row))
    wait = _wait_seconds(prefer)
    if wait and row["state"] not in TERMINAL and (known is None or _is_known(known, row)):
        row = await _changed(context, request, row, wait)
    headers = job_headers(row) | ({"Preference-Applied": f"wait={wait}"} if wait else {})
    if known is not None and _is_known(known, row):
        return Response(status_code=304, headers=headers)
    return answer(ledger_jobs.view(row), 200, headers)


async def page(
    request: Request,
    state: Annotated[list[State] | None, Query(description="Any of these.")] = None,
    task: Filter = None,
    queue: Filter = None,
    since: Annotated[Time, Query(description="Submitted at this time or later.")] = None,
    until: Annotated[Time, Query(description="Submitted before this time.")] = None,
    cursor: Annotated[UUID | None, Query(description="`next` of the page before.")] = None,
    limit: PAGE = 50,
) -> Response:
    """Jobs, newest first."""
    context = context_of(request)
    principal = await context.authenticate(request, "read")
    rows = await context.ledger.ask(
        partial(
            ledger_jobs.list_jobs,
            tenant=principal.tenant,
            states=state,
            task=task,
            queue=queue,
            since=since,
            until=until,
            before=cursor,
            limit=limit + 1,
        )
    )
    return answer(job_page(rows, limit))


def job_page(rows: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """A page of at most `limit` of these rows: the fields of `JobPage`. One row more says that there is a next page."""
    shown = rows[:limit]
    return {
        "jobs": [ledger_jobs.view(row) for row in shown],
        "next": str(shown[-1]["id"]) if len(rows) > limit else None,
    }


async def result(request: Request, job_id: UUID) -> Response:
    """What a job returned."""
    context = context_of(request)
    principal = await context.authenticate(request, "read")
    row = await context.ledger.ask(partial(ledger_jobs.read_result, id=job_id))
    if row is None or row["tenant"] != principal.tenant:
        raise UnknownJob
    if row["state"] != State.SUCCEEDED:
        raise NoResult(state=row["state"])
    if row["stored"] is None:
        return answers.result(job_id, row["result"])
    if context.results is None:
        _log.error("result_store_missing", job_id=str(job_id), hint="set LONGHAUL_RESULT_STORE_URL as for the workers")
        raise ResultStoreUnavailable
    return await stored_result(context.results, job_id, row["stored"])


async def attempts(request: Request, job_id: UUID) -> Response:
    """The attempts at a job, oldest first, each with how it ended and what is known of its end."""
    context = context_of(request)
    principal = await context.authenticate(request, "read")
    await context.jobs.read(job_id, tenant=principal.tenant)
    return answer(await context.ledger.ask(partial(ledger_events.read_attempts, job_id=job_id)))


async def logs(
    request: Request,
    job_id: UUID,
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="Id of the last line of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="Lines on a page.")] = 500,
) -> Response:
    """What a job has logged, oldest first."""
    context = context_of(request)
    principal = await context.authenticate(request, "read")
    await context.jobs.read(job_id, tenant=principal.tenant)
    return answer(await context.ledger.ask(partial(ledger_events.read_logs, job_id=job_id, after=after, limit=limit)))


async def cancel(request: Request, job_id: UUID) -> Response:
    """Cancel a job. One that waits is cancelled at once; a running one is asked to stop, and killed after a grace."""
    context = context_of(request)
    principal = await context.authenticate(request, "submit")
    await context.jobs.read(job_id, tenant=principal.tenant)
    row = await context.ledger.ask(partial(ledger_jobs.cancel, id=job_id))
    if row is None:
        row = await context.jobs.read(job_id, tenant=principal.tenant)
        if row["state"] in TERMINAL:
            raise JobFinished(state=row["state"])
    else:
        _log.info("cancel_asked", job_id=str(job_id), epoch=row["epoch"], queue=row["queue"], by=principal.name)
        context.hub.announce(
            Written(
                job_id=job_id,
                seq=row["event_seq"],
                type="cancelled" if row["state"] == State.CANCELLED else "cancel_requested",
                epoch=row["epoch"],
                at=row["updated_at"],
                data={},
            )
        )
    return answer(ledger_jobs.view(row), 202)


async def replay(request: Request, job_id: UUID) -> Response:
    """Submit a failed or dead job again: a new job that points to this one. Needs an administrator's key."""
    context = context_of(request)
    principal = await context.authenticate(request, "admin")
    await context.jobs.read(job_id, tenant=principal.tenant)
    rows = await context.ledger.ask(
        partial(
            ledger_jobs.replay,
            new_ids={job_id: new_job_id()},
            submitted_by=principal.name,
            trace_context=telemetry.current_trace_context(),
        )
    )
    if not rows:
        raise NotReplayable
    log_replays(rows, principal)
    context.ringer.ring(rows[0]["queue"])
    return accepted(rows[0])


def log_replays(rows: Iterable[Mapping[str, Any]], principal: Principal) -> None:
    """A line for each new job."""
    for row in rows:
        _log.info(
            "job_replayed",
            job_id=str(row["id"]),
            origin_id=str(row["origin_id"]),
            queue=row["queue"],
            by=principal.name,
        )


def _wait_seconds(prefer: str | None) -> int:
    """N of `Prefer: wait=N`, capped; 0 without it. What can't be understood is passed over (RFC 7240)."""
    found = _WAIT.search(prefer) if prefer else None
    return min(WAIT_SECONDS_AT_MOST, int(found[1])) if found else 0


def _is_known(if_none_match: str, row: Mapping[str, Any]) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag(row) in tags


async def _changed(context: Context, request: Request, row: dict[str, Any], wait_seconds: float) -> dict[str, Any]:
    """The job once it has an event after this row's, or when the time is over."""
    hub, seen = context.hub, row["event_seq"]
    watch = await hub.watch(row["id"], after=seen)
    stream = Stream(hub, watch)
    async with stream.until_gone(request.receive):
        # What happened before the watch began.
        row = await context.jobs.read(row["id"], tenant=row["tenant"])
        hub.learn(watch.feed, row["event_seq"])
        if row["event_seq"] > seen:
            return row
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_seconds):
                while watch.feed.last_id <= seen and not stream.is_over:
                    await watch.wait()
    return await context.jobs.read(row["id"], tenant=row["tenant"])
