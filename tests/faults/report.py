"""The report of `make faults`: a table that a sceptic can check, as `build/faults.md`, and all figures as JSON."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.faults.mixed.checker import PROMISES, Violation
from tests.faults.mixed.faults import KINDS
from tests.faults.mixed.history import History
from tests.faults.mixed.hostile import kinds as hostile
from tests.faults.mixed.recovery import Figures

SHOWN = 10
"""Violations of each promise that the report has room for; the JSON has all."""


@dataclass
class Part:
    """A part of `make faults` that another program did: the simulation, or the tests of single faults."""

    name: str
    command: str
    passed: bool
    seconds: float
    tail: list[str]
    """The last lines that it printed."""


@dataclass
class Side:
    """A mixed run of one side."""

    name: str
    seed: int
    minutes: float
    figures: Figures
    sizes: dict[str, int]
    faults: dict[str, int]
    settle_seconds: float
    """How long jobs had to end once nothing was broken any more."""
    settled_seconds: float | None
    left_in_queue: int
    """Messages in Redis at the end."""
    violations: list[Violation] = field(default_factory=list)
    """Of Longhaul only: the blueprint promises nothing."""
    errors: list[str] = field(default_factory=list)
    checks: dict[str, int] = field(default_factory=dict)
    """How much the checker looked at."""
    hostile: dict[str, int] = field(default_factory=dict)
    """Hostile jobs by kind."""

    @property
    def is_blueprint(self) -> bool:
        return self.name.startswith("blueprint")


@dataclass
class Report:
    versions: dict[str, str]
    parts: list[Part] = field(default_factory=list)
    sides: list[Side] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        ours = [side for side in self.sides if not side.is_blueprint]
        return all(part.passed for part in self.parts) and not any(side.violations or side.errors for side in ours)

    def write(self, folder: Path) -> None:
        """As `faults.md` and `faults.json` in a folder."""
        folder.mkdir(exist_ok=True)
        (folder / "faults.md").write_text(self.markdown(), "utf-8")
        record = {**asdict(self), "passed": self.passed}
        (folder / "faults.json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", "utf-8")

    def markdown(self) -> str:
        blocks = ["# Faults", f"**{'Everything held.' if self.passed else 'Something did not hold.'}**"]
        blocks.append(", ".join(f"{name} {number}" for name, number in self.versions.items()))
        if self.parts:
            head = ("what", "result", "minutes", "again with")
            blocks.append(_table([head, *map(_part_cells, self.parts)]))
            blocks += ["```text\n" + "\n".join(part.tail) + "\n```" for part in self.parts]
        blocks += [block for side in self.sides if not side.is_blueprint for block in _ours(side)]
        under_faults = [side for side in self.sides if side.faults]
        if any(side.is_blueprint for side in self.sides):
            blocks += _comparison(under_faults)
        if under_faults:
            blocks += ["## Faults of the mixed run", _faults(under_faults)]
        return "\n\n".join(blocks) + "\n"


def sizes(history: History) -> dict[str, int]:
    """How much a history holds."""
    return {
        "requests": len(history.requests),
        "jobs": len(history.jobs),
        "events": len(history.events),
        "executions": len(history.executions),
        "faults": len(history.faults),
    }


def hostile_jobs(history: History) -> dict[str, int]:
    """How many hostile jobs of each kind were ordered."""
    counts = Counter(order.kind for order in history.orders if order.is_hostile)
    return {kind: counts[kind] for kind in hostile.KINDS if kind in counts}


def kinds(history: History) -> dict[str, int]:
    """How often each kind of fault was injected."""
    return dict(sorted(Counter(fault.kind for fault in history.faults).items()))


def versions(*, postgres: str, valkey: str) -> dict[str, str]:
    packages = {name: version(name) for name in ("celery", "kombu", "redis", "longhaul")}
    return {"Python": platform.python_version(), **packages, "PostgreSQL": postgres, "Valkey": valkey}


def _part_cells(part: Part) -> tuple[str, ...]:
    return part.name, "held" if part.passed else "FAILED", f"{part.seconds / 60:.1f}", f"`{part.command}`"


def _ours(side: Side) -> list[str]:
    one = side.figures
    by_promise = Counter(violation.promise for violation in side.violations)
    rows = [
        ("seed, minutes", f"{side.seed}, {side.minutes:.1f}"),
        ("history", ", ".join(f"{count:,} {name}" for name, count in side.sizes.items())),
        ("checked", ", ".join(f"{count:,} {name}" for name, count in side.checks.items())),
        ("kinds of faults", str(len(side.faults))),
        ("hostile jobs", f"{sum(side.hostile.values()):,} of {len(side.hostile)} kinds"),
        ("lost", str(one.lost)),
        ("committed twice", str(one.committed_twice)),
        *((f"violations: {promise}", str(by_promise[promise])) for promise in PROMISES),
    ]
    if side.faults:
        rows += [
            ("executions that a kill ended", f"{one.killed:,}, of which {one.recovered:,} had to run again and did"),
            ("recovery after SIGKILL, median", _seconds(one.recovery_median_seconds)),
            ("recovery, longest", _seconds(one.recovery_max_seconds)),
            (
                "recovery, longest while database, broker and leader were whole",
                f"{_seconds(one.undisturbed_max_seconds)} ({one.undisturbed})",
            ),
        ]
    rows.append(("all ended after the load", _seconds(side.settled_seconds)))
    title = "The mixed run" if side.name == "longhaul" else f"The {side.name}"
    blocks = [f"## {title}", _table([("what", "figure"), *rows])]
    wrong = _shown(side.violations) + side.errors
    if wrong:
        blocks.append("\n".join(f"- {line}" for line in wrong))
    if side.hostile:
        blocks += [
            f"### Hostile jobs of the {side.name} run" if side.name != "longhaul" else "### Hostile jobs",
            _hostile(side),
        ]
    return blocks


def _shown(violations: Sequence[Violation]) -> list[str]:
    """Some of each promise that was broken, so that none hides the others."""
    lines = []
    for promise in PROMISES:
        broken = [one for one in violations if one.promise == promise]
        lines += [f"{promise}: {one.sentence}" for one in broken[:SHOWN]]
        if len(broken) > SHOWN:
            lines.append(f"{promise}: ... and {len(broken) - SHOWN} more")
    return lines


def _hostile(side: Side) -> str:
    wrong = Counter(
        kind
        for one in side.violations
        for kind in side.hostile
        if f"({kind})" in one.sentence or one.sentence.startswith(f"{kind}:")
    )
    rows = [
        (f"`{name}`", kind.shows, str(side.hostile[name]), kind.ends.replace("|", "or"), str(wrong[name]))
        for name, kind in hostile.KINDS.items()
        if name in side.hostile
    ]
    return _table([("kind", "fault", "jobs", "must become", "violations"), *rows])


def _comparison(sides: Sequence[Side]) -> list[str]:
    def row(name: str, cell: Any) -> tuple[str, ...]:
        return (name, *(str(cell(side)) for side in sides))

    rows = [
        row("minutes", lambda side: f"{side.minutes:.1f}"),
        row("faults", lambda side: sum(side.faults.values())),
        row("jobs accepted", lambda side: f"{side.figures.accepted:,}"),
        row("**lost**", lambda side: f"{side.figures.lost:,}"),
        row("messages left in Redis", lambda side: side.left_in_queue),
        row("ran twice", lambda side: f"{side.figures.run_twice:,}"),
        row("**committed twice**", lambda side: f"{side.figures.committed_twice:,}"),
        row("killed while they ran", lambda side: f"{side.figures.killed:,}"),
        row("of these, ran again", lambda side: f"{side.figures.recovered:,}"),
        row("recovery, median", lambda side: _seconds(side.figures.recovery_median_seconds)),
        row("recovery, longest", lambda side: _seconds(side.figures.recovery_max_seconds)),
    ]
    settle = min(side.settle_seconds for side in sides)
    note = (
        f"Lost: accepted with 202, and not ended {settle:g} s or more after the last fault was over. Celery acknowledges a message "
        "before its task runs, so by default what a kill ends is gone; with `acks_late` Redis would deliver it again after "
        "the `visibility_timeout`, 3,600 s by default, which no run here waits for. Ran twice: came to its end more than "
        "once, or in two processes at once; a worker that is frozen past its lease wakes up beside its successor, and what "
        "counts then is that only one of the two can commit. The blueprint has no idempotency keys, so a client that sends "
        "a job again because no answer came gets a second one; both sides are counted by what the client asked for."
    )
    return ["## Beside an ordinary blueprint", _table([("", *(side.name for side in sides)), *rows]), note]


def _faults(sides: Sequence[Side]) -> str:
    rows = [
        (f"`{name}`", kind.shows, *(str(side.faults.get(name, 0)) for side in sides))
        for name, kind in KINDS.items()
        if any(name in side.faults for side in sides)
    ]
    return _table([("kind", "fault", *(side.name for side in sides)), *rows])


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def _table(lines: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table with its first line as the head, aligned so that it reads well in a terminal too."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    padded = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    rule = "|".join("-" * (width + 2) for width in widths)
    return "\n".join([f"| {padded[0]} |", f"|{rule}|", *(f"| {line} |" for line in padded[1:])])
