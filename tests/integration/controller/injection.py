"""`longhaul-controller`, one of whose duties fails as a file says: `python -m tests.integration.controller.injection FILE`.

The file names the duty and the faults; each of its runs has the next one. All else is the controller as it ships.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import orjson
import psycopg

from longhaul.errors import LedgerUnavailable
from longhaul_controller import controller
from longhaul_controller.duty import Duty

DEADLINE_SECONDS = 3.0
"""Of each duty, so that a test need not wait for half a minute."""
Fault = Callable[[Duty], Awaitable[None]]


class Mute(Exception):
    """An error that can't even say what it is."""

    def __str__(self) -> NoReturn:
        raise ValueError("no text")

    __repr__ = __str__


def raises(make: Callable[[], BaseException]) -> Fault:
    async def fault(_: Duty) -> None:
        raise make()

    return fault


def caused_by_itself() -> BaseException:
    error = RuntimeError("caused by itself")
    error.__cause__ = error
    return error


async def recurse(duty: Duty) -> None:
    await recurse(duty)


async def hang(_: Duty) -> None:
    await asyncio.Event().wait()


async def ignore_cancellations(_: Duty) -> None:
    for _number in range(3):
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


async def leave_a_broken_transaction(duty: Any) -> None:
    async with duty._acquire() as ledger:
        connection = getattr(ledger, "connection", ledger)
        await connection.execute("BEGIN")
        with suppress(psycopg.Error):
            await connection.execute("SELECT 1/0")
        await connection.execute("SELECT 1")


async def end_its_session(duty: Any) -> None:
    async with duty._acquire() as ledger:
        await getattr(ledger, "connection", ledger).execute("SELECT pg_terminate_backend(pg_backend_pid())")


FAULTS: dict[str, Fault] = {
    "an error": raises(lambda: RuntimeError("injected")),
    "another error": raises(lambda: LedgerUnavailable("injected too")),
    "an error without text": raises(Mute),
    "an error caused by itself": raises(caused_by_itself),
    "a group of errors": raises(lambda: BaseExceptionGroup("a group", [SystemExit(1), KeyboardInterrupt()])),
    "an exit": raises(lambda: SystemExit(3)),
    "an interrupt": raises(KeyboardInterrupt),
    "a cancellation from within": raises(asyncio.CancelledError),
    "a recursion": recurse,
    "a broken transaction": leave_a_broken_transaction,
    "an ended session": end_its_session,
    "a hang": hang,
    "a hang that ignores cancellations": ignore_cancellations,
}


def inject(duty: Duty, file: Path) -> None:
    """Let a duty fail while the file says so."""
    run, numbers = duty.run, count()

    def read_fault() -> Fault | None:
        plan = orjson.loads(file.read_bytes())
        return FAULTS[plan["faults"][next(numbers) % len(plan["faults"])]] if plan["duty"] == duty.name else None

    async def run_or_fail() -> None:
        fault = read_fault()
        await (run() if fault is None else fault(duty))

    async def close() -> None:
        raise RuntimeError("injected into close")

    duty.run, duty.close = run_or_fail, close  # type: ignore[method-assign]  # as the test says
    duty.deadline_seconds = DEADLINE_SECONDS


def main() -> None:
    create_duties = controller.create_duties

    def create(*arguments: Any, **named: Any) -> list[Duty]:
        duties = create_duties(*arguments, **named)
        for duty in duties:
            inject(duty, Path(sys.argv[1]))
        return duties

    controller.create_duties = create
    controller.start()


if __name__ == "__main__":
    main()
