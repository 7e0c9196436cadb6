"""Longhaul's honest tasks of the mixed run: short, and each awkward in its own way."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.faults.mixed.executions import BEAT_SECONDS, FOLDER_VARIABLE
from tests.faults.mixed.working import Done, Work, working

from longhaul import Job, task

MEETING_SECONDS = 60.0
"""How long those who come first wait for the others."""


@task(name="mixed.plain", backoff=0.2, backoff_max=1)
def plain(job: Job, params: Work) -> Done:
    """Runs for its seconds, and fails first if its params say so."""
    with working(job, params) as work:
        work.log()
        while work.step < params.steps:
            work.sleep(params.seconds / params.steps)
            work.advance()
            work.report()
            work.log()
        if job.attempt <= params.fails:
            raise ConnectionError(work.payload.raised())
        return Done(**work.result)


@task(name="mixed.steps", interruptible=True, backoff=0.2, backoff_max=1)
def steps(job: Job, params: Work) -> Done:
    """Saves a checkpoint after each step and goes on from there, so that it can be handed over."""
    with working(job, params) as work:
        work.log()
        while work.step < params.steps:
            work.sleep(params.seconds / params.steps)
            work.advance()
            work.log()
            work.report()
            work.save()
            if job.attempt <= params.fails:
                raise ConnectionError(work.payload.raised())
        return Done(**work.result)


@task(name="mixed.stubborn")
def stubborn(job: Job, params: Work) -> Done:
    """Never asks whether it was cancelled."""
    with working(job, params) as work:
        work.log()
        work.sleep(params.seconds)
        work.advance()
        return Done(**work.result)


@task(name="mixed.meeting")
def meeting(job: Job, params: Work) -> Done:
    """Holds its slot until `variant` jobs of its kind hold theirs: only so many slots that serve can do that."""
    with working(job, params) as work:
        folder = Path(os.environ[FOLDER_VARIABLE]).parent / params.kind
        folder.mkdir(exist_ok=True)
        (folder / str(job.id)).touch()
        until = time.monotonic() + MEETING_SECONDS
        while len(list(folder.iterdir())) < params.variant and time.monotonic() < until:
            work.sleep(BEAT_SECONDS)
            work.execution.write("beat")
        work.advance()
        return Done(**work.result)
