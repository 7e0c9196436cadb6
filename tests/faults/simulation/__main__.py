"""Run the simulation: `python -m tests.faults.simulation --seeds 50000`, or replay one world with `--seed N`."""

from __future__ import annotations

import argparse
import sys

from tests.faults.simulation.report import run_seeds
from tests.faults.simulation.world import simulate


def main() -> int:
    """1 where the promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=50_000, help="how many worlds, at least (default: 50000)")
    parser.add_argument("--seconds", type=float, default=0.0, help="go on for this long (default: 0)")
    parser.add_argument("--first", type=int, default=0, help="the first of their seeds (default: 0)")
    parser.add_argument("--processes", type=int, default=2, help="processes that share them (default: 2)")
    parser.add_argument("--seed", type=int, help="replay one world, and print all that happens in it")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        outcome = simulate(arguments.seed, tells=True)
        print(*outcome.story, sep="\n")
        print(f"seed {outcome.seed}: {outcome.violation or 'nothing was lost, doubled or cut short'}")
        return int(outcome.violation is not None)
    report = run_seeds(arguments.seeds, first=arguments.first, seconds=arguments.seconds, processes=arguments.processes)
    print(*report.lines(), sep="\n")
    if report.violations:
        print(f"replay one: python -m tests.faults.simulation --seed {min(report.violations)}")
    return int(bool(report.violations))


if __name__ == "__main__":
    sys.exit(main())
