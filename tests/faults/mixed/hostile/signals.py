"""Signals: limits and alarms that raise in the middle of a report, and processes that end by any signal or exit code."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from tests.faults.mixed.hostile.acts import act
from tests.faults.mixed.hostile.kinds import fatal_signal, odd_signal
from tests.faults.mixed.working import Working

from longhaul import SoftTimeout

ALARM_SECONDS = 0.004
"""Between two alarms: about the time that a report takes."""
WORK_SECONDS = 0.3
TOO_LONG_SECONDS = 120.0


class Alarm(Exception):
    """What the handler of a signal raises: a time-out of the task's own."""


@act("soft.saves")
def saves(work: Working) -> NoReturn:
    """The pattern of docs/how-to/write-a-task.md."""
    try:
        while True:
            work.advance()
            work.report()
            work.save()
    except SoftTimeout:
        work.save()
        raise


@act("soft.loops")
def loops(work: Working) -> None:
    try:
        while True:
            work.advance()
            work.save()
    except SoftTimeout:
        return


@act("soft.swallowed")
def swallowed(work: Working) -> None:
    try:
        while True:
            work.log()
            work.save()
    except SoftTimeout:
        pass
    for _ in range(5):
        work.advance()
        work.log()
        work.save()


@act("soft.in_error")
def in_error(work: Working) -> NoReturn:
    """Raises at about the soft limit, so that it meets what the platform does about the error."""
    time.sleep(0.44 + 0.12 * work.variant / 256)
    _raise_deep(work, 400)


def _raise_deep(work: Working, depth: int) -> NoReturn:
    if not depth:
        raise ValueError(work.payload.raised())
    _raise_deep(work, depth - 1)


@act("soft.async")
async def async_saves(work: Working) -> NoReturn:
    try:
        while True:
            work.advance()
            work.save()
            await asyncio.sleep(0)
    except SoftTimeout:
        work.save()
        raise


@act("soft.ignored")
def ignored(work: Working) -> NoReturn:
    """Deaf to its limits and to the signals that Python lets it ignore."""
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            work.sleep(TOO_LONG_SECONDS)
        except BaseException:  # noqa: BLE001 - what such tasks do
            continue


@contextmanager
def _alarms(handler: Callable[..., Any]) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, ALARM_SECONDS, ALARM_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _raise_alarm(*_: object) -> NoReturn:
    raise Alarm


def _report(work: Working) -> None:
    work.log()
    work.report()
    work.save()


@act("alarm.caught")
def caught(work: Working) -> None:
    """Gives each report only some milliseconds, as scrapers do with pages."""
    until = time.monotonic() + WORK_SECONDS
    while time.monotonic() < until:
        try:
            with _alarms(_raise_alarm):
                while True:
                    _report(work)
        except Alarm:
            work.advance()


@act("alarm.uncaught")
def uncaught(work: Working) -> NoReturn:
    def complain(*_: object) -> NoReturn:
        raise Alarm(work.payload.raised())

    with _alarms(complain):
        while True:
            _report(work)


@act("alarm.reports")
def reports(work: Working) -> None:
    """Its handler reports, in the middle of whatever the task does: also of another report."""
    until = time.monotonic() + WORK_SECONDS

    def report(*_: object) -> None:
        work.job.log(f"{work.payload.stamp} tick")
        work.job.progress(0.5, f"{work.payload.stamp} tick")

    with _alarms(report):
        while time.monotonic() < until:
            work.job.log(f"{work.payload.stamp} tock")
            work.save()


@act("alarm.left_on")
def left_on(work: Working) -> None:
    """Forgets its timer, whose handler goes on raising in whatever runs next."""
    signal.signal(signal.SIGALRM, _raise_alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.05 + work.variant / 2560, ALARM_SECONDS)


@act("left.handlers")
def handlers(work: Working) -> None:
    """Leaves its handlers behind."""
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGCHLD):
        signal.signal(number, (signal.SIG_IGN, _raise_alarm, lambda *_: None)[work.variant % 3])
    work.log()


@act("left.mask")
def mask(work: Working) -> None:
    """Leaves all signals blocked."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    work.log()


@act("exit.code")
def exit_code(work: Working) -> NoReturn:
    work.log()
    os._exit(work.variant % 256)


@act("signal.fatal")
def fatal(work: Working) -> None:
    work.log()
    os.kill(os.getpid(), fatal_signal(work.variant))
    work.sleep(5)


@act("signal.odd")
def odd(work: Working) -> None:
    os.kill(os.getpid(), odd_signal(work.variant))
    work.sleep(WORK_SECONDS)


@act("signal.stop")
def stop(work: Working) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    work.sleep(TOO_LONG_SECONDS)
