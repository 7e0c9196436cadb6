"""Submits: from a valid request to a committed job, many of them in one statement."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import orjson
import psycopg
import structlog

from longhaul import telemetry
from longhaul.contract import SubmitRequest
from longhaul.errors import InvalidRequest, LedgerUnavailable
from longhaul.ids import new_job_id
from longhaul.ledger import jobs as ledger_jobs
from longhaul.ledger.jobs import NewJob, Submitted
from longhaul.task import TaskSpec
from longhaul_api.auth import Principal
from longhaul_api.coalescer import Coalescer
from longhaul_api.ledger_access import LedgerAccess

BATCH_SIZE = 100
"""Jobs in one statement: about 10 ms of one PostgreSQL process; more together are not cheaper."""

_UNSTORABLE = (psycopg.DataError, psycopg.IntegrityError, orjson.JSONEncodeError)
"""What the ledger raises for a job that it can't hold."""

_log = structlog.get_logger(__name__)


class Submissions:
    """Inserts jobs. Nothing is accepted before its commit; what becomes of one job is no other's concern."""

    def __init__(self, ledger: LedgerAccess, *, deadline_seconds: float) -> None:
        self._ledger = ledger
        self._coalescer: Coalescer[NewJob, Submitted] = Coalescer(
            self._insert, batch_size=BATCH_SIZE, deadline_seconds=deadline_seconds
        )
        self._deadline_seconds = deadline_seconds

    async def submit(self, job: NewJob) -> Submitted:
        """Insert one job with those that arrive at the same moment.

        Raises LedgerUnavailable where no commit was seen in time, InvalidRequest where the ledger can't hold the job.
        """
        return await self._coalescer.ask(job)

    async def submit_many(self, jobs: Sequence[NewJob]) -> list[Submitted | Exception]:
        """Insert the jobs of one request, and answer each. Raises nothing; what is not answered in time is unavailable."""
        until = asyncio.get_running_loop().time() + self._deadline_seconds
        answers: list[Submitted | Exception] = []
        for start in range(0, len(jobs), BATCH_SIZE):
            part = jobs[start : start + BATCH_SIZE]
            left = until - asyncio.get_running_loop().time()
            try:
                answers += await self._insert(part, left) if left > 0 else [LedgerUnavailable()] * len(part)
            except LedgerUnavailable as error:
                answers += [error] * len(part)
            except Exception as error:  # noqa: BLE001 - what other parts have committed must still be told
                _log.error("submit_failed", exc_info=error)
                answers += [error] * len(part)
        return answers

    async def _insert(self, jobs: Sequence[NewJob], timeout_seconds: float) -> Sequence[Submitted | Exception]:
        try:
            return await self._ledger.ask(partial(ledger_jobs.submit, jobs=jobs), timeout_seconds=timeout_seconds)
        except _UNSTORABLE:
            if len(jobs) == 1:
                return [InvalidRequest("The database can't hold a value of this job: check its texts and numbers.")]
        # The statement changed nothing. Halving finds the bad ones among a hundred good in a few statements.
        half = len(jobs) // 2
        return [
            *await self._insert(jobs[:half], timeout_seconds),
            *await self._insert(jobs[half:], timeout_seconds),
        ]


def new_job(
    request: SubmitRequest, spec: TaskSpec, principal: Principal, *, idempotency_key: str | None = None
) -> NewJob:
    """The job that a valid request asks for, with its task's limits as they are now."""
    timeout = request.timeout or spec.timeout_seconds
    soft = spec.soft_timeout_seconds
    return NewJob(
        id=new_job_id(),
        tenant=principal.tenant,
        submitted_by=principal.name,
        task=spec.name,
        queue=request.queue or spec.queue,
        priority=request.priority,
        params=request.params,
        metadata=request.metadata,
        retries_max=spec.retries,
        max_interruptions=spec.max_interruptions,
        timeout_seconds=timeout,
        soft_timeout_seconds=soft if soft is None or soft < timeout else None,
        backoff_seconds=spec.backoff_seconds,
        backoff_max_seconds=spec.backoff_max_seconds,
        interruptible=spec.interruptible,
        run_after=request.run_after,
        idempotency_key=idempotency_key,
        request_digest=ledger_jobs.digest(meaning(request)) if idempotency_key else None,
        trace_context=telemetry.current_trace_context(),
        webhook_url=request.webhook,
    )


def meaning(request: SubmitRequest) -> dict[str, object]:
    """What a request asks for, its defaults filled in: two requests mean the same when this is equal."""
    fields = {name: getattr(request, name) for name in SubmitRequest.model_fields}
    # A field that keys of the release before did not know: without it, the same request still means the same.
    return {name: value for name, value in fields.items() if name != "webhook" or value is not None}
