"""Values that the database refuses, or that nobody can read back, in whatever a task reports or returns."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, field_serializer
from tests.faults.mixed.hostile.acts import act
from tests.faults.mixed.hostile.errors import SURROGATE
from tests.faults.mixed.working import Done, Working

NAN, INFINITY, TINY = float("nan"), float("inf"), 1e-60
HUGE = 10**400
LARGE_BYTES = 5 * 1024 * 1024
"""More than a checkpoint and a result may have."""
DEPTH = 10_000


class Outcome(Done):
    """The result of a hostile job: its own, and whatever else."""

    model_config = ConfigDict(ser_json_inf_nan="constants")

    value: Any = None


class DumpRaises(BaseModel):
    x: int = 1

    @field_serializer("x")
    def _serialize(self, _x: int) -> int:
        raise KeyError("no PydanticSerializationError")


def deep() -> Any:
    """A list in a list in a list."""
    value: Any = []
    for _ in range(DEPTH):
        value = [value]
    return value


@act(*(f"progress.{name}" for name in ("nan", "infinity", "huge", "text", "tiny")))
def progress(work: Working) -> None:
    work.log()
    fractions = {"nan": NAN, "infinity": INFINITY, "huge": HUGE, "text": "half", "tiny": TINY}
    job: Any = work.job
    job.progress(fractions[_name(work)], work.payload.stamp)


@act("progress.no_message", "progress.odd_message", "progress.data_nan", "progress.data_deep")
def progress_message(work: Working) -> None:
    work.log()
    stamp, job = work.payload.stamp, work.job
    message: Any = {"no_message": None, "odd_message": f"{stamp} \0 {SURROGATE}"}.get(_name(work), stamp)
    data: dict[str, Any] = {"data_nan": {"x": NAN}, "data_deep": {"x": deep()}}.get(_name(work), {})
    job.progress(0.5, message, **data)


@act(*(f"log.{name}" for name in ("surrogate", "nul", "nan", "huge", "deep", "object", "no_text")))
def log(work: Working) -> None:
    stamp, job = work.payload.stamp, work.job
    texts: dict[str, Any] = {"surrogate": f"{stamp} {SURROGATE}", "nul": f"{stamp} \0", "no_text": 42}
    fields: dict[str, dict[str, Any]] = {
        "nan": {"x": NAN, "y": -INFINITY},
        "huge": {"x": HUGE},
        "deep": {"x": deep()},
        "object": {"x": object(), SURROGATE: b"\xff"},
    }
    job.log(texts.get(_name(work), stamp), **fields.get(_name(work), {}))


@act(*(f"checkpoint.{name}" for name in ("nan", "huge", "deep", "surrogate", "object", "large")))
def checkpoint(work: Working) -> None:
    work.log()
    states = {
        "nan": NAN,
        "huge": HUGE,
        "deep": deep(),
        "surrogate": SURROGATE,
        "object": object(),
        "large": "x" * LARGE_BYTES,
    }
    state: Any = {"step": 0, "digest": work.digest, "x": states[_name(work)]}
    work.job.checkpoint(state)


@act(*(f"result.{name}" for name in ("nan", "infinity", "huge", "deep", "surrogate", "nul", "large")))
def result(work: Working) -> Any:
    work.log()
    return {
        "nan": NAN,
        "infinity": -INFINITY,
        "huge": HUGE,
        "deep": deep(),
        "surrogate": SURROGATE,
        "nul": "a\0b",
        "large": "z" * LARGE_BYTES,
    }[_name(work)]


@act("result.none")
def no_result(work: Working) -> BaseModel:
    """Another model than the signature says."""
    return Nothing()


@act("result.dump_raises")
def dump_raises(work: Working) -> BaseModel:
    return Outcome(**work.result, value=DumpRaises())


class Nothing(BaseModel):
    pass


def _name(work: Working) -> str:
    """What the kind is called within its group."""
    return work.params.kind.partition(".")[2]
