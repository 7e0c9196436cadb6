"""The jobs of this world: how long they take, and how their attempts go."""

from __future__ import annotations

from enum import StrEnum
from random import Random
from typing import NamedTuple

from longhaul.machine import Job, Terms
from longhaul.states import Ending


class Fortune(StrEnum):
    """How an attempt goes where nothing else happens to it."""

    SUCCEEDS = "succeeds"
    FAILS = "fails"
    """A transient error."""
    ERRS = "errs"
    """A permanent one."""
    CRASHES = "crashes"
    """It takes its process along."""
    HANGS = "hangs"
    """It goes on until it is killed."""

    @property
    def ending(self) -> Ending:
        match self:
            case Fortune.FAILS:
                return Ending.TRANSIENT
            case Fortune.ERRS:
                return Ending.PERMANENT
        return Ending.SUCCEEDED


class Work(NamedTuple):
    """What a job does."""

    steps: int
    step_seconds: float
    is_interruptible: bool
    """It saves a checkpoint after each step, and can hand over."""
    timeout_seconds: float
    bad: Fortune
    """How its first attempts go."""
    bad_attempts: int

    def fortune(self, job: Job) -> Fortune:
        """By what the job has spent so far, so that budgets are met: an attempt that the platform broke counts not."""
        spent = job.interruptions if self.bad is Fortune.CRASHES else job.retries
        return self.bad if spent < self.bad_attempts else Fortune.SUCCEEDS


def draw_work(random: Random) -> Work:
    """Most jobs are short and well; some go wrong once, some always."""
    is_bad = random.random() < 0.35
    return Work(
        steps=random.randint(1, 6),
        step_seconds=random.choice((0.05, 0.3, 1.0, 2.5)),
        is_interruptible=random.random() < 0.5,
        timeout_seconds=random.choice((6.0, 20.0)),
        bad=random.choice(list(Fortune)) if is_bad else Fortune.SUCCEEDS,
        bad_attempts=random.choice((1, 1, 99)) if is_bad else 0,
    )


def draw_terms(random: Random) -> Terms:
    return Terms(
        task="task",
        queue="work",
        priority=random.choice((0, 0, 0, 1, -1)),
        retries_max=random.randint(0, 2),
        max_interruptions=random.randint(1, 4),
        backoff_seconds=0.5,
        backoff_max_seconds=4.0,
    )
