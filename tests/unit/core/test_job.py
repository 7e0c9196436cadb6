"""What a task sees of its job, and the line that records it in unit tests."""

from __future__ import annotations

import math
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, JsonValue

from longhaul import Cancelled, HandOver, Job
from longhaul.testing import RecordingChannel, recording_job


class Position(BaseModel):
    row: int


def test_a_job_knows_itself() -> None:
    id = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
    job, _ = recording_job(id=id, task="reports.build", checkpointed={"row": 7})
    assert (job.id, job.task, job.tenant, job.attempt, job.epoch) == (id, "reports.build", "default", 1, 1)
    assert job.checkpointed == {"row": 7}


@pytest.mark.parametrize(
    ("said", "recorded"), [(0, 0), (0.5, 0.5), (1, 1), (-1, 0), (7, 1), (math.inf, 1), (-math.inf, 0), (math.nan, 0)]
)
def test_progress_stays_a_fraction(said: float, recorded: float) -> None:
    job, line = recording_job()
    job.progress(said, "half way", rows=3)
    assert line.fractions == [recorded]
    assert line.messages == ["half way"]


def test_a_checkpoint_is_json_or_a_model() -> None:
    job, line = recording_job()
    state: JsonValue = {"done": [1, 2, None]}
    job.checkpoint(state)
    job.checkpoint(Position(row=9))
    assert line.checkpoints == [{"done": [1, 2, None]}, {"row": 9}]


@pytest.mark.parametrize("bad", [{1, 2}, object(), {"at": uuid4()}])
def test_what_is_not_json_is_refused_in_a_unit_test_too(bad: object) -> None:
    job, line = recording_job()
    with pytest.raises(TypeError):
        job.checkpoint(bad)  # type: ignore[arg-type]  # that is the test
    with pytest.raises(TypeError):
        job.progress(0.5, rows=bad)  # type: ignore[arg-type]  # that is the test
    assert line.checkpoints == []


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
