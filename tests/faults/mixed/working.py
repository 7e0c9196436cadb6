"""A task of the run at work: what it computes, what it reports of it, and the record of both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel
from tests.faults.mixed.executions import Running, executing
from tests.faults.mixed.payload import Payload, first_link, next_link

from longhaul import Job


class Work(BaseModel):
    """The params of every task of the run."""

    key: str
    """The idempotency key: what the client calls this job."""
    token: str
    """All that the job reports follows from this."""
    seconds: float = 0.0
    steps: int = 1
    fails: int = 0
    """So many attempts raise an error that may pass."""
    kind: str = ""
    """Of a hostile job: what it does."""
    variant: int = 0
    """Of a hostile job: a number that the kind makes something of."""


class Done(BaseModel):
    token: str
    job_id: str
    epoch: int
    """The attempt that computed this."""
    steps: int
    digest: str


class Working:
    """One attempt. It goes on from the checkpoint that it found, digest and all: a wrong one gives a wrong result."""

    def __init__(self, job: Job, params: Work, execution: Running) -> None:
        self.job = job
        self.params = params
        self.payload = Payload(params.token, str(job.id), job.epoch)
        self.execution = execution
        # One assignment replaces both: an exception that a signal raises may come between any two.
        self._reached = (0, first_link(params.token))
        if isinstance(job.checkpointed, dict):
            self._reached = (int(str(job.checkpointed["step"])), str(job.checkpointed["digest"]))

    @property
    def step(self) -> int:
        return self._reached[0]

    @property
    def digest(self) -> str:
        return self._reached[1]

    @property
    def variant(self) -> int:
        return self.params.variant

    def sleep(self, seconds: float) -> None:
        self.execution.sleep(seconds)

    def advance(self) -> None:
        """Compute the next step."""
        step, digest = self._reached
        self._reached = (step + 1, next_link(digest, step + 1))

    def log(self) -> None:
        """Write the next line of this attempt."""
        line = self.payload.line(self.execution.lines)
        self.job.log(line["message"], level=line["level"], **line["fields"])
        self.execution.lines += 1

    def report(self) -> None:
        """Report the step that was reached."""
        step, digest = self._reached
        progress = self.payload.progress(step, max(step, self.params.steps), digest)
        self.job.progress(progress["fraction"], progress["message"], **progress["data"])
        self.execution.progress_step = step

    def save(self) -> None:
        """Save a checkpoint of the step that was reached."""
        step, digest = self._reached
        self.execution.write("saves", step=step)
        self.job.checkpoint(self.payload.checkpoint(step, digest))

    @property
    def result(self) -> dict[str, Any]:
        return self.payload.result(*self._reached)


@contextmanager
def working(job: Job, params: Work) -> Iterator[Working]:
    """Record this attempt while it works."""
    with executing(params.key, str(job.id), job.epoch, found=job.checkpointed) as execution:
        yield Working(job, params, execution)
