"""Run one claimed job in a pool child, to its one reported end."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import re
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, TypeVar

import orjson
import structlog
from opentelemetry.trace import StatusCode
from pydantic import BaseModel, ValidationError

from longhaul import telemetry
from longhaul.errors import Cancelled, HandOver, LonghaulError, Permanent, Retryable, SoftTimeout, Unstorable
from longhaul.job import Job
from longhaul.states import Ending
from longhaul.task import Task
from longhaul.values import MAX_NESTING, MAX_TRACEBACK_BYTES, clean_text, find_not_finite, is_nested_too_deep
from longhaul_worker.child.process_state import SOFT_LIMIT_SIGNAL, ProcessState
from longhaul_worker.child.task_output import TaskOutput
from longhaul_worker.process_tree import end_descendants
from longhaul_worker.session.child import EXIT_UNREPORTED, AttemptChannel, ChildSession
from longhaul_worker.session.frames import AttemptError, Claimed

_log = structlog.get_logger(__name__)

TRANSIENT_ERRORS: Final = (Retryable, ConnectionError, TimeoutError)
"""Worth another try whatever the task; a task adds its own with `retry_on`. Every other error is permanent."""
EXIT_FORKED: Final = 0
"""A process that the task forked came back out of the task."""

_PLATFORM: Final = (__name__, "asyncio.runners", "asyncio.base_events")
"""Modules whose frames come before the task's own."""
_CODE: Final = re.compile(r"[a-z0-9_.-]{1,64}")
_SHORT_TRACEBACK_BYTES: Final = 2048
_MAIN_THREAD: Final = threading.main_thread().ident or 0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an attempt ended."""

    ending: Ending
    result: bytes | None = None
    """JSON text."""
    error: AttemptError | None = None
    delay_seconds: float | None = None


class Executor:
    """Runs jobs in this process, one at a time, in its main thread."""

    def __init__(self, session: ChildSession, tasks: Mapping[str, Task[Any, Any]], output: TaskOutput) -> None:
        self._session = session
        self._tasks = tasks
        self._output = output
        self._process = ProcessState(self._on_soft_limit)
        self._is_as_it_was = True

    def answer_doorbell(self, queue: str) -> bool:
        """Ask the keeper for a job of this queue and, if there is one, run it to its end. Returns whether this process may
        run another: one whose task left processes behind, or ran out of memory, is to be replaced.
        """
        claimed = self._session.claim(queue)
        if claimed is None:
            return True
        try:
            return self.execute(claimed)
        except BaseException:  # noqa: BLE001 - the last net: whatever it is, this attempt must not stay without an end
            os._exit(EXIT_UNREPORTED)

    def execute(self, claimed: Claimed) -> bool:
        """Total: whatever leaves the task becomes one reported end. Returns as `answer_doorbell` does."""
        channel = self._session.channel
        assert channel is not None
        if time.monotonic() > claimed.start_by:  # this pod was frozen since the claim
            outcome = Outcome(ending=Ending.HANDED_OVER)
        else:
            # In a context of its own: what a task sets in a ContextVar (its tenant, a precision of decimals) ends with it.
            outcome = contextvars.Context().run(self._run_in_span, claimed, channel)
        self._session.end_attempt()
        left_behind = end_descendants(os.getpid())
        if left_behind:
            _log.info("processes_ended", processes=left_behind)
        self._session.finish(
            channel,
            outcome.ending,
            result=outcome.result,
            error=outcome.error,
            delay_seconds=outcome.delay_seconds,
        )
        return self._is_as_it_was and not left_behind and outcome.ending is not Ending.CRASHED

    def _run_in_span(self, claimed: Claimed, channel: AttemptChannel) -> Outcome:
        with _span(claimed) as span:
            outcome = self._run(claimed, channel)
            with suppress(Exception):
                span.set_attribute("ending", outcome.ending)
                if outcome.error is not None:
                    span.set_status(StatusCode.ERROR, outcome.error.message)
        return outcome

    def _run(self, claimed: Claimed, channel: AttemptChannel) -> Outcome:
        task = self._tasks.get(claimed.task)
        pid, result, raised = os.getpid(), None, None
        try:
            result, raised = self._call(task, claimed, channel)
        except BaseException as error:  # noqa: BLE001 - a handler of the task's raised once more, on the way out of it
            raised = error
        if os.getpid() != pid:
            os._exit(EXIT_FORKED)
        channel.in_task = False
        self._is_as_it_was = self._process.restore()
        self._output.end_attempt(channel)
        if raised is None:
            return Outcome(ending=Ending.SUCCEEDED, result=result)
        outcome = _describe(raised, task, channel)
        # What its frames hold must not live on beside the next job. A frozen dataclass refuses an assignment.
        BaseException.with_traceback(raised, None)
        return outcome

    def _call(
        self, task: Task[Any, Any] | None, claimed: Claimed, channel: AttemptChannel
    ) -> tuple[bytes | None, BaseException | None]:
        """What the task returned, as JSON text, or raised."""
        channel.interrupt = _interrupt_main_thread
        channel.in_task = True
        try:
            with warnings.catch_warnings():
                return _call(task, claimed, channel), None
        except BaseException as error:  # noqa: BLE001 - SystemExit too is the task's own end, not this process's
            return None, error
        finally:
            channel.in_task = False

    def _on_soft_limit(self) -> None:
        channel = self._session.channel
        if channel is not None:
            channel.on_soft_limit_signal()


def _interrupt_main_thread() -> None:
    signal.pthread_kill(_MAIN_THREAD, SOFT_LIMIT_SIGNAL)


def _span(claimed: Claimed) -> Any:
    return telemetry.span(
        f"run {claimed.task}",
        parent=claimed.trace_context,
        job_id=str(claimed.job_id),
        epoch=claimed.epoch,
        queue=claimed.queue,
    )


def _call(task: Task[Any, Any] | None, claimed: Claimed, channel: AttemptChannel) -> bytes:
    """The task's own code: its models, its function, and how its result is written."""
    if task is None:
        raise Permanent(f"This worker's code has no task named {claimed.task!r}: its image is older or newer.")
    job = Job(
        id=claimed.job_id,
        task=claimed.task,
        tenant=claimed.tenant,
        attempt=claimed.epoch,
        epoch=claimed.epoch,
        checkpointed=claimed.checkpoint,
        channel=channel,
    )
    try:
        params = task.params_model.model_validate(claimed.params)
    except ValidationError as error:
        raise _InvalidParams(clean_text(error)) from None  # another try would meet the same params
    try:
        if inspect.iscoroutinefunction(task.function):
            result = asyncio.run(_call_async(task.function(job, params), channel))
        else:
            result = task.function(job, params)
    finally:
        channel.is_over = True
    return _encode(task, result, channel.limits.result_bytes)


