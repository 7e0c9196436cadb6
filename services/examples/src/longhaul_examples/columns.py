"""What a report says of one column, gathered value by value in bounded memory."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from random import Random
from statistics import median
from typing import Literal

from pydantic import BaseModel, Field

_MISSING = {"", "-", "na", "n/a", "nan", "null", "none"}
_SAMPLED_NUMBERS = 100_000
_COUNTED_VALUES = 10_000
_VALUE_CHARACTERS = 200


class TopValue(BaseModel):
    value: str
    count: int


class ColumnFigures(BaseModel):
    name: str
    kind: Literal["number", "text", "empty"] = Field(description="Number: all values that are not missing are numbers.")
    count: int = Field(description="Values that are not missing.")
    missing: int
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    median: float | None = None
    median_is_exact: bool | None = Field(None, description="False: of a random sample of 100,000 values.")
    stdev: float | None = Field(None, description="Of the sample, so with n - 1.")
    distinct: int | None = Field(None, description="Different values of a text column; null: more than 10,000.")
    top: list[TopValue] = Field([], description="The most frequent of a text column's first 10,000 different values.")


class Column:
    """The figures of one column so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sample = array("d")
        """All numbers, or a fair sample of them, where they are many."""
        self._count = self._missing = 0
        self._is_number = True
        self._minimum, self._maximum = math.inf, -math.inf
        self._mean = self._squares = 0.0
        self._values: Counter[str] = Counter()
        self._has_uncounted_values = False
        self._random = Random(name)

    @property
    def is_number(self) -> bool:
        return self._is_number and self._count > 0

    def add(self, text: str) -> None:
        value = text.strip()
        if value.lower() in _MISSING:
            self._missing += 1
            return
        self._count += 1
        if self._is_number:
            number = number_in(value)
            if number is None:
                self._is_number = False
                self.sample = array("d")
            else:
                self._add_number(number)
        kept = value[:_VALUE_CHARACTERS]
        if kept in self._values or len(self._values) < _COUNTED_VALUES:
            self._values[kept] += 1
        else:
            self._has_uncounted_values = True

    def top(self, count: int) -> list[TopValue]:
        ordered = sorted(self._values.items(), key=lambda item: (-item[1], item[0]))
        return [TopValue(value=value, count=times) for value, times in ordered[:count]]

    def figures(self, *, top: int) -> ColumnFigures:
        counted = {"name": self.name, "count": self._count, "missing": self._missing}
        if not self._count:
            return ColumnFigures(**counted, kind="empty")
        if not self._is_number:
            distinct = None if self._has_uncounted_values else len(self._values)
            return ColumnFigures(**counted, kind="text", distinct=distinct, top=self.top(top))
        return ColumnFigures(
            **counted,
            kind="number",
            minimum=self._minimum,
            maximum=self._maximum,
            mean=_finite(self._mean),
            median=_finite(median(self.sample)),
            median_is_exact=self._count <= _SAMPLED_NUMBERS,
            stdev=_finite(math.sqrt(self._squares / (self._count - 1))) if self._count > 1 else None,
        )

    def _add_number(self, number: float) -> None:
        self._minimum, self._maximum = min(self._minimum, number), max(self._maximum, number)
        # Welford's method: one pass, and exact where the values are large and their differences small.
        change = number - self._mean
        self._mean += change / self._count
        self._squares += change * (number - self._mean)
        if len(self.sample) < _SAMPLED_NUMBERS:
            self.sample.append(number)
        elif (place := self._random.randrange(self._count)) < _SAMPLED_NUMBERS:
            self.sample[place] = number


def number_in(text: str) -> float | None:
    """The finite number that this is, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in text else None


def is_missing(text: str) -> bool:
    return text.strip().lower() in _MISSING


def _finite(number: float) -> float | None:
    """JSON has no infinity: what is too large to be computed is not there."""
    return number if math.isfinite(number) else None
