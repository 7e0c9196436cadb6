"""A duty that fails runs again, and ends nothing else, whatever it raises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psycopg
import pytest
from tests.waiting import eventually

from longhaul_controller.duty import Duty, repeat
from longhaul_controller.leader import Leader

pytestmark = pytest.mark.anyio


class AlwaysLeads:
    """A session of a ledger where nobody else wants to lead."""

    async def look(self) -> None:
        pass

    async def try_lead(self) -> bool:
        return True


@asynccontextmanager
async def connect() -> AsyncIterator[AlwaysLeads]:
    yield AlwaysLeads()


class Odd(BaseException):
    """Nothing that anybody catches by its name."""


class Failing(Duty):
    name = "failing"
    interval_seconds = 0.01

    def __init__(self, error: BaseException) -> None:
        self.runs = 0
        self._error = error

    async def run(self) -> None:
        self.runs += 1
        raise self._error


ERRORS = [
    ValueError("a bug"),
    psycopg.ProgrammingError("no such column"),
    TimeoutError(),
    asyncio.CancelledError(),
    SystemExit(3),
    KeyboardInterrupt(),
    Odd(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_whatever_a_duty_raises_it_runs_again(error: BaseException) -> None:
    leader, duty = Leader(connect, reconnect_seconds=0.1), Failing(error)
    tasks = [asyncio.create_task(leader.run()), asyncio.create_task(repeat(duty, leader))]

    async def has_run_again_or_ended() -> bool:
        return duty.runs >= 3 or any(task.done() for task in tasks)

    await eventually(has_run_again_or_ended, what="the duty runs")
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
