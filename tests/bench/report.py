"""The bench's table, as Markdown, and its figures as `build/bench.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench.rows import Failure, Outcome, Spread

HEAD = ("what", "ratio", "goal", "ok", "Longhaul", "reference", "spread of the ratio", "note")


def table(outcomes: Sequence[Outcome | Failure]) -> str:
    """A Markdown table, aligned so that it reads well in a terminal too. Only the notes at its end are ragged."""
    lines = [HEAD, *map(_cells, outcomes)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD) - 1)] + [len(HEAD[-1])]
    padded = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    rule = "|".join("-" * (width + 2) for width in widths)
    return "\n".join([f"| {padded[0]} |", f"|{rule}|", *(f"| {line} |" for line in padded[1:])])


def write(outcomes: Sequence[Outcome | Failure], path: Path) -> None:
    """A list of `{name, ratio, goal, ok, ...}`. `judged` tells whether the goal bounds the ratio or Longhaul's figure."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps([_record(one) for one in outcomes], indent=2, ensure_ascii=False) + "\n", "utf-8")


def _cells(outcome: Outcome | Failure) -> tuple[str, ...]:
    row = outcome.row
    goal = row.goal.text(row.unit)
    if isinstance(outcome, Failure):
        return (row.title, "-", goal, "failed", "-", "-", "-", _gist(outcome.reason))
    ratio, spread = outcome.ratio, f"{number(outcome.ratio.least)} .. {number(outcome.ratio.most)}"
    return (
        row.title,
        f"{number(ratio.median)}x" if outcome.reference else "-",
        goal,
        "yes" if outcome.ok else "NO",
        _figure(outcome.longhaul, row.unit),
        _figure(outcome.reference, row.unit) if outcome.reference else "-",
        spread,
        "" if outcome.ok else _cause(outcome),
    )


def _cause(outcome: Outcome) -> str:
    busy = ", ".join(f"{name} {cores:.2f}" for name, cores in outcome.cores.items() if cores >= 0.05)
    return "; ".join(part for part in (outcome.row.cause, busy and f"cores used: {busy}") if part)


def _gist(reason: str) -> str:
    """The first and the last line: what failed, and the last word of its log."""
    lines = [line for line in reason.splitlines() if line.strip()]
    return " ".join(dict.fromkeys([*lines[:1], *lines[-1:]]))


def _figure(spread: Spread, unit: str) -> str:
    return f"{number(spread.median)} {unit}"


def number(value: float) -> str:
    """Three significant digits, whole from a hundred on."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _record(outcome: Outcome | Failure) -> dict[str, Any]:
    row = outcome.row
    known = {
        "name": row.name,
        "title": row.title,
        "goal": row.goal.bound,
        "sense": row.goal.sense,
        "judged": row.goal.of,
    }
    if isinstance(outcome, Failure):
        return {**known, "ratio": None, "ok": False, "failure": outcome.reason}
    return {
        **known,
        "ratio": outcome.ratio.median,
        "ok": outcome.ok,
        "unit": row.unit,
        "ratio_spread": asdict(outcome.ratio),
        "longhaul": asdict(outcome.longhaul),
        "reference": asdict(outcome.reference) if outcome.reference else None,
        "cores": outcome.cores,
        "note": "" if outcome.ok else _cause(outcome),
    }
