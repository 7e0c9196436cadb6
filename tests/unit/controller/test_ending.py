"""A process ends, whatever its tasks make of a cancellation."""

from __future__ import annotations

import asyncio

import pytest

from longhaul.serving import end

pytestmark = pytest.mark.anyio


async def test_a_task_that_lost_a_cancellation_is_cancelled_again() -> None:
    """As `asyncio.wait_for` of Python 3.11 loses one that comes together with what it waited for."""
    lost = 0

    async def deaf() -> None:
        nonlocal lost
        while lost < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
        await asyncio.Event().wait()

    async def wrong() -> None:
        raise ValueError("it ended before, and wrong")

    tasks = [asyncio.create_task(deaf()), asyncio.create_task(wrong())]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end(tasks)
    assert (lost, tasks[0].cancelled(), tasks[1].done()) == (2, True, True)
