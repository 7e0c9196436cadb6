"""An outcome as figures with names and units: for a table, for JSON, and to compare two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from longhaul_cli.simulator.outcome import Outcome, Waits
from longhaul_cli.times import spell_seconds


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of an outcome."""

    key: str
    """Its name in JSON, with its unit."""
    name: str
    value: float
    unit: str = ""
    """`s`, `%`, `h` or a currency; a number of things where empty."""

    @property
    def text(self) -> str:
        """For people."""
        if self.unit == "s":
            return spell_seconds(self.value) if self.value else "0"
        if self.unit == "%":
            return f"{self.value:.1%}"
        if self.unit:
            return f"{self.value:,.1f} {self.unit}"
        return f"{self.value:,.0f}"


def figures(outcome: Outcome, *, wait_target_seconds: float) -> list[Figure]:
    """What an outcome comes to."""
    waits = Waits.of(outcome.all_waits, wait_target_seconds)
    found = [
        *_wait_figures(waits, wait_target_seconds),
        Figure(key="jobs_done", name="jobs done", value=outcome.done),
        Figure(key="jobs_unfinished", name="jobs that no pod could run", value=outcome.unfinished),
        Figure(key="interrupted", name="interruptions", value=outcome.interrupted),
        Figure(key="handed_over", name="of these handed over", value=outcome.handed_over),
        Figure(key="lost_seconds", name="work lost", value=outcome.lost_seconds, unit="s"),
        Figure(key="max_replicas", name="most pods", value=outcome.max_replicas),
        Figure(key="max_nodes", name="most nodes", value=outcome.max_nodes),
        Figure(key="pod_hours", name="pod hours", value=outcome.pod_hours, unit="h"),
        Figure(key="node_hours", name="node hours", value=outcome.node_hours, unit="h"),
        Figure(key="slot_utilization", name="slots in use", value=outcome.utilization, unit="%"),
    ]
    if outcome.node_hour_price:
        unit = outcome.currency or "of money"
        found.append(Figure(key="node_cost", name="cost of nodes", value=outcome.cost, unit=unit))
    return found


def recorded_figures(
    waits: Sequence[float], *, jobs: int, interrupted: int, wait_target_seconds: float
) -> list[Figure]:
    """What of the same is known of jobs that a ledger recorded."""
    summed = Waits.of(waits, wait_target_seconds)
    return [
        *_wait_figures(summed, wait_target_seconds),
        Figure(key="jobs_done", name="jobs done", value=jobs),
        Figure(key="interrupted", name="interruptions", value=interrupted),
    ]


def pool_rows(outcome: Outcome) -> list[tuple[str, str, str, str]]:
    """Of each pool: its name, its most pods, its hours of pods, its slots in use."""
    return [
        (name, f"{pool.max_replicas}", f"{pool.pod_hours:,.1f} h", f"{pool.utilization:.1%}")
        for name, pool in outcome.pools.items()
    ]


def queue_rows(outcome: Outcome, *, wait_target_seconds: float) -> list[tuple[str, ...]]:
    """Of each queue: its name, its jobs, and the median, 95th and 99th percentile of their waits."""
    rows = []
    for queue, waits in outcome.waits.items():
        summed = Waits.of(waits, wait_target_seconds)
        texts = (spell_seconds(wait) if wait else "0" for wait in (summed.p50, summed.p95, summed.p99))
        rows.append((queue, f"{summed.count:,}", *texts))
    return rows


def _wait_figures(waits: Waits, wait_target_seconds: float) -> list[Figure]:
    return [
        Figure(key="wait_p50_seconds", name="wait, median", value=waits.p50, unit="s"),
        Figure(key="wait_p95_seconds", name="wait, 95th percentile", value=waits.p95, unit="s"),
        Figure(key="wait_p99_seconds", name="wait, 99th percentile", value=waits.p99, unit="s"),
        Figure(key="wait_mean_seconds", name="wait, mean", value=waits.mean, unit="s"),
        Figure(key="wait_max_seconds", name="wait, longest", value=waits.max, unit="s"),
        Figure(
            key="over_target_share",
            name=f"waits over {spell_seconds(wait_target_seconds)}",
            value=waits.share_over_target,
            unit="%",
        ),
    ]


def change(before: Figure, after: Figure) -> str:
    """How much a figure changed; empty where it did not."""
    if before.text == after.text:
        return ""
    if before.unit == "%":
        return f"{(after.value - before.value) * 100:+.1f} points"
    if not before.value:
        return f"+{after.text}"
    share = after.value / before.value - 1
    return f"{share:+.0%}" if abs(share) < 10 else f"{share + 1:.0f} times"


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, as a pull request shows it; the first column is text and the others are figures."""
    lines = ["| " + " | ".join(columns) + " |", "|---|" + "---:|" * (len(columns) - 1)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)
