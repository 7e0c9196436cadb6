"""What outlives its attempt: threads, forks and processes that go on, and whatever else a task leaves in its process."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from typing import Any, NoReturn

from tests.faults.mixed.census import MARK_VARIABLE
from tests.faults.mixed.executions import record_ghost
from tests.faults.mixed.hostile.acts import act
from tests.faults.mixed.payload import mark
from tests.faults.mixed.working import Working

GHOST_AFTER_SECONDS = 0.5
"""How long after its attempt's end a ghost begins to report."""
GHOST_REPORTS = 15
GHOST_PAUSE_SECONDS = 0.1
FORK_SECONDS = 0.3
LONG_SECONDS = "600"
MANY = 30
_PR_SET_NAME = 15
_held: list[asyncio.Task[None]] = []


@act("thread.reports")
def thread_reports(work: Working) -> None:
    """Leaves a thread that goes on reporting."""
    threading.Thread(target=_haunt, args=(work,), daemon=True).start()
    work.log()


def _haunt(work: Working) -> None:
    while not work.execution.has_ended:
        time.sleep(0.01)
    time.sleep(GHOST_AFTER_SECONDS)
    _report_as_ghost(work)


def _report_as_ghost(work: Working) -> None:
    job, payload = work.job, work.payload
    for number in range(GHOST_REPORTS):
        text = payload.ghost(number)
        calls = {
            "log": partial(job.log, text),
            "progress": partial(job.progress, 0.666, text, ghost=text),
            "checkpoint": partial(job.checkpoint, {"step": 666, "digest": text}),
        }
        for call, report in calls.items():
            try:
                report()
            except BaseException as error:  # noqa: BLE001 - a ghost ends only with its process
                record_ghost(payload.job_id, payload.epoch, call, type(error).__name__)
            else:
                record_ghost(payload.job_id, payload.epoch, call, None)
        time.sleep(GHOST_PAUSE_SECONDS)


def _fork(work: Working) -> int:
    """As `os.fork`; the child is named after the attempt."""
    pid = os.fork()
    if pid == 0:
        name = mark(work.payload.job_id, work.payload.epoch).encode()
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name, 0, 0, 0)
    return pid


@act("fork.reports")
def fork_reports(work: Working) -> None:
    """Leaves a fork that goes on reporting."""
    work.log()
    if _fork(work) == 0:
        time.sleep(2 * GHOST_AFTER_SECONDS)
        _report_as_ghost(work)
        os._exit(0)


@act("fork.returns")
def fork_returns(work: Working) -> str | None:
    """Forgets `os._exit`: the fork returns as its parent does, a moment later."""
    work.log()
    if _fork(work) == 0:
        time.sleep(FORK_SECONDS)
        return work.payload.ghost(0)
    return None


@act("fork.raises")
def fork_raises(work: Working) -> None:
    work.log()
    if _fork(work) == 0:
        time.sleep(FORK_SECONDS)
        raise RuntimeError(work.payload.ghost(0))


@act("fork.exits")
def fork_exits(work: Working) -> None:
    work.log()
    if _fork(work) == 0:
        time.sleep(FORK_SECONDS)
        sys.exit(3)


@act("async.reports")
async def async_reports(work: Working) -> None:
    """Leaves an async task that goes on reporting."""

    async def go_on() -> None:
        while not work.execution.has_ended:  # noqa: ASYNC110 - it must not know when that is
            await asyncio.sleep(0.01)
        _report_as_ghost(work)

    _held.append(asyncio.get_running_loop().create_task(go_on()))  # or it might be collected
    work.log()


def _start(work: Working, *command: str, start_new_session: bool = False) -> subprocess.Popen[bytes]:
    """Start a process that is named after the attempt, as is all that it starts."""
    environment = {**os.environ, MARK_VARIABLE: mark(work.payload.job_id, work.payload.epoch)}
    return subprocess.Popen(command, env=environment, start_new_session=start_new_session)


@act("process.left")
def process_left(work: Working) -> None:
    work.log()
    _start(work, "sleep", LONG_SECONDS)


@act("process.shell")
def process_shell(work: Working) -> None:
    """In a session of its own, with processes below it."""
    work.log()
    _start(work, "sh", "-c", f"sleep {LONG_SECONDS} & sleep {LONG_SECONDS} & wait", start_new_session=True)


@act("process.daemon")
def process_daemon(work: Working) -> None:
    """Forked twice, so that its parent is gone: nobody below this process has it as a child."""
    work.log()
    _start(work, "sh", "-c", f"(setsid sh -c 'sleep {LONG_SECONDS}' &) &").wait()


@act("process.deaf")
def process_deaf(work: Working) -> None:
    """Ignores the polite signals."""
    work.log()
    _start(work, "sh", "-c", f"trap '' TERM HUP INT QUIT; sleep {LONG_SECONDS}; sleep {LONG_SECONDS}")


@act("process.many")
def process_many(work: Working) -> None:
    work.log()
    for _ in range(MANY):
        _start(work, "sleep", LONG_SECONDS)


@act("process.overdue")
def process_overdue(work: Working) -> None:
    """Waits for a process past its limit."""
    work.log()
    _start(work, "sh", "-c", f"sleep {LONG_SECONDS}; true")
    work.sleep(float(LONG_SECONDS))


@act("process.crash")
def process_crash(work: Working) -> NoReturn:
    """Ends without its processes."""
    _start(work, "sleep", LONG_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL was survived.")


@act("left.settings")
def left_settings(work: Working) -> None:
    """Changes what all code of a process shares."""
    os.chdir("/")
    os.umask(0o077)
    socket.setdefaulttimeout(0.001)
    hook: Any = lambda *_: None  # noqa: E731
    threading.excepthook = sys.excepthook = hook
    sys.setswitchinterval(0.0001)
    work.log()
