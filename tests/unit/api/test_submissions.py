"""What becomes of a batch whose statement was refused: which parts of it are tried, and for how long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import pytest

from longhaul.errors import InvalidRequest, LedgerRefuses, LedgerUnavailable
from longhaul.ids import new_job_id
from longhaul.ledger.jobs import NewJob, Submitted
from longhaul_api.ledger_access import LedgerAccess
from longhaul_api.submissions import BATCH_SIZE, SAMPLES, Submissions

pytestmark = pytest.mark.anyio

DEADLINE_SECONDS = 5.0
Outcome = type[Exception] | None


def new_job(priority: int = 0) -> NewJob:
    return NewJob(
        id=new_job_id(), tenant="default", submitted_by="test", task="report.write", queue="default", priority=priority,
        params={}, metadata={}, retries_max=0, max_interruptions=0, timeout_seconds=1.0, soft_timeout_seconds=None,
        backoff_seconds=0.0, backoff_max_seconds=0.0, interruptible=False,
    )  # fmt: skip


class Ledger(LedgerAccess):
    """Takes a statement's jobs, or none of them if `refuse` says so."""

    def __init__(self, refuse: Callable[[Sequence[NewJob]], Outcome]) -> None:
        self._refuse = refuse
        self.statements: list[int] = []
        """How many jobs each had."""
        self.timeouts_seconds: list[float] = []

    async def ask(self, question: Callable[[Any], Awaitable[Any]], *, timeout_seconds: float | None = None) -> Any:
        assert isinstance(question, partial)
        assert timeout_seconds is not None
        jobs: Sequence[NewJob] = question.keywords["jobs"]
        self.statements.append(len(jobs))
        self.timeouts_seconds.append(timeout_seconds)
        if error := self._refuse(jobs):
            raise error
        question.keywords["answers"].update((job.id, Submitted({"id": job.id})) for job in jobs)


async def submit(ledger: Ledger, jobs: Sequence[NewJob]) -> list[Outcome]:
    """What each job is answered: None where it is accepted."""
    answers = await Submissions(ledger, deadline_seconds=DEADLINE_SECONDS).submit_many(jobs)
    for job, one in zip(jobs, answers, strict=True):
        assert not isinstance(one, Submitted) or one.row["id"] == job.id
    return [type(one) if isinstance(one, Exception) else None for one in answers]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 7, 99, BATCH_SIZE])
async def test_a_ledger_that_refuses_everything_is_asked_a_few_times_at_most(count: int) -> None:
    ledger = Ledger(lambda _: LedgerRefuses)
    assert await submit(ledger, [new_job() for _ in range(count)]) == [LedgerRefuses] * count
    assert len(ledger.statements) <= 1 + SAMPLES


@pytest.mark.parametrize("error", [LedgerRefuses, InvalidRequest])
@pytest.mark.parametrize("share", [1, 10, 50])
async def test_only_the_jobs_to_blame_are_refused(error: type[Exception], share: int) -> None:
    """Up to half of a batch, wherever they are in it."""
    jobs = [new_job(priority=int(number * 7 % BATCH_SIZE < share)) for number in range(BATCH_SIZE)]
    ledger = Ledger(lambda part: error if any(job.priority for job in part) else None)
    assert await submit(ledger, jobs) == [error if job.priority else None for job in jobs]
    assert len(ledger.statements) <= 2 * BATCH_SIZE + SAMPLES


async def test_all_parts_of_a_batch_have_one_deadline() -> None:
    ledger = Ledger(lambda part: InvalidRequest if len(part) > 1 else None)
    await submit(ledger, [new_job() for _ in range(20)])
    assert ledger.timeouts_seconds == sorted(ledger.timeouts_seconds, reverse=True)
    assert len(set(ledger.timeouts_seconds)) == len(ledger.statements)


async def test_what_is_committed_is_accepted_although_the_ledger_goes_away() -> None:
    outcomes = iter([InvalidRequest, None, LedgerUnavailable])
    ledger = Ledger(lambda _: next(outcomes))
    assert await submit(ledger, [new_job() for _ in range(4)]) == [None, None, LedgerUnavailable, LedgerUnavailable]
