"""Failures of one thing, told once for each change: it may fail twice a second for hours."""

from __future__ import annotations

import psycopg
import redis
import structlog

from longhaul.errors import LonghaulError

_log = structlog.get_logger(__name__)


class Outage(Exception):
    """A server did not answer, or refused. Its subclasses are logged without a traceback."""


_MAX_CHARACTERS = 500
_OUTAGES = (Outage, LonghaulError, OSError, psycopg.OperationalError, psycopg.InterfaceError, redis.RedisError)
"""What servers that are away look like. Anything else may be a defect, so its traceback is logged."""


class FailureLog:
    """Logs `event` with the error if it differs from the one before, and `recovery` when that is over."""

    def __init__(self, event: str, recovery: str, **facts: str) -> None:
        self._event = event
        self._recovery = recovery
        self._facts = facts
        self._last: str | None = None

    def failed(self, error: Exception) -> None:
        """Log the error, unless the last one said the same."""
        description = describe(error)
        if description != self._last:
            is_outage = isinstance(error, _OUTAGES)
            _log.warning(self._event, **self._facts, error=description, exc_info=None if is_outage else error)
        self._last = description

    def succeeded(self) -> None:
        """Log that it works again, if it failed before."""
        if self._last is not None:
            _log.info(self._recovery, **self._facts)
        self._last = None


def describe(error: BaseException) -> str:
    """The class and first line of an error, and of what caused it."""
    causes = [error]
    while (cause := causes[-1].__cause__) is not None and cause not in causes:
        causes.append(cause)
    return ", from ".join(f"{type(each).__name__}: {_first_line(each)}" for each in causes)


def _first_line(error: BaseException) -> str:
    try:
        return next(iter(str(error).splitlines()), "")[:_MAX_CHARACTERS]
    except Exception:  # noqa: BLE001 - an error of a library may not even have a text
        return "it has no text"
