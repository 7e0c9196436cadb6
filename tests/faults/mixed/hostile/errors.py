"""Whatever may leave a task: errors that can't be written down, and what is no Exception at all."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any, NoReturn

from tests.faults.mixed.hostile.acts import act
from tests.faults.mixed.working import Working

from longhaul import Permanent, Retryable
from longhaul.errors import Cancelled, HandOver

SURROGATE = os.fsdecode(b"caf\xe9.csv")
"""A file name in Latin-1, as `os.listdir` gives it."""
HUGE = 3_000_000


class StrRaises(Exception):
    def __str__(self) -> str:
        raise KeyError(self.args)

    __repr__ = __str__


class StrExits(Exception):
    def __str__(self) -> str:
        raise SystemExit(7)


class StrIsNoText(Exception):
    def __str__(self) -> Any:
        return 42  # noqa: PLE0307 - that is the point


class AttributesRaise(ConnectionError):
    @property
    def code(self) -> str:
        raise LookupError("code")

    @property
    def delay_seconds(self) -> float:
        raise LookupError("delay_seconds")

    @property
    def message(self) -> str:
        raise LookupError("message")


class OwnBase(BaseException):
    """No Exception."""


@act("error.plain")
def plain(work: Working) -> NoReturn:
    work.log()
    raise ValueError(work.payload.raised())


@act("error.transient")
def transient(work: Working) -> NoReturn:
    work.log()
    raise ConnectionError(work.payload.raised())


@act("error.surrogate")
def surrogate(work: Working) -> NoReturn:
    work.log()
    raise ValueError(f"{work.payload.raised()} Can't parse {SURROGATE}.")


@act("error.nul")
def nul(work: Working) -> NoReturn:
    work.log()
    raise ValueError(f"{work.payload.raised()} \0 \ud800")


@act("error.huge")
def huge(work: Working) -> NoReturn:
    work.log()
    raise RuntimeError(work.payload.raised() + "e" * HUGE)


@act("error.str_raises")
def str_raises(work: Working) -> NoReturn:
    work.log()
    raise StrRaises(work.variant)


@act("error.str_exits")
def str_exits(work: Working) -> NoReturn:
    work.log()
    raise StrExits


@act("error.str_is_no_text")
def str_is_no_text(work: Working) -> NoReturn:
    work.log()
    raise StrIsNoText


@act("error.class_name")
def class_name(work: Working) -> NoReturn:
    raise type(f"Caf\udce9{'e' * 5000}", (Exception,), {})(work.payload.raised())


@act("error.cycle")
def cycle(work: Working) -> NoReturn:
    one, other = ValueError(work.payload.raised()), ValueError("The cause of its cause.")
    one.__cause__, other.__cause__ = other, one
    one.__notes__ = [SURROGATE, "\0"]
    raise one


@act("error.group")
def group(work: Working) -> NoReturn:
    error: Exception = ValueError(work.payload.raised())
    for depth in range(50):
        error = ExceptionGroup(f"Group {depth} of {work.payload.stamp}", [error])
    raise error


@act("error.attributes")
def attributes(work: Working) -> NoReturn:
    work.log()
    raise AttributesRaise(work.payload.raised())


@act("error.details")
def details(work: Working) -> NoReturn:
    raise Permanent(f"{work.payload.raised()} \0{SURROGATE}", number=float("nan"), thing=object())


@act("error.recursion")
def recursion(work: Working) -> object:
    return recursion(work)


@act("error.memory")
def memory(work: Working) -> NoReturn:
    raise MemoryError


@act("base.own")
def own(work: Working) -> NoReturn:
    work.log()
    raise OwnBase(work.payload.raised())


@act("base.system_exit")
def system_exit(work: Working) -> NoReturn:
    work.log()
    sys.exit(work.variant)


@act("base.system_exit_text")
def system_exit_text(work: Working) -> NoReturn:
    sys.exit(SURROGATE)


@act("base.keyboard_interrupt")
def keyboard_interrupt(work: Working) -> NoReturn:
    raise KeyboardInterrupt


@act("base.generator_exit")
def generator_exit(work: Working) -> NoReturn:
    raise GeneratorExit


@act("base.asyncio_cancelled")
def asyncio_cancelled(work: Working) -> NoReturn:
    raise asyncio.CancelledError


@act("base.stop_iteration")
async def stop_iteration(work: Working) -> NoReturn:
    await asyncio.sleep(0)
    raise StopAsyncIteration


@act("stop.hand_over")
def hand_over(work: Working) -> NoReturn:
    """By mistake: nobody asked for it."""
    raise HandOver


@act("stop.cancelled")
def cancelled(work: Working) -> NoReturn:
    """By mistake: nobody asked for it."""
    raise Cancelled


@act("retry.delay_text")
def delay_text(work: Working) -> NoReturn:
    """A Retry-After header as it came."""
    delay: Any = ("0.2", "soon", b"0.2")[work.variant % 3]
    raise Retryable(work.payload.raised(), delay_seconds=delay)


@act("retry.delay_nan")
def delay_nan(work: Working) -> NoReturn:
    raise Retryable(work.payload.raised(), delay_seconds=(float("nan"), -1.0, -1e308)[work.variant % 3])


@act("params.validator_raises")
def never(work: Working) -> NoReturn:
    raise AssertionError("The validator of its params raises before this.")
