"""Find what the database refuses among what is written together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from longhaul.ledger.connection import Refusal, refusal_of

Item = TypeVar("Item")
Answer = TypeVar("Answer")


async def write_each(
    write: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]], items: Sequence[Item]
) -> AsyncIterator[tuple[Item, Answer | Exception]]:
    """Write all at once; if the database refuses a value, halve until that is alone. Its answer is the error. Any other
    error is raised, after the answers to what was written."""
    try:
        answers: Sequence[Answer | Exception] = await write(items)
    except Exception as error:
        if refusal_of(error) is not Refusal.VALUES:
            raise
        if len(items) > 1:
            middle = len(items) // 2
            for half in (items[:middle], items[middle:]):
                async for answered in write_each(write, half):
                    yield answered
            return
        answers = [error]
    for answered in zip(items, answers, strict=True):
        yield answered
