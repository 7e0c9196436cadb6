"""`reference/task.md`: what an author of tasks writes and sees, from `longhaul.task` and `longhaul.job`."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any

from docs.generator.attributes import attributes_of, instance_attributes_of
from docs.generator.markdown import code, table

import longhaul.testing
from longhaul import Job, task
from longhaul.task import Task, TaskSpec

_PAGE = """# Tasks

```python
from longhaul import Job, task
```

## `@task`

{decorator}

Every option is given by its name: `@task(queue="reports", retries=5)`.

{options}

`LONGHAUL_TASKS` names the modules whose tasks a worker runs. The first line of a function's docstring is what
`longhaul tasks` shows of it. The JSON Schemas of both models are published with it.

## `Job`

{job}

{attributes}

{methods}

## Errors

[Errors](errors.md#what-a-task-raises) has those that a task may raise or meet, [states](states.md) what each makes of the job.

## In unit tests

{testing}

### {recording_job}

{recording}

`RecordingChannel`: {channel}

{recorded}"""
_OPTIONS = {
    "name": "What clients submit.",
    "queue": "Where its jobs wait. A worker serves the queues in `LONGHAUL_QUEUES`.",
    "backoff": "Wait before the first retry; it doubles with each further one.",
    "backoff_max": "The longest such wait.",
    "version": "For people: the newest registration of a name wins, whatever its version.",
}
_ATTRIBUTES = {
    "id": "The job's UUID.",
    "task": "The name of the task.",
    "tenant": "Whose job it is: the tenant of the key that submitted it.",
}
_RECORDED = {
    "fractions": "What `progress` was told, in order.",
    "messages": "Its messages.",
    "checkpoints": "What `checkpoint` was given, as JSON gives it back.",
    "logs": "Level, message and fields of each line.",
    "cancelled": "Set it, and `progress` and `checkpoint` raise Cancelled.",
    "hand_over": "Set it, and `checkpoint` raises HandOver.",
}
"""What the code explains by its names alone."""


def page() -> str:
    """The page's Markdown, without its head."""
    methods = [(name, one) for name, one in vars(Job).items() if inspect.isfunction(one) and not name.startswith("_")]
    recording = longhaul.testing.recording_job
    return _PAGE.format(
        decorator=inspect.getdoc(task),
        options=table(("option", "default", "meaning"), _options()),
        job=inspect.getdoc(Job),
        attributes=table(
            ("attribute", "meaning"),
            [(code(f"job.{one.name}"), one.text or _ATTRIBUTES[one.name]) for one in instance_attributes_of(Job)],
        ),
        methods="\n\n".join(
            f"### {code(f'job.{name}{_signature(one)}')}\n\n{inspect.getdoc(one)}" for name, one in methods
        ),
        testing=inspect.getdoc(longhaul.testing),
        recording_job=code(f"{recording.__name__}{_signature(recording)}"),
        recording=inspect.getdoc(recording),
        channel=inspect.getdoc(longhaul.testing.RecordingChannel),
        recorded=table(
            ("attribute", "meaning"),
            [
                (code(one.name), one.text or _RECORDED[one.name])
                for one in attributes_of(longhaul.testing.RecordingChannel)
            ],
        ),
    )


def _options() -> list[tuple[str, str, str]]:
    texts = {one.name.removesuffix("_seconds"): one.text for one in (*attributes_of(TaskSpec), *attributes_of(Task))}
    return [
        (code(name), code(repr(one.default)), texts.get(name) or _OPTIONS[name])
        for name, one in inspect.signature(task).parameters.items()
    ]


def _signature(function: Any) -> str:
    """The parameters as their author wrote them, without `self`."""
    definition = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(definition, ast.FunctionDef)
    parameters = definition.args
    parameters.args = [one for one in parameters.args if one.arg != "self"]
    return f"({ast.unparse(parameters)})"
