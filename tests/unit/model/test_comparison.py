"""What counts as close."""

from __future__ import annotations

import pytest
from tests.model.comparison import Comparison
from tests.model.workload import GUIDE


def test_equal_curves_are_no_distance_apart() -> None:
    assert Comparison(real=[1, 5, 9], simulated=[1, 5, 9]).mean_absolute_error == 0


def test_the_distance_is_a_share_of_the_real_mean() -> None:
    assert Comparison(real=[10, 10], simulated=[8, 12]).mean_absolute_error == pytest.approx(0.2)


def test_the_longer_curve_is_cut() -> None:
    assert Comparison(real=[10, 10, 99], simulated=[10, 10]).mean_absolute_error == 0


def test_the_first_second_with_so_many() -> None:
    comparison = Comparison(real=[1, 1, 4], simulated=[1, 2, 3])
    assert comparison.seconds_to(2) == (2, 1)
    assert comparison.seconds_to(4) == (2, None)


def test_both_sides_get_the_same_jobs_in_order() -> None:
    jobs = GUIDE.jobs()
    assert jobs == GUIDE.jobs()
    assert jobs == sorted(jobs, key=lambda job: job.due_seconds)
    assert len(jobs) == pytest.approx(GUIDE.burst + GUIDE.jobs_per_second * GUIDE.stream_seconds, rel=0.05)
