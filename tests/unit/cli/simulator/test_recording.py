"""Recorded jobs, as a file and as jobs to simulate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from longhaul.errors import ConfigurationError
from longhaul.ledger.history import Recorded
from longhaul.states import State
from longhaul_cli.simulator.recording import Recording, read_lines, write_line

START = datetime(2026, 3, 2, tzinfo=UTC)


def recorded(number: int, **facts: Any) -> Recorded:
    """A job that was due so many minutes after the start, waited 5 s and ran for a minute."""
    due_at = START + timedelta(minutes=number)
    defaults: dict[str, Any] = {
        "job_id": UUID(int=number),
        "task": "reports.build",
        "queue": "reports",
        "priority": 0,
        "interruptible": False,
        "state": State.SUCCEEDED,
        "due_at": due_at,
        "started_at": due_at + timedelta(seconds=5),
        "run_seconds": 60.0,
        "busy_seconds": 60.0,
        "attempts": 1,
        "interrupted": 0,
        "checkpoints": 0,
    }
    return Recorded(**defaults | facts)


def test_a_file_holds_all_that_was_recorded(tmp_path: Path) -> None:
    jobs = [recorded(1), recorded(2, state=State.QUEUED, started_at=None, run_seconds=None, busy_seconds=None)]
    path = tmp_path / "history.jsonl"
    with path.open("wb") as file:
        for one in jobs:
            write_line(file, one)
    assert list(read_lines(path)) == jobs
    assert len(path.read_text("utf-8").splitlines()) == 2


def test_a_file_of_something_else_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"job": 1}\n', "utf-8")
    with pytest.raises(ConfigurationError, match="no recorded job in line 1"):
        list(read_lines(path))
    with pytest.raises(ConfigurationError, match="can't be read"):
        list(read_lines(tmp_path / "none"))


def test_jobs_are_due_when_they_were_in_truth() -> None:
    recording = Recording([recorded(9), recorded(3, priority=2), recorded(4, state=State.FAILED, run_seconds=7.0)])
    assert [(job.due_seconds, job.run_seconds, job.priority) for job in recording.jobs()] == [
        (0, 60, 2),
        (60, 7, 0),
        (360, 60, 0),
    ]
    assert (len(recording), recording.seconds, recording.queues) == (3, 360, {"reports"})
    assert recording.waits == [5, 5, 5]


def test_jobs_that_did_not_end_are_left_out_and_counted() -> None:
    recording = Recording(
        [
            recorded(1, state=State.RUNNING, run_seconds=None, busy_seconds=None),
            recorded(2, state=State.CANCELLED, started_at=None, run_seconds=None, busy_seconds=0.0),
            recorded(3),
        ]
    )
    assert (len(recording), recording.left_out) == (1, 2)


def test_work_that_was_handed_over_counts_and_work_that_was_lost_does_not() -> None:
    went_on = recorded(
        1, interruptible=True, attempts=3, interrupted=2, busy_seconds=300.0, run_seconds=50.0, checkpoints=5
    )
    began_anew = recorded(2, attempts=2, interrupted=1, busy_seconds=100.0)
    jobs = list(Recording([went_on, began_anew]).jobs())
    assert [(job.run_seconds, job.checkpoint_seconds) for job in jobs] == [(300, 50), (60, None)]


def test_a_job_that_could_hand_over_and_never_saved_anything_begins_anew() -> None:
    (job,) = Recording([recorded(1, interruptible=True)]).jobs()
    assert job.checkpoint_seconds is None
