"""Longhaul's tasks of the mixed run: short, and each awkward in its own way."""

from __future__ import annotations

import os

from pydantic import BaseModel
from tests.faults.mixed.executions import executing

from longhaul import Job, Retryable, task

STEP_SECONDS = 1.0


class Work(BaseModel):
    key: str
    """The idempotency key: what the client calls this job."""
    seconds: float = 0.0
    fails: int = 0
    """So many attempts raise an error that may pass."""


class Done(BaseModel):
    epoch: int
    """The attempt that computed this."""
    pid: int


def _done(job: Job) -> Done:
    return Done(epoch=job.epoch, pid=os.getpid())


@task(name="mixed.plain", backoff=0.2, backoff_max=1)
def plain(job: Job, params: Work) -> Done:
    """Runs for its seconds, and fails first where it is told to."""
    with executing(params.key, str(job.id), job.epoch) as execution:
        execution.sleep(params.seconds)
        if job.attempt <= params.fails:
            raise Retryable("This may pass.")
        return _done(job)


@task(name="mixed.steps", interruptible=True)
def steps(job: Job, params: Work) -> Done:
    """Saves a checkpoint after each step and goes on from there, so that it can be handed over."""
    with executing(params.key, str(job.id), job.epoch) as execution:
        done = float(str(job.checkpointed or 0.0))
        while done < params.seconds:
            execution.sleep(min(STEP_SECONDS, params.seconds - done))
            done += STEP_SECONDS
            job.progress(min(1.0, done / params.seconds))
            job.checkpoint(done)
        return _done(job)


@task(name="mixed.stubborn")
def stubborn(job: Job, params: Work) -> Done:
    """Never asks whether it was cancelled."""
    with executing(params.key, str(job.id), job.epoch) as execution:
        execution.sleep(params.seconds)
        return _done(job)
