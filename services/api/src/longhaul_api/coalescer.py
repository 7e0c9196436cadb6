"""Coalescing: what many requests ask for at the same moment becomes one question to the ledger.

While one question is on its way the next ones gather; the longer an answer takes, the more share the next. So a lone
request waits for nobody, and fifty at once cost little more than one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from longhaul.errors import LedgerUnavailable, LonghaulError

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_TOO_LATE_SECONDS = 0.2
"""What has less time left than this is refused unasked: it would take the others of its batch along."""


class _Waiting(NamedTuple, Generic[Item, Answer]):
    item: Item
    future: asyncio.Future[Answer]
    until: float


class Coalescer(Generic[Item, Answer]):
    """Asks `run(items, timeout_seconds)` for many items at once; it answers each with a value or an exception.

    `lanes` is how many runs may be under way at once; another than the first starts only when `batch_size` items wait.
    """

    def __init__(
        self,
        run: Callable[[list[Item], float], Awaitable[Sequence[Answer | Exception]]],
        *,
        batch_size: int,
        deadline_seconds: float,
        lanes: int = 2,
    ) -> None:
        self._run = run
        self._batch_size = batch_size
        self._deadline_seconds = deadline_seconds
        self._lanes = lanes
        self._lanes_running = 0
        self._waiting: deque[_Waiting[Item, Answer]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, item: Item) -> asyncio.Future[Answer]:
        """The answer for one item, within the deadline. Raises LedgerUnavailable, or what `run` has for the item."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append(_Waiting(item, future, loop.time() + self._deadline_seconds))
        if not self._lanes_running or (self._lanes_running < self._lanes and len(self._waiting) >= self._batch_size):
            # Counted here and in the lane itself: its task is done only a moment after it took its last look.
            self._lanes_running += 1
            task = loop.create_task(self._lane())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return future

    async def _lane(self) -> None:
        while batch := self._take():
            left = batch[0].until - asyncio.get_running_loop().time()
            try:
                answers = await self._run([one.item for one in batch], left)
            except Exception as error:  # noqa: BLE001 - whatever it was, it belongs to those who wait
                answers = [error] * len(batch)
            for one, answer in zip(batch, answers, strict=True):
                if one.future.done():
                    continue
                if isinstance(answer, Exception):
                    one.future.set_exception(_own(answer))
                else:
                    one.future.set_result(answer)
        self._lanes_running -= 1

    def _take(self) -> list[_Waiting[Item, Answer]]:
        """The next batch, oldest first."""
        batch: list[_Waiting[Item, Answer]] = []
        last_call = asyncio.get_running_loop().time() + _TOO_LATE_SECONDS
        while self._waiting and len(batch) < self._batch_size:
            one = self._waiting.popleft()
            if one.future.done():
                continue
            if one.until < last_call:
                one.future.set_exception(LedgerUnavailable())
            else:
                batch.append(one)
        return batch


def _own(error: Exception) -> Exception:
    """An exception that many wait for, for one of them: each raise would lengthen the traceback of a shared one."""
    return type(error)(error.message, **error.details) if isinstance(error, LonghaulError) else error
