"""What becomes of jobs on pods that must go."""

from __future__ import annotations

import pytest

from longhaul_cli.simulator.jobs import End, Way, end_on_going_pod, kept_seconds


def end(
    *, runs: float, began: float = 0.0, checkpoint: float | None = None, drain: float = 100, killed_at: float = 1000
) -> End:
    """The end of an attempt on a pod that gets SIGTERM at 50 s, with 30 s for hand-overs."""
    return end_on_going_pod(
        started=began,
        finishes=began + runs,
        checkpoint_seconds=checkpoint,
        now=50,
        drain_seconds=drain,
        handover_seconds=30,
        killed_at=killed_at,
    )


def test_a_job_may_finish_within_the_drain() -> None:
    assert end(runs=140) == End(140, Way.FINISHED, 140)


def test_one_that_can_not_hand_over_is_killed_before_the_drain_ends_and_begins_anew() -> None:
    assert end(runs=500) == End(148, Way.KILLED, 0)


def test_one_that_can_hands_over_at_its_next_checkpoint_once_it_is_asked() -> None:
    # It is asked 30 s before the drain ends, at 120 s.
    assert end(runs=500, checkpoint=50) == End(148, Way.KILLED, 100)  # the next would be at 150 s
    assert end(runs=500, checkpoint=35) == End(140, Way.HANDED_OVER, 140)
    assert end(runs=500, checkpoint=0) == End(120, Way.HANDED_OVER, 120)
    assert end(runs=500, checkpoint=20, began=5) == End(125, Way.HANDED_OVER, 120)


def test_one_that_could_hand_over_and_finishes_first_does_not() -> None:
    assert end(runs=119, checkpoint=0) == End(119, Way.FINISHED, 119)
    assert end(runs=130, checkpoint=35) == End(130, Way.FINISHED, 130)


def test_of_a_short_drain_the_first_half_is_for_finishing() -> None:
    assert end(runs=500, checkpoint=0, drain=20) == End(60, Way.HANDED_OVER, 60)
    assert end(runs=500, drain=4) == End(53, Way.KILLED, 0)  # a quarter of it is left for the last writes


def test_a_pod_that_is_killed_before_its_drain_is_over_cuts_its_jobs() -> None:
    assert end(runs=500, checkpoint=45, killed_at=100) == End(100, Way.CUT, 90)
    assert end(runs=500, killed_at=100) == End(100, Way.CUT, 0)
    assert end(runs=80, killed_at=100) == End(80, Way.FINISHED, 80)


@pytest.mark.parametrize(("worked", "every", "kept"), [(99, 30, 90), (99, 0, 99), (99, None, 0), (10, 30, 0)])
def test_the_last_checkpoint_keeps_what_was_done_before(worked: float, every: float | None, kept: float) -> None:
    assert kept_seconds(worked, every) == kept
