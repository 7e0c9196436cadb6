"""What a task may change in its process and the next one must not find: signal handlers, masks, timers, streams and the
descriptors below them, limits, the working directory, the umask."""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_TIMERS: Final = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_LIMITS: Final = tuple(sorted(value for name, value in vars(resource).items() if name.startswith("RLIMIT_")))
_TRIES: Final = 100
"""A timer of the task's may raise once more while it is being stopped."""
SOFT_LIMIT_SIGNAL: Final = signal.SIGUSR2
"""SIGUSR1 is billiard's own soft limit."""


class ProcessState:
    """The state of this process as it was before the first task. Belongs to the main thread."""

    def __init__(self, on_soft_limit: Callable[[], None]) -> None:
        # A signal from outside ends the process, and its death says which one it was. billiard's handlers would raise
        # SystemExit in the middle of the task instead.
        signal.signal(SOFT_LIMIT_SIGNAL, lambda *_: on_soft_limit())
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        self._handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._streams = (sys.stdout, sys.stderr)
        self._descriptors = {number: _duplicate(number) for number in (0, 1, 2)}
        self._limits = {limit: resource.getrlimit(limit) for limit in _LIMITS}
        self._folder = os.getcwd()  # noqa: PTH109 - a plain string, that needs no other module to restore
        self._umask = os.umask(0o022)
        os.umask(self._umask)

    def restore(self) -> bool:
        """Undo what the task did. Whatever still raises meanwhile is the task's last word, and nobody's concern.

        Returns whether this process is as it was: a hard limit that was lowered can't be raised again.
        """
        for _ in range(_TRIES):
            with suppress(BaseException):  # from a handler of the task's, until it is gone
                return self._restore()
        return False

    def _restore(self) -> bool:
        for timer in _TIMERS:
            signal.setitimer(timer, 0)
        for number, handler in self._handlers.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        signal.set_wakeup_fd(-1)
        faulthandler.cancel_dump_traceback_later()
        sys.stdout, sys.stderr = self._streams
        for descriptor, saved in self._descriptors.items():
            if not _is_same_file(descriptor, saved):
                os.dup2(saved, descriptor)
        os.umask(self._umask)
        with suppress(OSError):  # it is gone, whoever took it
            os.chdir(self._folder)
        return all(_restore_limit(limit, values) for limit, values in self._limits.items())


def _restore_limit(limit: int, values: tuple[int, int]) -> bool:
    if resource.getrlimit(limit) == values:
        return True
    try:
        resource.setrlimit(limit, values)
    except (OSError, ValueError):
        return False
    return True


def _duplicate(number: int) -> int:
    try:
        return os.dup(number)
    except OSError:
        return os.open(os.devnull, os.O_RDWR)


def _is_same_file(number: int, other: int) -> bool:
    try:
        return os.path.sameopenfile(number, other)
    except OSError:
        return False
