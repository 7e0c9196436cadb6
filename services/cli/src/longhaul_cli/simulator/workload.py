"""A workload as a file describes it: streams of jobs, each with its rate, its bursts and what its jobs take."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from heapq import merge
from math import log, sqrt
from pathlib import Path
from random import Random
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveInt, model_validator

from longhaul_cli.documents import read_mapping
from longhaul_cli.simulator.description import Described, Seconds, parse, seconds_of
from longhaul_cli.simulator.jobs import Job

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

DAY_SECONDS = 86400.0
_WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"(?:(mon|tue|wed|thu|fri|sat|sun)\w*\s+)?(\d{1,2}):(\d{2})", re.IGNORECASE)

PositiveSeconds = Annotated[Seconds, Field(gt=0)]


class Lognormal(Described):
    """Most jobs are short and a few are long."""

    mean: PositiveSeconds
    cv: float = Field(gt=0, le=100)
    """Standard deviation / mean."""


class RunTime(Described):
    """How long jobs run: exactly one of these."""

    fixed: PositiveSeconds | None = None
    exponential: PositiveSeconds | None = None
    """The mean."""
    lognormal: Lognormal | None = None
    empirical: tuple[PositiveSeconds, ...] | None = Field(default=None, min_length=1)
    """Each as likely as the others."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len(self.model_fields_set) != 1 or None in (getattr(self, name) for name in self.model_fields_set):
            raise ValueError("say one of fixed, exponential, lognormal and empirical")
        return self

    def draw(self, rng: Random) -> float:
        """Seconds of one job."""
        if self.exponential is not None:
            return rng.expovariate(1 / self.exponential)
        if self.lognormal is not None:
            variance = log(1 + self.lognormal.cv**2)
            return rng.lognormvariate(log(self.lognormal.mean) - variance / 2, sqrt(variance))
        if self.empirical is not None:
            return rng.choice(self.empirical)
        assert self.fixed is not None
        return self.fixed


class Moment(Described):
    """When something happens: once, each day or each week."""

    seconds: NonNegativeFloat
    """From the start, from midnight, or from the first midnight of a Monday."""
    every_seconds: float | None = None

    def occurrences(self, *, first_weekday: int, until_seconds: float) -> Iterator[float]:
        """Seconds from the start, which is a midnight."""
        if self.every_seconds is None:
            if self.seconds < until_seconds:
                yield self.seconds
            return
        is_weekly = self.every_seconds > DAY_SECONDS
        at = (self.seconds - first_weekday * DAY_SECONDS * is_weekly) % self.every_seconds
        while at < until_seconds:
            yield at
            at += self.every_seconds


def _moment(value: object) -> object:
    if isinstance(value, str) and (match := _CLOCK.fullmatch(value.strip())):
        weekday, hour, minute = match.groups()
        if int(hour) > 23 or int(minute) > 59:
            raise ValueError("write a time of day from 00:00 to 23:59")
        seconds = int(hour) * 3600.0 + int(minute) * 60.0
        if weekday is None:
            return Moment(seconds=seconds, every_seconds=DAY_SECONDS)
        days = _WEEKDAYS.index(weekday.lower())
        return Moment(seconds=seconds + days * DAY_SECONDS, every_seconds=7 * DAY_SECONDS)
    try:
        return Moment(seconds=seconds_of(value))
    except ValueError:
        raise ValueError('write "09:00" for each day, "mon 09:00" for each week, or 90m for once') from None


class Burst(Described):
    """Many jobs at a time."""

    at: Annotated[Moment, BeforeValidator(_moment)]
    count: PositiveInt
    over: Annotated[Seconds, Field(ge=0)] = 0.0
    """They come within so long, evenly spread by chance; all at once where 0."""


class Stream(Described):
    """Jobs of one kind."""

    queue: str = "default"
    task: str | None = None
    """The stream's name, where not said."""
    priority: int = Field(default=0, ge=-9, le=9)
    per_hour: NonNegativeFloat = 0.0
    """The rate at which they come, by chance (Poisson)."""
    by_hour: tuple[NonNegativeFloat, ...] = Field(default=(1.0,) * 24, min_length=24, max_length=24)
    """What the rate is multiplied by, from midnight on."""
    by_weekday: Mapping[Weekday, NonNegativeFloat] = {}
    """What it is multiplied by, too; 1 on days that are not here."""
    bursts: tuple[Burst, ...] = ()
    run: RunTime
    checkpoint: Annotated[Seconds, Field(ge=0)] | None = None
    """Work between two checkpoints; they can't hand over where it is not said."""
    hand_over_share: float = Field(default=1.0, ge=0, le=1)
    """Of those that checkpoint, the share that can hand over."""

    @model_validator(mode="after")
    def _has_jobs(self) -> Self:
        if not self.per_hour and not self.bursts:
            raise ValueError("say per_hour, bursts, or both: no jobs would come")
        return self

    def draw(self, name: str, rng: Random, *, first_weekday: int, until_seconds: float) -> Iterator[Job]:
        """The stream's jobs, as they come."""
        singles = self._by_rate(rng, first_weekday, until_seconds)
        for at in merge(singles, self._in_bursts(rng, first_weekday, until_seconds)):
            hands_over = self.checkpoint is not None and rng.random() < self.hand_over_share
            yield Job(
                due_seconds=at,
                run_seconds=self.run.draw(rng),
                queue=self.queue,
                task=self.task or name,
                priority=self.priority,
                checkpoint_seconds=self.checkpoint if hands_over else None,
            )

    def _by_rate(self, rng: Random, first_weekday: int, until_seconds: float) -> Iterator[float]:
        """A Poisson process whose rate changes by the hour, by thinning."""
        weekdays = [self.by_weekday.get(day, 1.0) for day in _WEEKDAYS]
        most = self.per_hour / 3600 * max(self.by_hour) * max(weekdays)
        at = 0.0
        while most:
            at += rng.expovariate(most)
            if at >= until_seconds:
                return
            day, in_day = divmod(at, DAY_SECONDS)
            factor = self.by_hour[int(in_day // 3600)] * weekdays[(int(day) + first_weekday) % 7]
            if rng.random() * most < self.per_hour / 3600 * factor:
                yield at

    def _in_bursts(self, rng: Random, first_weekday: int, until_seconds: float) -> list[float]:
        return sorted(
            at + rng.uniform(0, burst.over)
            for burst in self.bursts
            for at in burst.at.occurrences(first_weekday=first_weekday, until_seconds=until_seconds)
            for _ in range(burst.count)
        )


class Workload(Described):
    """All that comes."""

    duration: PositiveSeconds
    """For so long jobs come."""
    starts_on: Weekday = "mon"
    """It starts at midnight."""
    streams: Mapping[str, Stream] = Field(min_length=1)

    @property
    def queues(self) -> set[str]:
        return {stream.queue for stream in self.streams.values()}

    def draw(self, seed: int) -> Iterator[Job]:
        """The jobs, in the order in which they come. Each stream has its own dice: another beside it changes none."""
        drawn = (
            stream.draw(
                name,
                Random(f"{seed}/{name}"),
                first_weekday=_WEEKDAYS.index(self.starts_on),
                until_seconds=self.duration,
            )
            for name, stream in self.streams.items()
        )
        return merge(*drawn, key=lambda job: job.due_seconds)


def read_workload(path: Path) -> Workload:
    """A workload from a YAML file. Raises ConfigurationError."""
    return parse(Workload, read_mapping(path), source=str(path))
