"""`python -m tests.bench`: measure every row, print the table, write `build/bench.json`.

Exits with 0 also where a goal is missed, since the table says so; with 1 where a row could not be measured.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

from tests.bench import streams, submit, work
from tests.bench.process import ROOT
from tests.bench.report import number, table, write
from tests.bench.rows import Failure, Outcome, Row, measure
from tests.bench.stack import OTHERS, Stack

ROWS = [*submit.ROWS, *streams.ROWS, *work.ROWS]
DESCRIPTORS = 16_384
"""Two servers' worth of 3,000 streams, in one process."""
QUIET_CORES = 0.2
"""What other programs may use before they count as a disturbance."""


def main() -> int:
    """The exit code."""
    arguments = _arguments()
    rows = [row for row in ROWS if not arguments.only or row.name in arguments.only]
    _allow_many_sockets()
    began = time.monotonic()
    with Stack() as stack:
        stack.register()
        outcomes = [_measured(row, stack, arguments.runs) for row in rows]
    print(f"\n{table(outcomes)}\n")
    print(f"Medians of {arguments.runs} interleaved runs, in {(time.monotonic() - began) / 60:.1f} minutes.")
    others = max((one.cores[OTHERS] for one in outcomes if isinstance(one, Outcome)), default=0.0)
    if others > QUIET_CORES:
        print(f"Other programs used up to {others:.1f} cores meanwhile: measure again on a quiet machine.")
    write(outcomes, arguments.output)
    return 1 if any(isinstance(one, Failure) for one in outcomes) else 0


def _measured(row: Row, stack: Stack, runs: int) -> Outcome | Failure:
    print(f"{row.title} ...", end=" ", flush=True, file=sys.stderr)
    try:
        outcome = measure(row, stack, runs=runs)
    except Exception as error:  # noqa: BLE001  # whatever a row met, the other rows still count
        print(f"failed: {error}", file=sys.stderr)
        return Failure(row, f"{type(error).__name__}: {error}")
    print(f"{number(outcome.longhaul.median)} {row.unit}", file=sys.stderr)
    return outcome


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    names = [row.name for row in ROWS]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of: {', '.join(names)}")
    parser.add_argument("--runs", type=int, default=5, help="interleaved runs of each row (default: 5)")
    parser.add_argument("--quick", dest="runs", action="store_const", const=1, help="one run: does it work at all?")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench.json")
    return parser.parse_args()


def _allow_many_sockets() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        raise SystemExit(
            f"The bench needs {DESCRIPTORS} open files, and this user may have {hard}: raise `ulimit -Hn`."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, DESCRIPTORS), hard))


if __name__ == "__main__":
    raise SystemExit(main())
