"""What hostile jobs do, by kind: each module of this package adds its own."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.mixed.working import Working

Act = Callable[[Working], object]
"""Does it. What it returns goes into the result, a pydantic model is the result, a coroutine is awaited."""
ACTS: dict[str, Act] = {}


def act(*kinds: str) -> Callable[[Act], Act]:
    """This function is what jobs of these kinds do."""

    def add(function: Act) -> Act:
        for kind in kinds:
            assert ACTS.setdefault(kind, function) is function, kind
        return function

    return add