class _InvalidParams(Permanent):
    """The params do not fit the task's model."""

    code = "invalid_params"


class _ResultTooLarge(Permanent):
    """The result is larger than this installation keeps."""

    code = "result_too_large"


def _encode(task: Task[Any, Any], result: object, limit_bytes: int) -> bytes:
    if not isinstance(result, task.result_model):
        raise Permanent(
            f"The task returned {type(result).__name__}, and its signature says {task.result_model.__name__}."
        )
    assert isinstance(result, BaseModel)
    place = None
    try:
        encoded = result.model_dump_json().encode()
        if len(encoded) <= limit_bytes:
            orjson.loads(encoded)  # as every reader will: it refuses 1e400
            if is_nested_too_deep(encoded):
                raise Unstorable(f"The result can't be stored: it has more than {MAX_NESTING} levels of nesting.")
            # pydantic writes what is not finite as null, without a word.
            place = find_not_finite(result.model_dump()) if b"null" in encoded else None
    except (ValueError, TypeError, RecursionError) as error:
        raise Unstorable(f"The result can't be stored as JSON: {clean_text(error)}.") from error
    if place is not None:
        raise Unstorable(f"The result can't be stored: {place}. Return None or a text instead.")
    if len(encoded) > limit_bytes:
        raise _ResultTooLarge(
            f"The result has {len(encoded):,} bytes and the limit is {limit_bytes:,}: store it and return where it is."
        )
    return encoded


# What was raised, in words. Whatever of an error resists is left out: its methods are the task's own code as well.


def _describe(raised: BaseException, task: Task[Any, Any] | None, channel: AttemptChannel) -> Outcome:
    """The outcome of an attempt that raised. Total."""
    error = _unless_it_raises(lambda: _decisive(raised, task, channel), raised)
    ending, code = _unless_it_raises(lambda: _classify(error, task), (Ending.PERMANENT, "task_failed"))
    if ending in (Ending.CANCELLED, Ending.HANDED_OVER):
        return Outcome(ending=ending)
    name = _unless_it_raises(lambda: clean_text(type(error).__name__, max_bytes=256), "BaseException")
    message = _unless_it_raises(lambda: clean_text(error), "") or name
    whole, short = _unless_it_raises(lambda: _traceback(raised, error), ("", ""))
    level = "warning" if ending is Ending.TRANSIENT else "error"
    _log_to_job(channel, level, f"{name}: {message}", {"traceback": whole} if whole else {})
    return Outcome(
        ending=ending,
        error=AttemptError(code=code, message=message, type=name, traceback=short or None),
        delay_seconds=_delay_seconds(error, channel) if ending is Ending.TRANSIENT else None,
    )


_Described = TypeVar("_Described")


def _unless_it_raises(describe: Callable[[], _Described], otherwise: _Described) -> _Described:
    try:
        return describe()
    except BaseException:  # noqa: BLE001 - an error's methods are the task's own code and may raise anything
        return otherwise


_GRAVEST_FIRST: Final = (
    Ending.CANCELLED,
    Ending.HANDED_OVER,
    Ending.CRASHED,
    Ending.TIMED_OUT,
    Ending.PERMANENT,
    Ending.TRANSIENT,
)


