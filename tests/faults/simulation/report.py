"""Many seeds at once, and what came of all of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from statistics import median

from tests.faults.simulation import times
from tests.faults.simulation.world import Design, Outcome, simulate

BATCH = 25
"""Seeds that a process takes at a time."""


@dataclass
class Report:
    """What the simulation of many seeds found."""

    seeds: int = 0
    first: int = 0
    jobs: int = 0
    steps: int = 0
    """Steps of simulated processes, servers and messages."""
    events: int = 0
    """Events that the ledger numbered."""
    virtual_seconds: float = 0.0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    fortunes: Counter[str] = field(default_factory=Counter)
    """How attempts were meant to go."""
    endings: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    """Seconds from a lost worker (or from when database and broker were up, if later) to the job's next attempt."""
    violations: dict[int, str] = field(default_factory=dict)
    """By seed."""

    @property
    def recovery_median_seconds(self) -> float:
        return median(self.recoveries) if self.recoveries else 0.0

    @property
    def recovery_max_seconds(self) -> float:
        return max(self.recoveries, default=0.0)

    def add(self, outcome: Outcome) -> None:
        """Count one world in."""
        self.seeds += 1
        self.jobs += outcome.jobs
        self.steps += outcome.steps
        self.events += outcome.events
        self.virtual_seconds += outcome.virtual_seconds
        self.faults.update(outcome.faults)
        self.fortunes.update(outcome.fortunes)
        self.endings.update(outcome.endings)
        self.recoveries += outcome.recoveries
        if outcome.violation is not None:
            self.violations[outcome.seed] = outcome.violation

    def join(self, other: Report) -> None:
        """Count what another process found in."""
        self.seeds += other.seeds
        self.jobs += other.jobs
        self.steps += other.steps
        self.events += other.events
        self.virtual_seconds += other.virtual_seconds
        self.faults.update(other.faults)
        self.fortunes.update(other.fortunes)
        self.endings.update(other.endings)
        self.recoveries += other.recoveries
        self.violations.update(other.violations)

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"seeds             {self.seeds:,} from {self.first}"
        yield f"steps simulated   {self.steps:,} in {self.virtual_seconds / 3600:,.1f} h of virtual time"
        yield f"jobs              {self.jobs:,}, {self.events:,} events; " + _counts(self.endings)
        yield f"faults            {self.faults.total():,} of {len(self.faults)} kinds: " + _counts(self.faults)
        yield f"attempts          {self.fortunes.total():,}: " + _counts(self.fortunes)
        yield (
            f"recovery          {len(self.recoveries):,} lost jobs, median {self.recovery_median_seconds:.1f} s, "
            f"maximum {self.recovery_max_seconds:.2f} s (promised: {times.RECOVERY:g} s)"
        )
        yield f"violations        {len(self.violations)}"
        for seed, violation in sorted(self.violations.items()):
            yield f"  seed {seed}: {violation}"
        yield f"seconds           {self.seconds:.0f}"


def run_seeds(
    seeds: int, *, first: int = 0, seconds: float = 0.0, processes: int = 2, design: Design | None = None
) -> Report:
    """Simulate `seeds` worlds, and more until `seconds` have passed.

    One process runs them in order, in this one; several each take a batch at a time.
    """
    report, started = Report(first=first), time.monotonic()

    def batches() -> Iterator[range]:
        at = first
        while at < first + seeds or time.monotonic() < started + seconds:
            end = at + BATCH if at >= first + seeds else min(at + BATCH, first + seeds)
            yield range(at, end)
            at = end

    work = partial(_run_batch, design=design)
    if processes == 1:
        for batch in batches():
            report.join(work(batch))
    else:
        with ProcessPoolExecutor(processes) as pool:
            running: set[Future[Report]] = set()
            for batch in batches():
                running.add(pool.submit(work, batch))
                if len(running) == 2 * processes:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    _join(report, done)
            _join(report, running)
    report.seconds = time.monotonic() - started
    return report


def _join(report: Report, parts: Iterable[Future[Report]]) -> None:
    for part in parts:
        report.join(part.result())


def _run_batch(seeds: range, design: Design | None) -> Report:
    report = Report()
    for seed in seeds:
        report.add(simulate(seed, design or Design()))
    return report


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
