"""The simulation of faults: nothing breaks; what is broken on purpose is found; and a seed replays step by step.

50,000 worlds instead of these: `python -m tests.faults.simulation`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.simulation import times
from tests.faults.simulation.broken import BROKEN, Broken
from tests.faults.simulation.faults import FAULTS
from tests.faults.simulation.report import run_seeds
from tests.faults.simulation.world import Outcome, simulate

SEEDS = 300
ROOT = Path(__file__).parents[2]


def test_whatever_strikes_nothing_is_lost_doubled_or_cut_short() -> None:
    report = run_seeds(SEEDS, processes=1)
    assert report.violations == {}
    assert report.seeds == SEEDS
    assert report.jobs > 2 * SEEDS
    assert report.recovery_max_seconds <= times.RECOVERY
    missing = {fault.__name__ for fault in FAULTS} - report.faults.keys()
    assert not missing, "these faults never struck"
    assert min(report.endings[state] for state in ("succeeded", "failed", "dead", "cancelled")) > 0
    assert any("violations        0" in line for line in report.lines())


def search(broken: Broken) -> Outcome:
    """The first world in which a broken rule shows."""
    for seed in range(broken.first_seed, broken.first_seed + broken.within_seeds):
        outcome = simulate(seed, broken.design)
        if outcome.violation is not None:
            return outcome
    raise AssertionError(f"not found in {broken.within_seeds} seeds")


@pytest.mark.parametrize("name", BROKEN)
def test_a_rule_that_is_broken_is_found_and_replays(name: str) -> None:
    broken = BROKEN[name]
    found = search(broken)
    assert found.violation is not None
    assert broken.shows_as in found.violation
    told, again = (simulate(found.seed, broken.design, tells=True) for _ in range(2))
    assert told.story == again.story
    assert told.story[-1].endswith(found.violation.partition(": ")[2])
    assert told.violation == found.violation
    assert told.steps == found.steps


def test_a_world_is_the_same_in_every_process() -> None:
    """Nothing in it hangs on hashes, addresses or the time of day."""

    def replay(hash_seed: str) -> str:
        command = [sys.executable, "-m", "tests.faults.simulation", "--seed", "4242"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout

    first, second = replay("1"), replay("2")
    assert first == second
    assert first.endswith("seed 4242: nothing was lost, doubled or cut short\n")
    assert len(first.splitlines()) > 20
