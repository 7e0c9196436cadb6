"""The hostile tasks: few, since only limits tell them apart. What a job does is its kind."""

from __future__ import annotations

import inspect
from typing import Any

from pydantic import BaseModel, field_validator
from tests.faults.mixed.hostile import errors, floods, leftovers, signals, sockets, values  # noqa: F401 - they add acts
from tests.faults.mixed.hostile.acts import ACTS
from tests.faults.mixed.hostile.values import Outcome
from tests.faults.mixed.working import Work, Working, working

from longhaul import Job, task

BACKOFF_SECONDS = 0.1


def _perform(job: Job, params: Work) -> Outcome:
    with working(job, params) as work:
        return _outcome(work, ACTS[params.kind](work))


def _outcome(work: Working, value: Any) -> Outcome:
    return value if isinstance(value, BaseModel) else Outcome(**work.result, value=value)  # type: ignore[return-value]


@task(name="hostile.plain", retries=0, timeout=60)
def plain(job: Job, params: Work) -> Outcome:
    return _perform(job, params)


@task(name="hostile.retried", retries=1, timeout=60, backoff=BACKOFF_SECONDS)
def retried(job: Job, params: Work) -> Outcome:
    return _perform(job, params)


@task(name="hostile.crashing", retries=0, timeout=60, max_interruptions=1, backoff=BACKOFF_SECONDS)
def crashing(job: Job, params: Work) -> Outcome:
    return _perform(job, params)


@task(name="hostile.soft", retries=1, timeout=60, soft_timeout=0.5, backoff=BACKOFF_SECONDS)
def soft(job: Job, params: Work) -> Outcome:
    return _perform(job, params)


@task(name="hostile.deaf", retries=0, timeout=2, soft_timeout=0.5)
def deaf(job: Job, params: Work) -> Outcome:
    return _perform(job, params)


@task(name="hostile.overdue", retries=0, timeout=2)
def overdue(job: Job, params: Work) -> Outcome:
    return _perform(job, params)


@task(name="hostile.async", retries=1, timeout=60, soft_timeout=0.5, backoff=BACKOFF_SECONDS)
async def asynchronous(job: Job, params: Work) -> Outcome:
    with working(job, params) as work:
        value: Any = ACTS[params.kind](work)
        return _outcome(work, await value if inspect.isawaitable(value) else value)


class Refused(Work):
    @field_validator("variant")
    @classmethod
    def _look_up(cls, variant: int) -> int:
        raise KeyError(variant)  # which pydantic does not wrap


@task(name="hostile.validated", retries=0, timeout=60)
def validated(job: Job, params: Refused) -> Outcome:
    return _perform(job, params)
