"""Run one claimed job in a pool child: validate, call the task function, and say how it ended."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Awaitable, Coroutine, Generator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from opentelemetry.trace import StatusCode
from pydantic import BaseModel, ValidationError
from structlog.contextvars import bound_contextvars

from longhaul import telemetry
from longhaul.errors import Cancelled, HandOver, LonghaulError, Permanent, Retryable, SoftTimeout
from longhaul.job import Job
from longhaul.states import Ending
from longhaul.task import Task
from longhaul_worker.line import KeeperLine

TRANSIENT_ERRORS = (Retryable, ConnectionError, TimeoutError)
"""Worth another try whatever the task; a task adds its own with `retry_on`. Every other error is permanent."""


_PLATFORM = (__name__, "asyncio.runners", "asyncio.base_events")
"""Modules whose frames come before the task's own."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an attempt ended."""

    ending: Ending
    result: str | None = None
    """JSON text."""
    error: dict[str, Any] | None = None
    delay_seconds: float | None = None


def answer_doorbell(queue: str, tasks: Mapping[str, Task[Any, Any]], line: KeeperLine) -> None:
    """Ask the keeper for a job of this queue and, where there is one, run it to its end."""
    claim = line.claim(queue)
    if claim is None:
        return
    job = Job(
        id=UUID(claim["job_id"]),
        task=claim["task"],
        tenant=claim["tenant"],
        attempt=claim["epoch"],
        epoch=claim["epoch"],
        checkpointed=claim["checkpoint"],
        line=line,
    )
    with (
        bound_contextvars(job_id=str(job.id), epoch=job.epoch, queue=queue),  # on whatever the task logs
        telemetry.span(
            f"run {job.task}", parent=claim["trace_context"], job_id=str(job.id), epoch=job.epoch, queue=queue
        ) as span,
    ):
        outcome = run(tasks[job.task], job, claim["params"], line)
        span.set_attribute("ending", outcome.ending)
        if outcome.error is not None:
            span.set_status(StatusCode.ERROR, outcome.error["message"])
    line.finish(outcome.ending, result=outcome.result, error=outcome.error, delay=outcome.delay_seconds)


def run(task: Task[Any, Any], job: Job, params: Any, line: KeeperLine) -> Outcome:
    """Call the task function. Whatever it raises becomes an outcome."""
    transient: tuple[type[Exception], ...] = (*TRANSIENT_ERRORS, *task.retry_on)
    try:
        parsed = task.params_model.model_validate(params)
    except ValidationError as error:
        # Another try would meet the same params.
        return _failure(Ending.PERMANENT, error, code="invalid_params")
    try:
        result = _call(task, job, parsed, line)
        return Outcome(ending=Ending.SUCCEEDED, result=_encode(task, result))
    except Cancelled:
        return Outcome(ending=Ending.CANCELLED)
    except HandOver:
        return Outcome(ending=Ending.HANDED_OVER)
    except SoftTimeout as error:
        return _failure(Ending.TIMED_OUT, error, code="soft_timeout")
    except MemoryError as error:
        return _failure(Ending.CRASHED, error, code="out_of_memory")
    except transient as error:
        job.log(f"{type(error).__name__}: {error}", level="warning", **_traceback(error))
        return _failure(Ending.TRANSIENT, error, delay=getattr(error, "delay_seconds", None))
    except BaseException as error:  # noqa: BLE001 - SystemExit too is the task's own end, not this process's
        job.log(f"{type(error).__name__}: {error}", level="error", **_traceback(error))
        return _failure(Ending.PERMANENT, error)


def _traceback(error: BaseException) -> dict[str, str]:
    """Where in the task's own code it came from; nothing for what the task raised on purpose."""
    if isinstance(error, LonghaulError):
        return {}
    own = error.__traceback__
    while own is not None and own.tb_frame.f_globals.get("__name__") in _PLATFORM:
        own = own.tb_next
    return {"traceback": "".join(traceback.format_exception(type(error), error, own))}


def _failure(ending: Ending, error: BaseException, *, code: str | None = None, delay: float | None = None) -> Outcome:
    details = {
        "code": code or (error.code if isinstance(error, LonghaulError) else "task_failed"),
        "message": str(error) or type(error).__name__,
        "type": type(error).__name__,
    }
    return Outcome(ending=ending, error=details, delay_seconds=delay)


def _encode(task: Task[Any, Any], result: object) -> str:
    if not isinstance(result, task.result_model):
        raise Permanent(
            f"The task returned {type(result).__name__}, and its signature says {task.result_model.__name__}."
        )
    assert isinstance(result, BaseModel)
    return result.model_dump_json()


def _call(task: Task[Any, Any], job: Job, params: BaseModel, line: KeeperLine) -> object:
    if not inspect.iscoroutinefunction(task.function):
        return task.function(job, params)
    return asyncio.run(_call_async(task.function(job, params), line))


async def _call_async(coroutine: Coroutine[Any, Any, object], line: KeeperLine) -> object:
    loop, current = asyncio.get_running_loop(), asyncio.current_task()
    assert current is not None
    stoppable = _Stoppable(coroutine)

    def stop() -> None:
        stoppable.reason = SoftTimeout()
        loop.call_soon_threadsafe(current.cancel)

    line.on_soft_timeout = stop
    try:
        return await stoppable
    finally:
        line.on_soft_timeout = None


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
