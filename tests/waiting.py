"""Wait for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")
POLL_SECONDS = 0.02


def wait_for(
    predicate: Callable[[], T | None], *, timeout_seconds: float = 10.0, poll_seconds: float = POLL_SECONDS, what: str
) -> T:
    """Return the first true answer of `predicate`. Raises AssertionError with the sentence `what` where none comes."""
    __tracebackhide__ = True
    deadline = time.monotonic() + timeout_seconds
    while not (answer := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(_failure(what, timeout_seconds, answer))
        time.sleep(poll_seconds)
    return answer


async def eventually(predicate: Callable[[], Awaitable[T | None]], *, timeout_seconds: float = 10.0, what: str) -> T:
    """The same beside other asyncio tasks: the first true answer of a coroutine function."""
    __tracebackhide__ = True
    deadline = time.monotonic() + timeout_seconds
    while True:
        answer = await predicate()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(_failure(what, timeout_seconds, answer))
        await anyio.sleep(POLL_SECONDS)


def _failure(what: str, timeout_seconds: float, answer: object) -> str:
    return f"{what} (waited {timeout_seconds:g} s, the last answer was {answer!r})"