def _decisive(raised: BaseException, task: Task[Any, Any] | None, channel: AttemptChannel) -> BaseException:
    """The error that decides how the attempt ends: the gravest of those that an `asyncio.TaskGroup` puts together."""
    errors = [_own_stop(error, channel) for error in _leaves(raised)]
    return min(errors, key=lambda error: _GRAVEST_FIRST.index(_classify(error, task)[0]))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error


class _NotAsked(Permanent):
    """The task raised what the platform raises to stop it, and nobody asked it to stop: raise Retryable to be tried again,
    or any other error to fail."""

    code = "not_asked_to_stop"


def _own_stop(error: BaseException, channel: AttemptChannel) -> BaseException:
    """A task that raises Cancelled or HandOver by mistake would loop for ever, or look as if somebody had cancelled it."""
    if (isinstance(error, Cancelled) and not channel.is_cancelled) or (
        isinstance(error, HandOver) and not channel.is_draining
    ):
        return _NotAsked()
    return error


def _classify(error: BaseException, task: Task[Any, Any] | None) -> tuple[Ending, str]:
    transient = (*TRANSIENT_ERRORS, *(task.retry_on if task is not None else ()))
    if isinstance(error, Cancelled):
        return Ending.CANCELLED, "cancelled"
    if isinstance(error, HandOver):
        return Ending.HANDED_OVER, "handed_over"
    if isinstance(error, SoftTimeout):
        return Ending.TIMED_OUT, "soft_timeout"
    if isinstance(error, MemoryError):
        return Ending.CRASHED, "out_of_memory"
    code = getattr(error, "code", None) if isinstance(error, LonghaulError) else None
    code = code if isinstance(code, str) and _CODE.fullmatch(code) else "task_failed"
    return (Ending.TRANSIENT if isinstance(error, transient) else Ending.PERMANENT), code


def _traceback(raised: BaseException, error: BaseException) -> tuple[str, str]:
    """Where in the task's own code what it raised came from, whole, and the error that decides, short; nothing for what
    the task raised on purpose."""
    if isinstance(error, LonghaulError):
        return "", ""
    whole = "".join(traceback.format_exception(type(raised), raised, _own_part(raised)))
    short = "".join(traceback.format_list(traceback.extract_tb(_own_part(error))[-3:]))
    return (
        clean_text(whole, max_bytes=MAX_TRACEBACK_BYTES),
        clean_text(short, max_bytes=_SHORT_TRACEBACK_BYTES),
    )


def _own_part(error: BaseException) -> TracebackType | None:
    own = error.__traceback__
    while own is not None and own.tb_frame.f_globals.get("__name__") in _PLATFORM:
        own = own.tb_next
    return own


def _delay_seconds(error: BaseException, channel: AttemptChannel) -> float | None:
    """The wish of a `Retryable`; the task's backoff, and a line in the log, if it is no number of seconds."""
    wish = _unless_it_raises(lambda: getattr(error, "delay_seconds", None), None)
    if wish is None:
        return None
    seconds: float = _unless_it_raises(lambda: float(wish), -1.0)
    if 0 <= seconds < float("inf"):
        return seconds
    text = clean_text(_unless_it_raises(lambda: repr(wish), type(wish).__name__), max_bytes=200)
    message = f"delay_seconds={text} is no number of seconds: the task's backoff is used."
    _log_to_job(channel, "warning", message, {})
    return None


def _log_to_job(channel: AttemptChannel, level: str, message: str, fields: dict[str, Any]) -> None:
    channel.log_last(level, clean_text(message), fields)


# Async tasks.


async def _call_async(coroutine: Coroutine[Any, Any, object], channel: AttemptChannel) -> object:
    loop, current = asyncio.get_running_loop(), asyncio.current_task()
    assert current is not None
    stoppable = _Stoppable(coroutine)

    def interrupt() -> None:
        stoppable.reason = SoftTimeout()
        with suppress(RuntimeError):  # the loop has just ended
            loop.call_soon_threadsafe(current.cancel)

    channel.interrupt_async = interrupt
    try:
        return await stoppable
    finally:
        channel.interrupt_async = None
        channel.is_over = True  # asyncio.run goes on until the other tasks of its loop have ended


class _Stoppable(Awaitable[object]):
    """Awaits a coroutine; once `reason` is set, the cancellation that follows reaches the coroutine as that reason.

    asyncio can only interrupt with CancelledError, which a task function could not tell from its own cancellations.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, object]) -> None:
        self.reason: BaseException | None = None
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, object]:
        thrown: BaseException | None = None
        while True:
            try:
                waits_for = self._coroutine.send(None) if thrown is None else self._coroutine.throw(thrown)
            except StopIteration as end:
                return end.value
            thrown = None
            try:
                yield waits_for
            except BaseException as error:  # noqa: BLE001 - whatever wakes the await goes on into the coroutine
                thrown, self.reason = self.reason or error, None
