"""What a task sees of its job, and the line that records it in unit tests."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, JsonValue

from longhaul import Cancelled, HandOver, Job, SoftTimeout
from longhaul.errors import Unstorable
from longhaul.testing import RecordingChannel, recording_job
from longhaul.values import MAX_DATA_BYTES, MAX_MESSAGE_BYTES, clean_text, find_not_finite


class Position(BaseModel):
    row: int


def test_a_job_knows_itself() -> None:
    id = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
    job, _ = recording_job(id=id, task="reports.build", checkpointed={"row": 7})
    assert (job.id, job.task, job.tenant, job.attempt, job.epoch) == (id, "reports.build", "default", 1, 1)
    assert job.checkpointed == {"row": 7}


@pytest.mark.parametrize(("said", "recorded"), [(0, 0), (0.5, 0.5), (1, 1), (-1, 0), (7, 1), (True, 1)])
def test_progress_stays_a_fraction(said: float, recorded: float) -> None:
    job, line = recording_job()
    job.progress(said, "half way", rows=3)
    assert line.fractions == [recorded]
    assert line.messages == ["half way"]


@pytest.mark.parametrize("said", [math.inf, -math.inf, math.nan])
def test_progress_that_is_not_finite_is_refused_at_the_call(said: float) -> None:
    job, line = recording_job()
    with pytest.raises(ValueError, match="number from 0 to 1"):
        job.progress(said)
    assert line.fractions == []


@pytest.mark.parametrize(("said", "message"), [("half", "x"), (None, "x"), (10**400, "x"), (0.5, None), (0.5, b"x")])
def test_progress_of_another_type_is_refused_at_the_call(said: Any, message: Any) -> None:
    job, line = recording_job()
    with pytest.raises(TypeError, match=r"job\.progress\(\) takes a"):
        job.progress(said, message)
    assert line.fractions == []


def test_a_checkpoint_is_json_or_a_model() -> None:
    job, line = recording_job()
    state: JsonValue = {"done": [1, 2, None]}
    job.checkpoint(state)
    job.checkpoint(Position(row=9))
    assert line.checkpoints == [{"done": [1, 2, None]}, {"row": 9}]


@dataclass
class Ratio:
    value: float


class Odd(BaseModel):
    value: Any


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


DEEP = nested(10_000)


@pytest.mark.parametrize(
    "bad",
    [
        {1, 2},
        object(),
        {"at": {1}},
        math.nan,
        [1, {"x": math.inf}],
        Ratio(math.nan),
        10**400,
        2**64,
        "caf\udce9",
        {"caf\udce9": 1},
        {1: 2},
        DEEP,
        nested(129),
    ],
)
def test_what_is_not_json_is_refused_in_a_unit_test_too(bad: object) -> None:
    job, line = recording_job()
    with pytest.raises(Unstorable):
        job.checkpoint(bad)  # type: ignore[arg-type]  # that is the test
    with pytest.raises(Unstorable):
        job.progress(0.5, rows=bad)  # type: ignore[arg-type]  # that is the test
    assert (line.checkpoints, line.fractions) == ([], [])
    job.log("an odd value", value=bad)  # type: ignore[arg-type]  # that is the test
    assert isinstance(line.logs[0][2]["value"], str)


@pytest.mark.parametrize("bad", [10**400, "caf\udce9", DEEP, object()])
def test_a_model_that_json_can_not_hold_is_refused(bad: Any) -> None:
    job, line = recording_job()
    with pytest.raises(Unstorable):
        job.checkpoint(Odd(value=bad))
    assert line.checkpoints == []


@pytest.mark.parametrize("message", ["caf\udce9.txt", "a\0b", "", "x" * 10_000_000, "\N{GRINNING FACE}" * 9000, 7])
def test_no_text_of_a_log_line_is_refused_and_each_is_bounded(message: Any) -> None:
    job, line = recording_job()
    job.log(message, level="x" * 100, field=message)
    ((level, text, fields),) = line.logs
    assert len(level.encode()) <= 16
    assert len(text.encode()) <= MAX_MESSAGE_BYTES
    assert len(orjson.dumps(fields)) <= MAX_DATA_BYTES
    assert "\0" not in text


def test_what_is_nested_as_deep_as_may_be_is_kept() -> None:
    job, line = recording_job()
    job.checkpoint(nested(128))
    job.progress(0.5, rows=nested(127))
    assert line.checkpoints == [nested(128)]


def test_fields_that_json_writes_longer_than_they_are_stay_bounded() -> None:
    job, line = recording_job()
    job.log("odd", **{f"{number}{chr(1) * 300}": "\x01" * 1000 for number in range(100)})
    assert len(orjson.dumps(line.logs[0][2])) <= MAX_DATA_BYTES


@dataclass
class Unset:
    row: None = None
    late: int = field(init=False)


def test_fields_with_an_attribute_that_is_not_set_are_logged_as_text() -> None:
    job, line = recording_job()
    job.log("odd", value=Unset())  # type: ignore[arg-type]  # that is the test
    assert list(line.logs[0][2]) == ["value"]


class Slow:
    def __str__(self) -> str:
        raise SoftTimeout


def test_a_soft_limit_that_finds_the_task_in_a_text_of_its_own_is_the_tasks() -> None:
    job, _ = recording_job()
    with pytest.raises(SoftTimeout):
        job.log("slow", value=Slow())  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize("value", [{math.nan}, deque([math.inf]), {"a": frozenset({math.nan})}, [(1.0, -math.inf)]])
def test_what_is_not_finite_is_found_in_every_collection(value: object) -> None:
    assert find_not_finite(value) is not None


class BadStr(Exception):
    def __str__(self) -> str:
        return self.args[0]  # type: ignore[no-any-return]  # that is the mistake


def test_a_text_that_can_not_be_read_is_named() -> None:
    assert "BadStr" in clean_text(BadStr(42))


@given(text=st.text(st.characters()), max_bytes=st.integers(1, 300))
def test_a_clean_text_is_never_longer_than_asked(text: str, max_bytes: int) -> None:
    cleaned = clean_text(text, max_bytes=max_bytes)
    assert len(cleaned.encode()) <= max_bytes
    is_storable = not any(one == "\0" or "\ud800" <= one <= "\udfff" for one in text)
    if is_storable and len(text.encode()) <= max_bytes:
        assert cleaned == text


def test_log_lines_keep_their_level_and_fields() -> None:
    job, line = recording_job()
    job.log("one bad row", level="warning", row=3)
    job.log("plain")
    assert line.logs == [("warning", "one bad row", {"row": 3}), ("info", "plain", {})]


def test_a_cancelled_job_raises_at_the_next_progress_or_checkpoint() -> None:
    job, line = recording_job()
    assert not job.cancelled
    line.cancelled = True
    assert job.cancelled
    with pytest.raises(Cancelled):
        job.progress(0.5)
    with pytest.raises(Cancelled):
        job.checkpoint({"row": 1})
    assert line.checkpoints == [{"row": 1}]


def test_a_draining_job_hands_over_at_its_checkpoint_not_before() -> None:
    job, line = recording_job()
    line.hand_over = True
    assert job.draining
    job.progress(0.5)
    with pytest.raises(HandOver):
        job.checkpoint({"row": 1})
    assert line.checkpoints == [{"row": 1}]


def test_cancel_goes_before_hand_over() -> None:
    job, _ = recording_job(channel=RecordingChannel(cancelled=True, hand_over=True))
    with pytest.raises(Cancelled):
        job.checkpoint(None)


def test_a_job_is_what_the_author_imports() -> None:
    job, _ = recording_job()
    assert isinstance(job, Job)
