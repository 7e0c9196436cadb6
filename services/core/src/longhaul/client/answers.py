"""What an answer of the API means: its value, an error, or that the call should be tried again. Nothing here waits."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx2
from pydantic import ValidationError

from longhaul.client.calls import Call
from longhaul.contract import ProblemView
from longhaul.errors import LonghaulError, error_for

T = TypeVar("T")

RETRIED = frozenset({429, 502, 503, 504})
"""Statuses that say `not now`, the API's own or those of a proxy in front of it."""
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0


class ApiUnreachable(LonghaulError):
    """The API does not answer: check that it runs, and that LONGHAUL_URL says where."""

    code = "api_unreachable"
    status = 503


class UnreadableAnswer(LonghaulError):
    """What answered is not a Longhaul API that this client understands: check LONGHAUL_URL, or update one of the two."""

    code = "unreadable_answer"
    status = 502


class StillRunning(LonghaulError, TimeoutError):
    """The job has not ended in the time given. It goes on: wait for it again."""

    code = "still_running"
    status = 504


def read(call: Call[T], response: httpx2.Response) -> T:
    """The answer's value. Raises the error that the API answered with, or UnreadableAnswer."""
    if not response.is_success:
        raise error_of(response)
    try:
        return call.parse(response.content)
    except ValueError as error:
        raise _unreadable(response) from error


def error_of(response: httpx2.Response) -> LonghaulError:
    """The error in an answer whose body was read: its class by `code`, and its further fields as `details`."""
    try:
        problem = ProblemView.model_validate_json(response.content)
    except ValidationError:
        return ApiUnreachable() if response.status_code in RETRIED else _unreadable(response)
    cls = error_for(problem.code)
    error = cls(problem.detail)
    error.details = dict(problem.model_extra or {})
    if cls.code != problem.code:
        error.details |= {"code": problem.code, "status": problem.status}
    return error


def _unreadable(response: httpx2.Response) -> UnreadableAnswer:
    return UnreadableAnswer(
        f"{response.request.url} answered {response.status_code} with something that is not Longhaul's, or of another "
        "version: check LONGHAUL_URL, or update the client.",
        answer_status=response.status_code,
    )


class Tries:
    """How long to pause before a call is tried again, for at most `limit_seconds` after it began.

    The pauses double up to five seconds, with jitter, so that many clients do not come back at the same moment; a
    `Retry-After` is respected.
    """

    def __init__(
        self,
        limit_seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._ends_at = clock() + limit_seconds
        self._count = 0

    def pause_after_error(self, call: Call[Any], error: httpx2.TransportError) -> float:
        """Seconds until the next try after a failed connection. Raises ApiUnreachable where there is to be none."""
        was_never_sent = isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout))
        pause = self._next() if call.is_repeatable or was_never_sent else None
        if pause is None:
            url = error.request.url
            raise ApiUnreachable(
                f"{url.scheme}://{url.netloc.decode()} does not answer: check that the API runs there, or set LONGHAUL_URL to where it is."
            ) from error
        return pause

    def pause_after(self, call: Call[Any], response: httpx2.Response) -> float | None:
        """Seconds until the next try after an answer; None where the answer is final."""
        # Only 429 says for sure that nothing was done.
        if response.status_code not in RETRIED or not (call.is_repeatable or response.status_code == 429):
            return None
        asked = response.headers.get("retry-after", "")
        return self._next(at_least_seconds=float(asked) if asked.isdecimal() else 0.0)

    def _next(self, *, at_least_seconds: float = 0.0) -> float | None:
        full = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(self._count, 16))
        self._count += 1
        pause = max(full * (0.5 + 0.5 * self._jitter()), at_least_seconds)
        return pause if self._clock() + pause <= self._ends_at else None
