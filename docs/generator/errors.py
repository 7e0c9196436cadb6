"""`reference/errors.md`: every error with its stable code, from the classes."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from docs.generator.markdown import code, table

from longhaul.errors import (
    JobStopped,
    LedgerUnavailable,
    LonghaulError,
    RequestError,
    ResultStoreUnavailable,
    TaskError,
)

MODULES = ("longhaul.client", "longhaul_api.problems", "longhaul_cli.app", "longhaul_cli.embedded")
"""Where further errors stand."""
_PAGE = """# Errors

Every error has a `code` that never changes, and a message that says what to do next. The Python client raises the class of
the code that the API answered with.

## What the API answers

As `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail` (the message), `code`, `instance` (the
request's id, also in `X-Request-Id`), and where fields are wrong `errors`, a list of `field` and `message`. A 503 carries
`Retry-After`.

{answered}

## What a task raises

Import them from `longhaul`. What each makes of the job: [states](states.md). Any other exception fails the job at once, with
the code `task_failed`; but `ConnectionError`, `TimeoutError` and what `@task(retry_on=...)` names pass like `Retryable`.

{raised}

A task meets the last three, and never raises them itself. `job.progress()` raises `Cancelled`, `job.checkpoint()` raises
`Cancelled` or `HandOver`, `SoftTimeout` may come anywhere. `Cancelled` and `HandOver` are no `Exception`, so that a task's
own `except Exception` lets them pass.

## What the platform puts into a job's error

| code | meaning |
|---|---|
| `invalid_params` | The worker's model refuses the params: another version of the task was published when they were checked. |
| `timeout` | The attempt ran past its hard limit, and was killed. |
| `protocol_error` | The task wrote to the connection between its process and the keeper; the message says what. |
| `not_asked_to_stop` | The task raised `Cancelled` or `HandOver`, and nobody had asked it to stop. |
| `crash` | The process died; `evidence` has the signal or the exit code, and the peak memory. |
| `out_of_memory` | The task raised MemoryError, or the kernel killed its process, or its whole container, for memory. |
| `lease_lost` | The worker was not heard of for a whole lease. |
| `drained` | The pod had to go, and the job did not hand over in time. |
| `result_too_large` | The result is larger than `LONGHAUL_RESULT_LIMIT_BYTES`, or, with a result store, than \
`LONGHAUL_STORED_RESULT_LIMIT_BYTES`. |
| `result_store_unavailable` | The result store did not take the result in `LONGHAUL_RESULT_STORE_WAIT_SECONDS`. |

## What the client, the command line and a starting process say

{others}"""


def page() -> str:
    """The page's Markdown, without its head."""
    for module in MODULES:
        import_module(module)
    known: list[type[LonghaulError]] = [LonghaulError, *_below(LonghaulError)]
    raised = [cls for cls in known if issubclass(cls, TaskError) and cls is not TaskError]
    answered = [
        cls
        for cls in known
        if issubclass(cls, (RequestError, LedgerUnavailable, ResultStoreUnavailable)) or cls is LonghaulError
    ]
    others = [cls for cls in known if not issubclass(cls, TaskError) and cls not in answered]
    stops = [(code(cls.__name__), "", _message(cls)) for cls in JobStopped.__subclasses__()]
    answered.sort(key=lambda cls: (cls.status, cls.code))
    others.sort(key=lambda cls: cls.code)  # which module was imported first is nobody's concern
    return _PAGE.format(
        answered=table(
            ("status", "code", "class", "message"),
            [(str(cls.status), code(cls.code), code(cls.__name__), _message(cls)) for cls in answered],
        ),
        raised=table(
            ("class", "code in the job's error", "meaning"),
            [*((code(cls.__name__), code(cls.code), _message(cls)) for cls in raised), *stops],
        ),
        others=table(
            ("code", "class", "message"), [(code(cls.code), code(cls.__name__), _message(cls)) for cls in others]
        ),
    )


def _below(cls: type[LonghaulError]) -> Iterator[type[LonghaulError]]:
    """The public subclasses that stand in Longhaul's packages, each after its base."""
    for one in cls.__subclasses__():
        if one.__module__.startswith("longhaul") and not one.__name__.startswith("_"):
            yield one
            yield from _below(one)


def _message(cls: type[BaseException]) -> str:
    return " ".join((cls.__doc__ or "").split())
