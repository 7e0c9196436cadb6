"""`python -m tests.mutants`: break one rule of the shipped code at a time, and see the named test fail.

First runs the named tests on the code as it is. Prints a table and writes `build/mutants.json`. Exits with 1 if a mutation
survives.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.mutants.catalogue import MUTATIONS
from tests.mutants.mutation import ROOT, DoesNotApply, Mutation
from tests.mutants.trial import Verdict, attempt, run_tests

FIGURES = ROOT / "build" / "mutants.json"


def main() -> int:
    """The exit code."""
    arguments = _arguments()
    chosen = [one for one in MUTATIONS if not arguments.only or one.name in arguments.only]
    if arguments.list:
        for one in chosen:
            print(f"{one.name}\n  {one.breaks}\n  {', '.join(one.files)}\n  {one.test}")
        return 0
    began = time.monotonic()
    try:
        for one in chosen:
            one.sources()
    except DoesNotApply as problem:
        print(f"{one.name} does not apply: {problem}", file=sys.stderr)
        return 1
    if failures := failures_unmutated([one.test for one in chosen], processes=arguments.processes):
        print("These tests fail on the code as it is, so they prove nothing:", *failures, sep="\n", file=sys.stderr)
        return 1
    print(f"mutants: {len(chosen)} tests pass on the code as it is", file=sys.stderr, flush=True)
    verdicts = _attempt_all(chosen, processes=arguments.processes)
    print(_table(verdicts))
    write(verdicts, FIGURES)
    survivors = [one.mutation.name for one in verdicts if not one.is_caught]
    caught = len(verdicts) - len(survivors)
    print(f"\n{caught} of {len(verdicts)} mutations caught in {time.monotonic() - began:.0f} s", *survivors, sep="\n  ")
    return 1 if survivors else 0


def failures_unmutated(tests: Sequence[str], *, processes: int) -> list[str]:
    """Run tests on the code as it is, those of one file together; what failed, a line each."""
    files = defaultdict(list)
    for test in dict.fromkeys(tests):
        files[test.partition("::")[0]].append(test)
    shares: list[list[str]] = [[] for _ in range(processes)]
    for file in sorted(files, key=lambda file: -len(files[file])):
        min(shares, key=len).extend(files[file])
    with ThreadPoolExecutor(processes) as pool:
        found = [one for outcomes in pool.map(run_tests, filter(None, shares)) for one in outcomes]
    failed = [f"{one.test} ({one.phase}): {one.message}" for one in found if one.outcome == "failed"]
    passed = {one.test for one in found if (one.phase, one.outcome) == ("call", "passed")}
    missing = [test for test in tests if not any(one == test or one.startswith(f"{test}[") for one in passed)]
    return failed or [f"{test} did not run: it was skipped, or is not there" for test in missing]


def write(verdicts: Sequence[Verdict], file: Path) -> None:
    """The figures as JSON."""
    file.parent.mkdir(exist_ok=True)
    rows = [
        {
            "name": one.mutation.name,
            "caught": one.is_caught,
            "test": one.mutation.test,
            "why": one.why,
            "seconds": round(one.seconds, 1),
        }
        for one in verdicts
    ]
    file.write_text(f"{json.dumps(rows, indent=2)}\n", "utf-8")


def _attempt_all(chosen: Sequence[Mutation], *, processes: int) -> list[Verdict]:
    verdicts: dict[str, Verdict] = {}
    with ThreadPoolExecutor(processes) as pool:
        for future in as_completed([pool.submit(attempt, one) for one in chosen]):
            verdict = future.result()
            verdicts[verdict.mutation.name] = verdict
            state = "caught" if verdict.is_caught else "NOT CAUGHT"
            line = f"mutants: {len(verdicts)}/{len(chosen)} {verdict.mutation.name}: {state} ({verdict.why})"
            print(line, file=sys.stderr, flush=True)
    return [verdicts[one.name] for one in chosen]


def _table(verdicts: Sequence[Verdict]) -> str:
    width = max(len(one.mutation.name) for one in verdicts)
    return "\n".join(
        f"{one.mutation.name:{width}}  {'caught    ' if one.is_caught else 'NOT CAUGHT'}  {one.seconds:5.1f} s  "
        f"{one.mutation.test if one.is_caught else one.why}"
        for one in verdicts
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    names = [one.name for one in MUTATIONS]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help="this one (may be repeated)")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    parser.add_argument("--processes", type=int, default=2, help="mutations that are tried at once (default: 2)")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
