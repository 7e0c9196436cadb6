"""`@task`: what it takes of a function, and what it refuses."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from longhaul import Job, task
from longhaul.errors import ConfigurationError
from longhaul.task import Task, TaskSpec, load_tasks
from longhaul.testing import recording_job


class Params(BaseModel):
    rows: int = 1


class Result(BaseModel):
    total: int


def build(job: Job, params: Params) -> Result:
    """Adds up.

    Twice.
    """
    job.progress(1.0)
    return Result(total=2 * params.rows)


def test_a_task_publishes_what_the_platform_needs() -> None:
    one = task(queue="reports", retries=1, timeout=60, soft_timeout=50, interruptible=True, concurrency=2)(build)
    assert isinstance(one, Task)
    assert one.spec == TaskSpec(
        name=f"{__name__.rpartition('.')[2]}.build",
        queue="reports",
        retries=1,
        timeout_seconds=60,
        soft_timeout_seconds=50,
        interruptible=True,
        concurrency=2,
        description="Adds up.\n\nTwice.",
        params_schema=Params.model_json_schema(),
        result_schema=Result.model_json_schema(mode="serialization"),
    )
    assert (one.params_model, one.result_model, one.retry_on) == (Params, Result, ())


def test_the_limits_have_the_references_defaults() -> None:
    spec = task(name="reports.build")(build).spec
    assert (spec.queue, spec.retries, spec.timeout_seconds, spec.max_interruptions) == ("default", 3, 3600, 5)
    assert (spec.soft_timeout_seconds, spec.interruptible, spec.concurrency) == (None, False, None)


def test_calling_a_task_calls_the_function() -> None:
    job, line = recording_job()
    assert task(name="reports.build")(build)(job, Params(rows=21)) == Result(total=42)
    assert line.fractions == [1.0]


async def build_async(job: Job, params: Params) -> Result:
    return Result(total=params.rows)


@pytest.mark.anyio
async def test_an_async_function_is_a_task_too() -> None:
    one = task(name="reports.build_async")(build_async)
    job, _ = recording_job()
    answer = one(job, Params(rows=3))
    assert not isinstance(answer, Result)
    assert await answer == Result(total=3)
    assert (one.params_model, one.result_model) == (Params, Result)


def test_a_task_names_the_errors_that_may_pass() -> None:
    assert task(name="reports.build", retry_on=(OSError,))(build).retry_on == (OSError,)


def no_parameters() -> Result:
    return Result(total=0)


def one_parameter(job: Job) -> Result:
    return Result(total=0)


def three_parameters(job: Job, params: Params, more: int) -> Result:
    return Result(total=0)


def without_job(params: Params, job: Job) -> Result:
    return Result(total=0)


def without_annotations(job, params):  # type: ignore[no-untyped-def]  # that is the test
    return Result(total=0)


def plain_params(job: Job, params: dict[str, int]) -> Result:
    return Result(total=0)


def no_result(job: Job, params: Params) -> None: ...


def without_result(job: Job, params: Params):  # type: ignore[no-untyped-def]  # that is the test
    return Result(total=0)


@pytest.mark.parametrize(
    "function",
    [
        no_parameters,
        one_parameter,
        three_parameters,
        without_job,
        without_annotations,
        plain_params,
        no_result,
        without_result,
    ],
)
def test_a_signature_that_cant_be_used_is_told_with_the_one_that_can(function: Any) -> None:
    with pytest.raises(ConfigurationError) as raised:
        task()(function)
    message = raised.value.message
    assert message.startswith(f"{function.__name__} must be (job: Job, params: SomeModel) -> SomeModel")
    assert message.endswith(".")


def test_models_that_only_a_function_knows_are_told_to_move() -> None:
    class Local(BaseModel):
        rows: int

    def local(job: Job, params: Local) -> Result:
        return Result(total=params.rows)

    with pytest.raises(ConfigurationError, match=r"define the models at the top of their module: .*'Local'"):
        task()(local)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"retries": -1}, "retries must be 0 or more"),
        ({"timeout": 0}, "timeout must be more than 0 seconds"),
        ({"timeout": -5}, "timeout must be more than 0 seconds"),
        ({"timeout": math.inf}, "timeout must be more than 0 seconds, and finite"),
        ({"timeout": math.nan}, "timeout must be more than 0 seconds, and finite"),
        ({"soft_timeout": 0}, "soft_timeout must be more than 0"),
        ({"timeout": 10, "soft_timeout": 10}, "less than timeout"),
        ({"timeout": 10, "soft_timeout": 11}, "less than timeout"),
        ({"concurrency": 0}, "concurrency must be 1 or more"),
        ({"max_interruptions": -1}, "max_interruptions must be 0 or more"),
        ({"backoff": -1}, "backoff must be between 0 and backoff_max"),
        ({"backoff": 5, "backoff_max": 4}, "backoff must be between 0 and backoff_max"),
        ({"backoff_max": math.inf}, "both finite"),
        ({"name": "Reports"}, "name 'Reports' must match"),
        ({"queue": "big jobs"}, "queue 'big jobs' must match"),
    ],
)
def test_a_limit_that_cant_be_used_is_told(limits: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        task(**{"name": "reports.build", **limits})(build)
    assert says in raised.value.message


@pytest.mark.parametrize("retry_on", [OSError, (OSError, "ValueError"), [OSError], (KeyboardInterrupt,)])
def test_errors_to_retry_on_are_a_tuple_of_classes(retry_on: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"retry_on takes a tuple of exception classes, such as \(OSError,\)"):
        task(name="reports.build", retry_on=retry_on)(build)


def test_all_that_is_wrong_with_the_limits_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"retries must be.*; timeout must be.*; concurrency must be"):
        task(name="reports.build", retries=-1, timeout=0, concurrency=0)(build)


@pytest.mark.parametrize("name", ["a", "a1", "reports.build", "a-b_c.d", "0", "a" * 128])
def test_names_that_may_be(name: str) -> None:
    assert TaskSpec(name=name, queue=name).name == name


@pytest.mark.parametrize("name", ["", ".a", "a.", "-a", "a-", "A", "a b", "ä", "a/b", "a\n", "a" * 129, "a\0"])
def test_names_that_may_not_be(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"name .* must match"):
        TaskSpec(name=name)
    with pytest.raises(ConfigurationError, match=r"queue .* must match"):
        TaskSpec(name="fine", queue=name)


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose Python files can be imported, and are forgotten again."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


HEAD = "from pydantic import BaseModel\nfrom longhaul import Job, task\nclass M(BaseModel): ...\n"


def test_modules_give_their_tasks_by_name(modules: Path) -> None:
    (modules / "some_tasks.py").write_text(
        f"{HEAD}@task()\ndef one(job: Job, params: M) -> M: ...\n@task(name='x.two')\ndef two(job: Job, params: M) -> M: ..."
    )
    (modules / "more_tasks.py").write_text("from some_tasks import one")  # the same task, seen twice
    tasks = load_tasks(["some_tasks", "more_tasks"])
    assert sorted(tasks) == ["some_tasks.one", "x.two"]
    assert all(name == one.spec.name for name, one in tasks.items())


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (None, "LONGHAUL_TASKS names the module 'given', which can't be imported: No module named 'given'."),
        ("import not_installed", "'given', which can't be imported: No module named 'not_installed'."),
        ("x = 1", "The module 'given' in LONGHAUL_TASKS holds no @task function."),
        (
            f"{HEAD}@task(name='a')\ndef one(job: Job, params: M) -> M: ...\n@task(name='a')\ndef two(job: Job, params: M) -> M: ...",
            "Two tasks are named 'a': give one another name=.",
        ),
        (f"{HEAD}@task(retries=-1)\ndef one(job: Job, params: M) -> M: ...", "Task 'given.one': retries must be 0"),
    ],
)
def test_modules_that_cant_be_used_are_told(modules: Path, source: str | None, says: str) -> None:
    if source is not None:
        (modules / "given.py").write_text(source)
    with pytest.raises(ConfigurationError) as raised:
        load_tasks(["given"])
    assert says in raised.value.message
