"""`demo.sleep` does whatever a test wants to see survived; `demo.echo` is the fastest task there is."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from longhaul import Job, Permanent, Retryable, SoftTimeout, task
from longhaul.errors import JobStopped

_DAY_SECONDS = 24 * 3600.0
_NAP_SECONDS = 0.1


class SleepParams(BaseModel):
    model_config = ConfigDict(extra="forbid")

    seconds: float = Field(10, ge=0, le=7 * _DAY_SECONDS, description="How long all steps take together.")
    steps: int = Field(10, ge=1, le=100_000)
    checkpoint_every: int = Field(1, ge=0, description="Steps from one checkpoint to the next; 0: none, no hand-over.")
    payload: JsonValue = Field(None, description="Comes back in the result.")
    log_lines: int = Field(0, ge=0, le=100_000, description="Lines to log at the start.")
    allocate_mib: int = Field(0, ge=0, le=1_000_000, description="Memory to fill and to hold until the end.")
    hold_gil_seconds: float = Field(
        0,
        ge=0,
        le=_DAY_SECONDS,
        description="For about how long one call into C lets no other thread run, at the start.",
    )
    ignore_stop: bool = Field(False, description="Go on in spite of a cancel, a drain and a soft timeout.")
    fault_after_steps: int = Field(0, ge=0, description="Steps that an attempt does before its fault, if it has one.")
    fail_on_attempts: list[int] = Field([], description="The attempts that end with a transient error.")
    permanent: bool = Field(False, description="Every attempt ends with a permanent error.")
    exit_code: int | None = Field(None, ge=0, le=255, description="The process exits with it, without a word.")
    exit_on_attempts: list[int] = Field([1], description="The attempts that do so, where `exit_code` is set.")


class SleepResult(BaseModel):
    attempt: int
    steps_done: int = Field(description="In all, as far as checkpoints kept them.")
    steps_done_here: int = Field(description="By this attempt.")
    stops_ignored: int
    echo: JsonValue


class AsyncSleepParams(BaseModel):
    model_config = ConfigDict(extra="forbid")

    seconds: float = Field(10, ge=0, le=7 * _DAY_SECONDS)
    payload: JsonValue = None


class EchoParams(BaseModel):
    payload: JsonValue = None


class Echo(BaseModel):
    echo: JsonValue


@task(interruptible=True, timeout=_DAY_SECONDS, backoff=0.5)
def sleep(job: Job, params: SleepParams) -> SleepResult:
    """Sleep in steps, with progress and checkpoints, and do what the params ask for on the way: fail, hang, exit."""
    return _Sleeper(job, params).run()


@task(timeout=_DAY_SECONDS)
async def async_sleep(job: Job, params: AsyncSleepParams) -> Echo:
    """Sleep in an event loop, and return the payload."""
    started = time.monotonic()
    while (passed := time.monotonic() - started) < params.seconds:
        job.progress(passed / params.seconds, f"{passed:.0f} of {params.seconds:.0f} s")
        await asyncio.sleep(min(params.seconds - passed, _NAP_SECONDS))
    return Echo(echo=params.payload)


@task(timeout=60)
def echo(_job: Job, params: EchoParams) -> Echo:
    """Return the payload at once."""
    return Echo(echo=params.payload)


def hold_gil(seconds: float) -> None:
    """Let no other thread of this process run for about `seconds`: a single call into C, which asks nobody."""
    sample = 2_000_000
    fastest = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        sum(repeat(1, sample))
        fastest = min(fastest, time.perf_counter() - started)
    sum(repeat(1, round(seconds / fastest * sample)))


class _Sleeper:
    def __init__(self, job: Job, params: SleepParams) -> None:
        self.job = job
        self.params = params
        self.steps_done = self.steps_done_before = _steps_done(job.checkpointed)
        self.stops_ignored = 0
        self.ballast = b"\x01" * (params.allocate_mib * 2**20)

    def run(self) -> SleepResult:
        for number in range(1, self.params.log_lines + 1):
            self.job.log(f"Line {number} of {self.params.log_lines}.", number=number)
        if self.params.hold_gil_seconds:
            hold_gil(self.params.hold_gil_seconds)
        while True:
            if self.steps_done - self.steps_done_before == self.params.fault_after_steps:
                self._fault()
            if self.steps_done >= self.params.steps:
                break
            self._sleep_until(time.monotonic() + self.params.seconds / self.params.steps)
            self.steps_done += 1
            with self._stops():
                self._report()
            if self.params.checkpoint_every and self.steps_done % self.params.checkpoint_every == 0:
                with self._stops():
                    self._checkpoint()
        return SleepResult(
            attempt=self.job.attempt,
            steps_done=self.steps_done,
            steps_done_here=self.steps_done - self.steps_done_before,
            stops_ignored=self.stops_ignored,
            echo=self.params.payload,
        )

    def _sleep_until(self, end: float) -> None:
        while (left := end - time.monotonic()) > 0:
            with self._stops():
                time.sleep(min(left, _NAP_SECONDS))
                if not self.params.ignore_stop:
                    self._report()
                    if self.job.draining and self.params.checkpoint_every:
                        self._checkpoint()

    def _report(self) -> None:
        done, steps = self.steps_done, self.params.steps
        self.job.progress(done / steps, f"Step {done} of {steps}", step=done, steps=steps)

    def _checkpoint(self) -> None:
        self.job.checkpoint({"steps_done": self.steps_done})

    @contextmanager
    def _stops(self) -> Iterator[None]:
        """Where the platform may stop the task: it does, unless the params say to ignore that."""
        try:
            yield
        except (JobStopped, SoftTimeout):
            if not self.params.ignore_stop:
                raise
            self.stops_ignored += 1

    def _fault(self) -> None:
        attempt = self.job.attempt
        if self.params.exit_code is not None and attempt in self.params.exit_on_attempts:
            os._exit(self.params.exit_code)
        if self.params.permanent:
            raise Permanent("The params ask for a permanent error.")
        if attempt in self.params.fail_on_attempts:
            raise Retryable(f"The params ask for a transient error on attempt {attempt}.")


def _steps_done(checkpointed: JsonValue) -> int:
    match checkpointed:
        case {"steps_done": int(steps_done)}:
            return steps_done
        case _:
            return 0
