"""What a task may change in its process and the next one must not find: signal handlers, masks, timers, streams and the
descriptors below them, limits, environment variables, the working directory, the umask, how `logging` and structlog are
configured, and what is set for the whole interpreter. Modules stay as tasks leave them."""

from __future__ import annotations

import faulthandler
import gc
import locale
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import structlog

from longhaul_worker.process_tree import adopt_orphans

_TIMERS: Final = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_LIMITS: Final = tuple(sorted(value for name, value in vars(resource).items() if name.startswith("RLIMIT_")))
_TRIES: Final = 100
"""A timer of the task's may raise once more while it is being stopped."""
_OF_THE_INTERPRETER: Final[tuple[tuple[Callable[[], Any], Callable[[Any], object]], ...]] = (
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (sys.getswitchinterval, sys.setswitchinterval),
    (socket.getdefaulttimeout, socket.setdefaulttimeout),
    (lambda: locale.setlocale(locale.LC_ALL), lambda name: locale.setlocale(locale.LC_ALL, name)),
    (gc.isenabled, lambda is_enabled: gc.enable() if is_enabled else gc.disable()),
)
"""How each is read and set."""
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
        self._environment = dict(os.environ)
        self._interpreter = [read() for read, _ in _OF_THE_INTERPRETER]
        self._hooks = (sys.excepthook, threading.excepthook)
        self._trace = sys.gettrace()
        self._logging = _LoggingState()
        self._identity = _identity()
        adopt_orphans()

    def restore(self) -> bool:
        """Undo what the task did. Whatever still raises meanwhile is the task's last word, and nobody's concern.

        Returns whether this process is as it was: a hard limit that was lowered can't be raised again, nor a stream that
        was closed be opened, nor another user's process become what it was.
        """
        for _ in range(_TRIES):
            with suppress(BaseException):  # from a handler of the task's, until it is gone
                return self._restore()
        return False

    def _restore(self) -> bool:
        for timer in _TIMERS:
            signal.setitimer(timer, 0)
        faulthandler.unregister(SOFT_LIMIT_SIGNAL)
        for number, handler in self._handlers.items():
            # The soft limit's in any case: what C code installs is not seen here.
            if handler is not None and (signal.getsignal(number) is not handler or number == SOFT_LIMIT_SIGNAL):
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        signal.set_wakeup_fd(-1)
        faulthandler.cancel_dump_traceback_later()
        sys.stdout, sys.stderr = self._streams
        for descriptor, saved in self._descriptors.items():
            if not _is_same_file(descriptor, saved):
                os.dup2(saved, descriptor)
        os.umask(self._umask)
        self._restore_environment()
        for (read, write), value in zip(_OF_THE_INTERPRETER, self._interpreter, strict=True):
            if read() != value:
                write(value)
        sys.excepthook, threading.excepthook = self._hooks
        sys.setprofile(None)
        sys.settrace(self._trace)
        self._logging.restore()
        with suppress(OSError):  # it is gone, whoever took it
            os.chdir(self._folder)
        adopt_orphans()
        return (
            all(_restore_limit(limit, values) for limit, values in self._limits.items())
            and _identity() == self._identity
            and not any(stream is not None and stream.closed for stream in (sys.__stdout__, sys.__stderr__))
        )

    def _restore_environment(self) -> None:
        if os.environ == self._environment:
            return
        for name in os.environ.keys() - self._environment.keys():
            del os.environ[name]
        os.environ.update(self._environment)
        time.tzset()


class _LoggingState:
    """How `logging` and structlog are configured: the platform's part, and which loggers are heard at all."""

    def __init__(self) -> None:
        root = logging.getLogger()
        self._level, self._handlers, self._filters = root.level, list(root.handlers), list(root.filters)
        self._handler_states = [(handler, handler.level, list(handler.filters)) for handler in root.handlers]
        self._disabled_up_to = logging.root.manager.disable
        self._disabled = {logger.name for logger in _loggers() if logger.disabled}
        self._structlog = structlog.get_config()
        self._processors = list(self._structlog["processors"])

    def restore(self) -> None:
        root = logging.getLogger()
        root.handlers[:], root.filters[:] = self._handlers, self._filters
        if root.level != self._level:
            root.setLevel(self._level)
        for handler, level, filters in self._handler_states:
            handler.setLevel(level)
            handler.filters[:] = filters
        if logging.root.manager.disable != self._disabled_up_to:
            logging.disable(self._disabled_up_to)
        for logger in _loggers():
            # A `dictConfig` disables those that it does not name.
            logger.disabled = logger.name in self._disabled
        self._structlog["processors"][:] = self._processors
        structlog.configure(**self._structlog)


def _loggers() -> list[logging.Logger]:
    return [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]


def _identity() -> tuple[Any, ...]:
    return os.getresuid(), os.getresgid(), os.getpriority(os.PRIO_PROCESS, 0)


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
