"""Submits: from a valid request to a committed job, many of them in one statement."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from uuid import UUID

import structlog

from longhaul import telemetry
from longhaul.contract import SubmitRequest
from longhaul.errors import InvalidRequest, LedgerRefuses, LedgerUnavailable, LonghaulError
from longhaul.ids import new_job_id
from longhaul.ledger import jobs as ledger_jobs
from longhaul.ledger.jobs import NewJob, Submitted
from longhaul.task import TaskSpec
from longhaul_api.auth import Principal
from longhaul_api.coalescer import Coalescer
from longhaul_api.ledger_access import LedgerAccess

BATCH_SIZE = 100
"""Jobs in one statement: about 10 ms of one PostgreSQL process; more together are not cheaper."""

SAMPLES = 5
"""Jobs of a refused statement that are tried alone, to tell a ledger that refuses everything from one that refuses some of
these jobs: six statements for a hundred jobs where it is everything."""

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

        Raises LedgerUnavailable where no commit was seen in time, LedgerRefuses and InvalidRequest where there was none.
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
            except Exception as error:  # noqa: BLE001 - what other parts have committed must still be told
                _log.error("submit_failed", exc_info=error)
                answers += [error] * len(part)
        return answers

    async def _insert(self, jobs: Sequence[NewJob], timeout_seconds: float) -> Sequence[Submitted | Exception]:
        """Insert jobs in one statement; where it is refused, in parts of it, which find the few bad jobs among many good
        ones in a few statements. What was committed is accepted, whatever becomes of the rest."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_seconds
        accepted: dict[UUID, Submitted] = {}
        refused: dict[UUID, LonghaulError] = {}
        rest: LonghaulError = LedgerUnavailable()
        refusals, takes_some = 0, False
        parts = deque([jobs])
        while parts:
            part, split = parts.popleft(), _halved
            submit = partial(ledger_jobs.submit, jobs=part, answers=accepted)
            try:
                await self._ledger.ask(submit, timeout_seconds=until - loop.time())
                takes_some = True
                continue
            except LedgerRefuses as error:
                rest = error
                refusals += 1
                if refusals > SAMPLES and not takes_some:
                    break
                split = _sampled if refusals == 1 else _halved
            except LedgerUnavailable as error:
                rest = error
                break
            except InvalidRequest as error:
                rest = error
            left = [job for job in part if job.id not in accepted]
            if len(left) == 1:
                refused[left[0].id] = rest
            else:
                parts += split(left)
        return [accepted.get(job.id) or refused.get(job.id) or rest for job in jobs]


def _halved(jobs: Sequence[NewJob]) -> Sequence[Sequence[NewJob]]:
    half = len(jobs) // 2
    return jobs[:half], jobs[half:]


def _sampled(jobs: Sequence[NewJob]) -> Sequence[Sequence[NewJob]]:
    """Some jobs alone, from all over; and the others."""
    step = -(-len(jobs) // SAMPLES)
    alone = jobs[::step]
    others = [job for number, job in enumerate(jobs) if number % step]
    return [*([job] for job in alone), *([others] if others else [])]


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
