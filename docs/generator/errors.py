"""`reference/errors.md`: every error with its stable code, from the classes."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from docs.generator.markdown import code, table

from longhaul.errors import JobStopped, LedgerUnavailable, LonghaulError, RequestError, TaskError

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

Import them from `longhaul`. What each makes of the job: [states](states.md).

{raised}

`Cancelled` and `HandOver` are raised by `job.progress()` and `job.checkpoint()`, and never by a task itself. They are no
`Exception`, so that a task's own `except Exception` lets them pass.

## What the client, the command line and a starting process say

{others}"""


def page() -> str:
    """The page's Markdown, without its head."""
    for module in MODULES:
        import_module(module)
    known: list[type[LonghaulError]] = [LonghaulError, *_below(LonghaulError)]
    raised = [cls for cls in known if issubclass(cls, TaskError)]
    answered = [cls for cls in known if issubclass(cls, RequestError | LedgerUnavailable) or cls is LonghaulError]
    others = [cls for cls in known if cls not in raised and cls not in answered]
    stops = [(code(cls.__name__), "", _message(cls)) for cls in JobStopped.__subclasses__()]
    answered.sort(key=lambda cls: (cls.status, cls.code))
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
    """The subclasses that stand in Longhaul's packages, each after its base."""
    for one in cls.__subclasses__():
        if one.__module__.startswith("longhaul"):
            yield one
            yield from _below(one)


def _message(cls: type[BaseException]) -> str:
    return " ".join((cls.__doc__ or "").split())
