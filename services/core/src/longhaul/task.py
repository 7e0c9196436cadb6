"""`@task`: what an author writes, and what Longhaul keeps of it."""

from __future__ import annotations

import importlib
import inspect
import math
import re
import typing
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from longhaul.errors import ConfigurationError
from longhaul.job import Job

Params = TypeVar("Params", bound=BaseModel)
Returned = TypeVar("Returned", bound=BaseModel | Coroutine[Any, Any, BaseModel])

NAME_PATTERN = r"^[a-z0-9]([a-z0-9._-]{0,126}[a-z0-9])?$"
_NAME = re.compile(NAME_PATTERN)


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """What the platform needs to know of a task. It is published as it stands: the API never sees the code."""

    name: str
    queue: str = "default"
    retries: int = 3
    """How often a transient error may be retried; the reference is 3 tries after the first."""
    timeout_seconds: float = 3600.0
    """Hard limit of one attempt: the process is killed."""
    soft_timeout_seconds: float | None = None
    """Raises `SoftTimeout` inside the task, so that it can save its state."""
    interruptible: bool = False
    """The task checkpoints: a pod that must go may ask it to hand over."""
    concurrency: int | None = None
    """At most this many running at once, over all workers."""
    max_interruptions: int = 5
    """How many attempts the platform may cost the job before it counts as the job's own doing."""
    backoff_seconds: float = 2.0
    backoff_max_seconds: float = 600.0
    version: str = "1"
    description: str = ""
    params_schema: dict[str, Any] = field(default_factory=dict)
    result_schema: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = [
            (not _NAME.fullmatch(self.name), f"name {self.name!r} must match {NAME_PATTERN}"),
            (not _NAME.fullmatch(self.queue), f"queue {self.queue!r} must match {NAME_PATTERN}"),
            (self.retries < 0, "retries must be 0 or more"),
            # JSON, and so the catalogue, knows no infinity.
            (not 0 < self.timeout_seconds < math.inf, "timeout must be more than 0 seconds, and finite"),
            (
                self.soft_timeout_seconds is not None and not 0 < self.soft_timeout_seconds < self.timeout_seconds,
                "soft_timeout must be more than 0 and less than timeout",
            ),
            (self.concurrency is not None and self.concurrency < 1, "concurrency must be 1 or more, or None"),
            (self.max_interruptions < 0, "max_interruptions must be 0 or more"),
            (
                not 0 <= self.backoff_seconds <= self.backoff_max_seconds < math.inf,
                "backoff must be between 0 and backoff_max, and both finite",
            ),
        ]
        wrong = [message for is_wrong, message in problems if is_wrong]
        if wrong:
            raise ConfigurationError(f"Task {self.name!r}: {'; '.join(wrong)}.")


@dataclass(frozen=True)
class Task(Generic[Params, Returned]):
    """A task function with its spec. Calling it calls the function, so that a unit test needs no platform."""

    spec: TaskSpec
    function: Callable[[Job, Params], Returned]
    params_model: type[Params]
    result_model: type[BaseModel]
    retry_on: tuple[type[Exception], ...] = ()
    """Errors that may pass, beside `Retryable`, `ConnectionError` and `TimeoutError`. All others end the job."""

    def __call__(self, job: Job, params: Params) -> Returned:
        return self.function(job, params)


class TaskDecorator(typing.Protocol):
    """What `@task(...)` is: a type checker sees the models through it."""

    def __call__(self, function: Callable[[Job, Params], Returned], /) -> Task[Params, Returned]: ...


def task(
    *,
    name: str | None = None,
    queue: str = "default",
    retries: int = 3,
    retry_on: tuple[type[Exception], ...] = (),
    timeout: float = 3600.0,
    soft_timeout: float | None = None,
    interruptible: bool = False,
    concurrency: int | None = None,
    max_interruptions: int = 5,
    backoff: float = 2.0,
    backoff_max: float = 600.0,
    version: str = "1",
) -> TaskDecorator:
    """Make a function `(Job, Params) -> Result` a task. Params and Result are pydantic models; all times in seconds.

    The name defaults to the function's with its module's last part: `documents.index`. Sync functions run in the
    process's main thread, async ones in an event loop of their own.

    Raises ConfigurationError where the signature or a limit can't be used.
    """

    def wrap(function: Callable[[Job, Any], Any]) -> Task[Any, Any]:
        params_model, result_model = _models(function)
        spec = TaskSpec(
            name=name or f"{function.__module__.rpartition('.')[2]}.{function.__name__}",
            queue=queue,
            retries=retries,
            timeout_seconds=timeout,
            soft_timeout_seconds=soft_timeout,
            interruptible=interruptible,
            concurrency=concurrency,
            max_interruptions=max_interruptions,
            backoff_seconds=backoff,
            backoff_max_seconds=backoff_max,
            version=version,
            description=inspect.getdoc(function) or "",
            params_schema=params_model.model_json_schema(),
            result_schema=result_model.model_json_schema(mode="serialization"),
        )
        return Task(spec, function, params_model, result_model, _classes(retry_on))

    return wrap


def _classes(retry_on: Any) -> tuple[type[Exception], ...]:
    if isinstance(retry_on, tuple) and all(inspect.isclass(one) and issubclass(one, Exception) for one in retry_on):
        return retry_on
    raise ConfigurationError(f"retry_on takes a tuple of exception classes, such as (OSError,), and not {retry_on!r}.")


def load_tasks(modules: Iterable[str]) -> dict[str, Task[Any, Any]]:
    """The tasks that stand in these modules, by name.

    Raises ConfigurationError where a module can't be imported, holds no task, or two tasks share a name.
    """
    tasks: dict[str, Task[Any, Any]] = {}
    for module_name in modules:
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise ConfigurationError(
                f"LONGHAUL_TASKS names the module {module_name!r}, which can't be imported: {error}."
            ) from error
        found = [value for value in vars(module).values() if isinstance(value, Task)]
        if not found:
            raise ConfigurationError(f"The module {module_name!r} in LONGHAUL_TASKS holds no @task function.")
        for one in found:
            known = tasks.setdefault(one.spec.name, one)
            if known is not one:
                raise ConfigurationError(f"Two tasks are named {one.spec.name!r}: give one another name=.")
    return tasks


def _models(function: Callable[..., Any]) -> tuple[type[Any], type[Any]]:
    usage = f"{function.__qualname__} must be (job: Job, params: SomeModel) -> SomeModel with pydantic models"
    try:
        hints = typing.get_type_hints(function)
    except NameError as error:
        raise ConfigurationError(f"{usage}; define the models at the top of their module: {error}.") from error
    names = list(inspect.signature(function).parameters)
    if len(names) != 2 or hints.get(names[0]) is not Job:
        raise ConfigurationError(f"{usage}; its first parameter is the Job.")
    params_model, result_model = hints.get(names[1]), hints.get("return")
    for model in (params_model, result_model):
        if not (inspect.isclass(model) and issubclass(model, BaseModel)):
            raise ConfigurationError(f"{usage}; found {model!r}.")
    return typing.cast("tuple[type[Any], type[Any]]", (params_model, result_model))
