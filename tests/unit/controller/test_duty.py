"""A duty that fails runs again, and ends nothing else, whatever it raises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import psycopg
import pytest
from tests.waiting import eventually

from longhaul_controller.duty import Duty, repeat
from longhaul_controller.leader import Leader

pytestmark = pytest.mark.anyio


@dataclass
class OneReplica:
    """The ledger's session of a replica that may lead, or never does since another one leads."""

    can_lead: bool

    async def look(self) -> None:
        pass

    async def try_lead(self) -> bool:
        return self.can_lead


class Odd(BaseException):
    """Nothing that anybody catches by its name."""


class Failing(Duty):
    name = "failing"
    interval_seconds = 0.01

    def __init__(self, error: BaseException) -> None:
        self.runs = 0
        self.looks = 0
        self._error = error

    async def run(self) -> None:
        self.runs += 1
        raise self._error

    async def stand_by(self) -> None:
        self.looks += 1
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


@pytest.mark.parametrize("can_lead", [True, False], ids=["leader", "standby"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_whatever_a_duty_raises_it_runs_again(error: BaseException, can_lead: bool) -> None:
    @asynccontextmanager
    async def connect() -> AsyncIterator[OneReplica]:
        yield OneReplica(can_lead)

    leader, duty = Leader(connect, reconnect_seconds=0.1), Failing(error)
    tasks = [asyncio.create_task(leader.run()), asyncio.create_task(repeat(duty, leader))]

    async def has_run_again_or_ended() -> bool:
        return (duty.runs if can_lead else duty.looks) >= 3 or any(task.done() for task in tasks)

    await eventually(has_run_again_or_ended, what="the duty runs")
    assert not any(task.done() for task in tasks)
    assert can_lead or duty.runs == 0
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
