"""Longhaul's tasks for the bench: the same as the blueprint's in `blueprint/tasks.py`."""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import BaseModel

from longhaul import Job, task


class Nothing(BaseModel):
    pass


class Text(BaseModel):
    text: str
    pages: int


class Pipe(BaseModel):
    fifo: str


@task(name="echo")
def echo(job: Job, params: Text) -> Text:
    return params


@task(name="events")
def events(job: Job, params: Pipe) -> Nothing:
    """One progress event for each line that comes out of the FIFO; `sent` is the clock at that moment."""
    with Path(params.fifo).open(encoding="ascii") as lines:
        for line in iter(lines.readline, "end\n"):
            job.progress(0.5, line.strip(), sent=time.time())
    return Nothing()


@task(name="noop")
def noop(job: Job, params: Nothing) -> Nothing:
    return params


@task(name="stamp")
def stamp(job: Job, params: Pipe) -> Nothing:
    """Write the clock into the FIFO."""
    now = time.time()
    with Path(params.fifo).open("w", encoding="ascii") as out:
        out.write(f"{now}\n")
    return Nothing()
