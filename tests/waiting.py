"""Wait for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import TypeVar

import anyio
import psutil

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


def wait_dead(processes: Collection[psutil.Process], *, timeout_seconds: float) -> None:
    """Until these processes are dead, or the time is over. `psutil.wait_procs` fails where a pid has become the number of a
    thread."""
    with suppress(AssertionError):
        wait_for(lambda: not any(map(_is_alive, processes)), timeout_seconds=timeout_seconds, what="they are dead")


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _failure(what: str, timeout_seconds: float, answer: object) -> str:
    return f"{what} (waited {timeout_seconds:g} s, the last answer was {answer!r})"
