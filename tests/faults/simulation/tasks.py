"""The jobs of this world: what each says and returns, and how its attempts go.

All that an attempt says follows from its job's params, its id and its epoch, so that whoever sees it booked can tell
whether that attempt computed it (I7).
"""

from __future__ import annotations

from enum import StrEnum
from random import Random
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from tests import reference_model

from longhaul.job import Job
from longhaul.task import Task, TaskSpec

QUEUE = "work"
TASK_NAME = "task"
POISON = "\N{SKULL AND CROSSBONES}"
"""A character that this world's ledger can't store: it stands for whatever a real one refuses."""


class Fortune(StrEnum):
    """How an attempt goes if nothing else happens to it."""

    SUCCEEDS = "succeeds"
    FAILS = "fails"
    """A transient error."""
    ERRS = "errs"
    """A permanent one."""
    EXITS = "exits"
    """It takes its process along."""
    HANGS = "hangs"
    """It goes on until it is killed, whoever asks it to stop."""
    ENDS_AT_ITS_LIMIT = "ends_at_its_limit"
    """It returns at the very moment of its hard limit."""
    HAS_NO_NUMBER = "has_no_number"
    """Its result is NaN."""
    IS_TOO_LARGE = "is_too_large"
    POISONS_ITS_RESULT = "poisons_its_result"
    POISONS_ITS_LOG = "poisons_its_log"
    POISONS_ITS_PROGRESS = "poisons_its_progress"
    POISONS_ITS_CHECKPOINT = "poisons_its_checkpoint"
    POISONS_ITS_ERROR = "poisons_its_error"
    # From here on it breaks the protocol, and its process ends with it.
    SENDS_GARBAGE = "sends_garbage"
    SENDS_HALF_A_FRAME = "sends_half_a_frame"
    CLAIMS_WHILE_IT_RUNS = "claims_while_it_runs"
    # From here on it does odd things that the platform stands, and succeeds.
    SPEAKS_FOR_OTHERS = "speaks_for_others"
    """Frames of other attempts."""
    FORKS = "forks"
    """Another process speaks over its connection."""
    IS_INTERRUPTED = "is_interrupted"
    """Its own alarm goes off while it waits for the answer to a checkpoint."""
    SPEAKS_TOO_LATE = "speaks_too_late"
    """A thread of it goes on after its end."""
    FLOODS = "floods"
    """More log lines than the ledger takes at once."""


BREAKS_THE_PROTOCOL = (Fortune.SENDS_GARBAGE, Fortune.CLAIMS_WHILE_IT_RUNS)
UNSTORABLE = (
    Fortune.POISONS_ITS_RESULT,
    Fortune.POISONS_ITS_LOG,
    Fortune.POISONS_ITS_PROGRESS,
    Fortune.POISONS_ITS_CHECKPOINT,
    Fortune.POISONS_ITS_ERROR,
)


class Params(BaseModel):
    """What a job does."""

    token: int
    steps: int
    step_seconds: float
    is_interruptible: bool
    """It saves a checkpoint after each step, and can hand over."""
    is_async: bool
    """Its soft limit comes as for an async task."""
    timeout_seconds: float
    soft_timeout_seconds: float | None
    obeys: bool
    """It ends when it is asked to."""
    bad: Fortune
    """How its first attempts go."""
    bad_attempts: int
    lines: int
    """Log lines a step."""
    padding: int
    """Bytes that its result is longer."""

    def fortune(self, epoch: int) -> Fortune:
        return self.bad if epoch <= self.bad_attempts else Fortune.SUCCEEDS


class Result(BaseModel):
    """What a job returns."""

    token: int
    job: UUID
    epoch: int
    number: float
    text: str


def _never_called(_job: Job, _params: Params) -> Result:
    raise AssertionError("the simulated child runs the job")


TASK: Task[Any, Any] = Task(
    spec=TaskSpec(name=TASK_NAME, queue=QUEUE, retries=2),
    function=_never_called,
    params_model=Params,
    result_model=Result,
)


def line(params: Params, epoch: int, number: int) -> str:
    """A log line."""
    return f"{params.token} {epoch} line {number}"


def state(params: Params, epoch: int, step: int) -> dict[str, Any]:
    """A checkpoint."""
    return {"token": params.token, "epoch": epoch, "step": step}


def message(params: Params, epoch: int, step: int) -> str:
    """Of progress."""
    return f"{params.token} {epoch} step {step}"


def result(params: Params, job: UUID, epoch: int) -> Result:
    """What an attempt returns."""
    return Result(token=params.token, job=job, epoch=epoch, number=float(params.token), text="x" * params.padding)


def draw_params(random: Random, token: int) -> Params:
    """Most jobs are short and well; some go wrong once, some always."""
    is_bad = random.random() < 0.5
    timeout = random.choice((6.0, 20.0))
    return Params(
        token=token,
        steps=random.randint(1, 6),
        step_seconds=random.choice((0.05, 0.3, 1.0, 2.5)),
        is_interruptible=random.random() < 0.5,
        is_async=random.random() < 0.5,
        timeout_seconds=timeout,
        soft_timeout_seconds=timeout * random.choice((0.3, 0.9)) if random.random() < 0.3 else None,
        obeys=random.random() < 0.8,
        bad=random.choice(list(Fortune)[1:]) if is_bad else Fortune.SUCCEEDS,
        bad_attempts=random.choice((1, 1, 2, 99)) if is_bad else 0,
        lines=random.choice((0, 1, 3)),
        padding=random.choice((0, 0, 400)),
    )


def draw_terms(random: Random) -> reference_model.Terms:
    return reference_model.Terms(
        task=TASK_NAME,
        queue=QUEUE,
        priority=random.choice((0, 0, 0, 1, -1)),
        retries_max=random.randint(0, 2),
        max_interruptions=random.randint(1, 4),
        backoff_seconds=0.5,
        backoff_max_seconds=4.0,
    )
