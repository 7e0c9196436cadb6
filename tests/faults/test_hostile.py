"""Hostile tasks on one real worker of four slots, each between honest neighbours: every kind that shows one fault at a time.

What must become of each kind is in `mixed/hostile/kinds.py`. The checker of the mixed run judges: it recomputes all that any
job reported, looks for jobs that nobody runs and for processes that were left behind, and asks every slot to serve at the end.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.faults.mixed.checker import check
from tests.faults.mixed.run import Settings, run
from tests.faults.mixed.seam import SeamSide, parade

TIMES = 3
"""With another variant each time: other exit codes, other signals, other moments."""


def judge(fault: str, logs: Path) -> list[str]:
    """Everything that must not be, of each kind of hostile job that shows this fault."""
    settings = Settings(seed=1, minutes=5, jobs_per_second=100, settle_seconds=90, waiting_at_most=20)
    outcome = run(SeamSide, settings, [], parade(fault, times=TIMES), logs=logs)
    return [f"{one.promise}: {one.sentence}" for one in check(outcome.history).violations]


@pytest.mark.fault("F43")
@pytest.mark.timeout(600)
def test_exceptions_that_signals_raise_mix_up_no_answers(tmp_path: Path) -> None:
    assert judge("F43", tmp_path) == []


@pytest.mark.fault("F44")
@pytest.mark.timeout(600)
def test_whatever_leaves_a_task_is_one_end_with_a_reason(tmp_path: Path) -> None:
    assert judge("F44", tmp_path) == []


@pytest.mark.fault("F45")
@pytest.mark.timeout(600)
def test_a_value_that_cannot_be_stored_ends_one_attempt(tmp_path: Path) -> None:
    assert judge("F45", tmp_path) == []


@pytest.mark.fault("F46")
@pytest.mark.timeout(600)
def test_nothing_outlives_its_attempt(tmp_path: Path) -> None:
    assert judge("F46", tmp_path) == []


@pytest.mark.fault("F47")
@pytest.mark.timeout(600)
def test_a_child_that_speaks_out_of_turn_is_not_heard(tmp_path: Path) -> None:
    assert judge("F47", tmp_path) == []


@pytest.mark.fault("F48")
@pytest.mark.timeout(600)
def test_floods_drown_nobody(tmp_path: Path) -> None:
    assert judge("F48", tmp_path) == []


@pytest.mark.fault("F58")
@pytest.mark.timeout(600)
def test_a_process_may_end_by_any_signal_and_any_exit_code(tmp_path: Path) -> None:
    assert judge("F58", tmp_path) == []
