"""Whatever a contained call raises or does not end, its caller meets an Exception; and a leader's any failure is an outage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import psycopg
import pytest
from structlog.testing import capture_logs
from tests.waiting import eventually

from longhaul.errors import LedgerUnavailable, SchemaMismatch
from longhaul_controller.containment import Containment
from longhaul_controller.failures import describe
from longhaul_controller.leader import Leader

pytestmark = [pytest.mark.anyio, pytest.mark.fault("F50")]

ERRORS: list[Callable[[], BaseException]] = [
    lambda: RuntimeError("an error"),
    lambda: psycopg.errors.ReadOnlySqlTransaction("cannot execute INSERT in a read-only transaction"),
    lambda: psycopg.errors.InsufficientPrivilege("permission denied for table leader"),
    lambda: psycopg.errors.RaiseException("a trigger"),
    LedgerUnavailable,
    lambda: SchemaMismatch("migrate"),
    lambda: BaseExceptionGroup("a group", [SystemExit(1)]),
    lambda: ExceptionGroup("a group", [ValueError("one of them")]),
    lambda: SystemExit(1),
    KeyboardInterrupt,
    GeneratorExit,
    StopAsyncIteration,
    asyncio.CancelledError,
    TimeoutError,
    MemoryError,
]


@pytest.mark.parametrize("make", ERRORS, ids=lambda make: type(make()).__name__)
async def test_whatever_a_call_raises_becomes_an_exception(make: Callable[[], BaseException]) -> None:
    async def fail() -> None:
        raise make()

    contained = Containment(fail)
    for _ in range(2):
        with pytest.raises(Exception) as raised:  # noqa: PT011 - any, and that is the point
            await contained()
        assert describe(raised.value)


async def test_a_call_returns_what_it_is_given() -> None:
    async def double(number: int) -> int:
        return 2 * number

    assert await Containment(double, deadline_seconds=5)(4) == 8


async def test_a_call_that_hangs_is_stopped_and_can_be_made_again() -> None:
    cancelled = 0

    async def hang() -> None:
        nonlocal cancelled
        try:
            await asyncio.Event().wait()
        finally:
            cancelled += 1

    contained = Containment(hang, deadline_seconds=0.01)
    for _ in range(3):
        with pytest.raises(TimeoutError, match=r"stopped after 0\.01 seconds"):
            await contained()
        await asyncio.sleep(0)
    assert cancelled == 3


async def test_no_call_begins_beside_one_that_does_not_end() -> None:
    """Each would hold a connection, until the other duties found none."""
    running = most = 0
    release = asyncio.Event()

    async def ignore() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()
        running -= 1

    contained = Containment(ignore, deadline_seconds=0.01)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await contained()
    release.set()
    await asyncio.sleep(0.01)
    await contained()
    assert (running, most) == (0, 1)


async def test_a_cancelled_caller_takes_its_call_along() -> None:
    ended = False

    async def lose_one() -> None:
        """As `asyncio.wait_for` of Python 3.11 does."""
        nonlocal ended
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        try:
            await asyncio.Event().wait()
        finally:
            ended = True

    task = asyncio.create_task(Containment(lose_one)())
    await asyncio.sleep(0)
    for _ in range(2):
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended


class Session:
    """A session of a ledger that goes wrong as the test says, once at each place."""

    def __init__(self, errors: dict[str, list[BaseException]]) -> None:
        self._errors = errors

    def fail(self, place: str) -> None:
        if self._errors[place]:
            raise self._errors[place].pop()

    async def look(self) -> None:
        self.fail("look")

    async def try_lead(self) -> bool:
        self.fail("try_lead")
        return True


async def test_a_leader_outlives_every_failure_and_leads_when_it_is_over() -> None:
    errors = {place: [make() for make in ERRORS] for place in ("connect", "look", "try_lead", "disconnect")}

    @asynccontextmanager
    async def connect() -> AsyncIterator[Session]:
        session = Session(errors)
        session.fail("connect")
        yield session
        session.fail("disconnect")

    with capture_logs() as logs:
        leader = Leader(connect, reconnect_seconds=0.002)
        task = asyncio.create_task(leader.run())

        async def leads() -> bool:
            assert not task.done()
            return leader.is_leader

        await eventually(leads, what="it leads after all")
        assert [len(errors[place]) for place in ("connect", "look", "try_lead")] == [0, 0, 0]
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert sum(log["event"] == "ledger_away" for log in logs) >= len(ERRORS)
