"""Assumptions from jobs that ran."""

from __future__ import annotations

import pytest

from longhaul.sizing.assumptions import parse
from longhaul.sizing.measured import Run, measure


def test_the_busiest_five_minutes_are_the_peak() -> None:
    quiet = [Run(due=at, started=at + 1, run_seconds=10) for at in range(0, 300, 10)]
    busy = [Run(due=at, started=at + 1, run_seconds=30) for at in range(300, 600, 5)]
    found = measure([*quiet, *busy])
    assert found["jobs_per_second"] == 60 / 300
    assert found["task_seconds"] == pytest.approx((30 * 10 + 60 * 30) / 90)
    assert found["max_job_seconds"] == 30
    assert found["task_seconds_cv"] == pytest.approx(0.4041, abs=0.001)


def test_who_waited_at_the_same_time() -> None:
    runs = [Run(0, 10, 1), Run(1, 5, 1), Run(2, 3, 1), Run(6, 6, 1), Run(20, 21, 1)]
    assert measure(runs)["waiting_jobs"] == 3


def test_what_was_measured_is_what_a_size_takes() -> None:
    rest = {"request_rate_per_second": 10, "task_cpu": 0.5, "task_memory_gib": 0.5}
    assert parse({**measure([Run(0, 1, 60)]), **rest}).offered == pytest.approx(60 / 300)


def test_nothing_ran() -> None:
    with pytest.raises(ValueError, match="no job has run"):
        measure([])
