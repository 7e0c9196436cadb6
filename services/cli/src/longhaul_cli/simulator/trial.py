"""One try: jobs of one source on one scenario, or on two to compare, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from longhaul_cli.simulator.figures import Figure, change, figures, pool_rows, queue_rows
from longhaul_cli.simulator.jobs import Job
from longhaul_cli.simulator.outcome import Outcome, Waits
from longhaul_cli.simulator.plots import thin
from longhaul_cli.simulator.report import Table, write_report
from longhaul_cli.simulator.scenario import Scenario
from longhaul_cli.times import spell_seconds

_SAMPLES = 5000
"""In a run's time series, at most about so many."""
_TOLD_SAMPLES = 1000
"""Of these in JSON."""
POOL_COLUMNS = ("pool", "most pods", "pod hours", "slots in use")
QUEUE_COLUMNS = ("queue", "jobs", "wait, median", "95th", "99th")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Jobs to simulate."""

    name: str
    queues: set[str]
    seconds: float
    """For so long they come."""
    jobs: Callable[[], Iterable[Job]]
    """The same ones each time."""
    recorded: Sequence[Figure] = ()
    """What became of them in truth."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A scenario, and what came of it."""

    name: str
    scenario: Scenario
    outcome: Outcome
    figures: Sequence[Figure]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What was tried."""

    source: Source
    runs: Sequence[Run]
    """One, or what was before and what is after."""
    seed: int
    wait_target_seconds: float

    @property
    def compares(self) -> bool:
        return len(self.runs) > 1

    def table(self) -> Table:
        """A row for each figure; with what changed where two are compared."""
        columns = [("recorded", self.source.recorded)] if self.source.recorded else []
        columns += [(run.name, run.figures) for run in self.runs]
        by_key = [{figure.key: figure for figure in found} for _, found in columns]
        rows = []
        for figure in self.runs[-1].figures:
            cells = [known[figure.key].text if figure.key in known else "" for known in by_key]
            if self.compares:
                cells.append(change(by_key[-2][figure.key], figure))
            rows.append([figure.name, *cells])
        names = ["figure", *(name for name, _ in columns), *(["change"] if self.compares else [])]
        return Table(title="Figures", columns=names, rows=rows)

    def details(self) -> list[Table]:
        """The pools and the queues of each run."""
        tables = []
        for run in self.runs:
            suffix = f", {run.name}" if self.compares else ""
            queues = queue_rows(run.outcome, wait_target_seconds=self.wait_target_seconds)
            tables.append(Table(title=f"Pools{suffix}", columns=POOL_COLUMNS, rows=pool_rows(run.outcome)))
            tables.append(Table(title=f"Queues{suffix}", columns=QUEUE_COLUMNS, rows=queues))
        return tables

    def write_report(self, path: Path) -> None:
        """As a file. Raises ConfigurationError."""
        tried = "; ".join(f"{run.name}: {run.scenario.name}" for run in self.runs)
        write_report(
            path,
            title="Longhaul, simulated",
            about=f"Jobs of {self.source.name} over {spell_seconds(self.source.seconds)}, seed {self.seed}. {tried}.",
            tables=[self.table(), *self.details()],
            outcomes=[(f"{run.name}: {run.scenario.name}", run.outcome) for run in self.runs],
        )

    def document(self) -> dict[str, Any]:
        """All of it, for JSON."""
        told: dict[str, Any] = {
            "jobs_of": self.source.name,
            "seconds": self.source.seconds,
            "seed": self.seed,
            "wait_target_seconds": self.wait_target_seconds,
        }
        if self.source.recorded:
            told["recorded"] = {figure.key: figure.value for figure in self.source.recorded}
        return told | {run.name: self._told(run) for run in self.runs}

    def _told(self, run: Run) -> dict[str, Any]:
        outcome = run.outcome
        return {
            "values": run.scenario.name,
            "currency": outcome.currency,
            **{figure.key: figure.value for figure in run.figures},
            "pools": {
                name: {**asdict(pool), "slot_utilization": pool.utilization} for name, pool in outcome.pools.items()
            },
            "queues": {
                queue: asdict(Waits.of(waits, self.wait_target_seconds)) for queue, waits in outcome.waits.items()
            },
            "samples": [
                sample._asdict() | {"pools": {name: pool._asdict() for name, pool in sample.pools.items()}}
                for sample in thin(outcome.samples, _TOLD_SAMPLES)
            ],
        }


def try_out(
    source: Source, scenarios: Sequence[tuple[str, Scenario]], *, seed: int, wait_target_seconds: float
) -> Trial:
    """Simulate the source's jobs on each scenario. Raises ConfigurationError for what would wait for ever."""
    for _, scenario in scenarios:
        scenario.check(source.queues)
    runs = []
    for name, scenario in scenarios:
        outcome = scenario.run(
            source.jobs(),
            seed=seed,
            until_seconds=source.seconds,
            sample_seconds=max(1.0, source.seconds / _SAMPLES),
        )
        told = figures(outcome, wait_target_seconds=wait_target_seconds)
        runs.append(Run(name=name, scenario=scenario, outcome=outcome, figures=told))
    return Trial(source=source, runs=runs, seed=seed, wait_target_seconds=wait_target_seconds)
