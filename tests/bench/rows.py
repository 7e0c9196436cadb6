"""What a row of the table is, and how it is measured: both sides in turn, so that a noisy machine disturbs them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal

from tests.bench.stack import Stack

Figure = Callable[[], float]
"""Measures one run of one side: a number in the row's unit."""


@dataclass(frozen=True)
class Sides:
    """One figure for each side. A row without a reference is judged by itself."""

    longhaul: Figure
    reference: Figure | None = None
    warm_up_runs: int = 1


@dataclass(frozen=True)
class Goal:
    """What a row should reach: a bound of the ratio Longhaul / reference, or of Longhaul's own figure."""

    bound: float
    sense: Literal["≥", "≤"]
    of: Literal["ratio", "figure"] = "ratio"

    def is_met(self, ratio: float, figure: float) -> bool:
        value = figure if self.of == "figure" else ratio
        return value >= self.bound if self.sense == "≥" else value <= self.bound

    def text(self, unit: str) -> str:
        return f"{self.sense} {self.bound:g} {unit}" if self.of == "figure" else f"{self.sense} {self.bound:g}x"


def at_least(bound: float) -> Goal:
    return Goal(bound, "≥")


def at_most(bound: float) -> Goal:
    return Goal(bound, "≤")


def figure_at_most(bound: float) -> Goal:
    return Goal(bound, "≤", of="figure")


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    title: str
    goal: Goal
    unit: str
    sides: Callable[[Stack], AbstractContextManager[Sides]]
    cause: str = ""
    """Why the goal is missed, where that is known: shown only then."""


def row(
    name: str, title: str, goal: Goal, unit: str, *, cause: str = ""
) -> Callable[[Callable[[Stack], Iterator[Sides]]], Row]:
    """Make a generator that starts what it needs and yields its `Sides` a row."""

    def wrap(sides: Callable[[Stack], Iterator[Sides]]) -> Row:
        return Row(name, title, goal, unit, contextmanager(sides), cause)

    return wrap


@dataclass(frozen=True)
class Spread:
    """The runs of one side."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Outcome:
    """What a row came to.

    `ratio` is the median of the runs' ratios, since each run is compared with its neighbour in time; Longhaul's figure
    itself in a row without a reference.
    """

    row: Row
    ok: bool
    ratio: Spread
    longhaul: Spread
    reference: Spread | None
    cores: dict[str, float]
    """Cores that each process used in Longhaul's runs, by its name: what the figure was bound by."""


@dataclass(frozen=True)
class Failure:
    """A row that could not be measured, and why."""

    row: Row
    reason: str


class CpuWatch:
    """Adds up what the processes compute during some runs."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._seconds: dict[str, float] = {}
        self._elapsed = 0.0

    def during(self, figure: Figure) -> float:
        before, began = self._stack.cpu_seconds(), time.monotonic()
        value = figure()
        self._elapsed += time.monotonic() - began
        for name, seconds in self._stack.cpu_seconds().items():
            self._seconds[name] = self._seconds.get(name, 0.0) + max(0.0, seconds - before.get(name, 0.0))
        return value

    def cores(self) -> dict[str, float]:
        busiest_first = sorted(self._seconds.items(), key=lambda item: -item[1])
        return {name: round(seconds / self._elapsed, 2) for name, seconds in busiest_first}


def measure(row: Row, stack: Stack, *, runs: int) -> Outcome:
    """Measure a row: warm up, then `runs` times both sides in turn. Raises what the row's own work raises."""
    stack.reset()
    with row.sides(stack) as sides:
        watch = CpuWatch(stack)
        longhaul: list[float] = []
        reference: list[float] = []
        for run in range(-sides.warm_up_runs, runs):
            ours = watch.during(sides.longhaul) if run >= 0 else sides.longhaul()
            theirs = sides.reference() if sides.reference else None
            if run >= 0:
                longhaul.append(ours)
                reference += [] if theirs is None else [theirs]
    figure = Spread.of(longhaul)
    ratio = (
        Spread.of([ours / theirs for ours, theirs in zip(longhaul, reference, strict=True)]) if reference else figure
    )
    ok = row.goal.is_met(ratio.median, figure.median)
    return Outcome(row, ok, ratio, figure, Spread.of(reference) if reference else None, watch.cores())
