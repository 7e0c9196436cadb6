"""Containment: run something that may raise anything, or never end, so that its caller meets only an Exception."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Containment(Generic[T]):
    """Calls `run`, one call at a time, each in a task of its own.

    A call returns what `run` returns, or raises an Exception within `deadline_seconds`. Only a cancellation of the
    caller passes through. A run that does not end when it is cancelled keeps what it holds, so no other is started
    beside it: until it has ended, each call cancels it again and raises TimeoutError.
    """

    def __init__(self, run: Callable[..., Awaitable[T]], *, deadline_seconds: float | None = None) -> None:
        self._run = run
        self._deadline_seconds = deadline_seconds
        self._task: asyncio.Task[T] | None = None

    async def __call__(self, *arguments: Any) -> T:
        if self._task is not None and not self._task.done():
            self._task.cancel()
            raise TimeoutError("The run before it has not ended yet.")
        self._task = task = asyncio.create_task(self._convert(*arguments))
        task.add_done_callback(_retrieve)
        try:
            done, _ = await asyncio.wait([task], timeout=self._deadline_seconds)
        except asyncio.CancelledError:
            await _cancel_until_done(task)
            raise
        if not done:
            task.cancel()
            raise TimeoutError(f"It was stopped after {self._deadline_seconds:g} seconds.")
        if task.cancelled():  # by what it called: nobody here did
            raise RuntimeError("It was cancelled from within.")
        return task.result()

    async def _convert(self, *arguments: Any) -> T:
        try:
            return await self._run(*arguments)
        except (Exception, asyncio.CancelledError):
            raise
        except BaseException as error:  # a SystemExit would end the event loop
            raise RuntimeError(f"It raised {type(error).__name__}.") from error


async def _cancel_until_done(task: asyncio.Task[Any]) -> None:
    """Cancel again whenever the caller is: `asyncio.wait_for` of Python 3.11, by which psycopg waits, can lose one."""
    while not task.done():
        task.cancel()
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            continue


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Otherwise asyncio logs the exception of a run that its caller gave up."""
    if not task.cancelled():
        task.exception()
