"""What many ask at the same moment is one question; nobody waits for a question that nobody asks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from longhaul.errors import LedgerUnavailable, UnknownJob
from longhaul_api.coalescer import Coalescer

pytestmark = pytest.mark.anyio


class Ledger:
    """Answers a number with its double, one question at a time; `gate` holds its answers back."""

    def __init__(self) -> None:
        self.questions: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, items: list[int], _timeout_seconds: float) -> Sequence[int | Exception]:
        self.questions.append(items)
        await self.gate.wait()
        return [UnknownJob() if item < 0 else item * 2 for item in items]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def coalescer(ledger: Ledger, *, deadline_seconds: float = 5, lanes: int = 2) -> Coalescer[int, int]:
    return Coalescer(ledger.run, batch_size=10, deadline_seconds=deadline_seconds, lanes=lanes)


async def test_one_question_right_after_another_is_asked_too(ledger: Ledger) -> None:
    asking = coalescer(ledger)
    async with asyncio.timeout(5):
        assert await asking.ask(1) == 2
        assert await asking.ask(2) == 4


async def test_what_gathers_while_a_question_is_under_way_is_one_question(ledger: Ledger) -> None:
    asking = coalescer(ledger)
    ledger.gate.clear()
    first = asking.ask(0)
    await asyncio.sleep(0)
    others = [asking.ask(number) for number in range(1, 6)]
    ledger.gate.set()
    assert await asyncio.gather(first, *others) == [0, 2, 4, 6, 8, 10]
    assert ledger.questions == [[0], [1, 2, 3, 4, 5]]


async def test_a_full_batch_takes_a_second_lane_and_never_a_third(ledger: Ledger) -> None:
    asking = coalescer(ledger)
    ledger.gate.clear()
    first = asking.ask(0)
    await asyncio.sleep(0)
    others = [asking.ask(number) for number in range(1, 32)]
    await asyncio.sleep(0)
    assert [len(question) for question in ledger.questions] == [1, 10]
    ledger.gate.set()
    await asyncio.gather(first, *others)
    assert [len(question) for question in ledger.questions] == [1, 10, 10, 10, 1]


async def test_each_gets_an_exception_of_its_own(ledger: Ledger) -> None:
    asking = coalescer(ledger)
    right, *wrong = await asyncio.gather(asking.ask(1), asking.ask(-1), asking.ask(-2), return_exceptions=True)
    assert right == 2
    assert [type(error) for error in wrong] == [UnknownJob, UnknownJob]
    assert wrong[0] is not wrong[1]


async def test_what_is_too_late_is_refused_unasked(ledger: Ledger) -> None:
    asking = coalescer(ledger, deadline_seconds=0.1)
    with pytest.raises(LedgerUnavailable):
        await asking.ask(1)
    assert ledger.questions == []


async def test_nobody_is_asked_for_those_who_left(ledger: Ledger) -> None:
    asking = coalescer(ledger, lanes=1)
    ledger.gate.clear()
    first = asking.ask(0)
    await asyncio.sleep(0)
    gone, stays = asking.ask(1), asking.ask(2)
    gone.cancel()
    ledger.gate.set()
    assert [await first, await stays] == [0, 4]
    assert ledger.questions == [[0], [2]]
