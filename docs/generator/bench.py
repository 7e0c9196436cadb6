"""The measured table: what `make bench` left in `build/bench.json`, as Markdown for the README."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docs.generator.markdown import table

START, END = "<!-- bench:start -->", "<!-- bench:end -->"


def render(path: Path) -> str:
    """The table of the figures in this file."""
    rows = [_row(one) for one in json.loads(path.read_text("utf-8"))]
    return table(("what", "ratio", "goal", "reached", "Longhaul", "reference"), rows)


def put_between(text: str, content: str) -> str:
    """The text with `content` between the two marks."""
    head, _, rest = text.partition(START)
    assert rest, f"the text has no {START}"
    return f"{head}{START}\n{content}\n{END}{rest.partition(END)[2]}"


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    unit = one.get("unit", "")
    of_figure = one.get("judged") == "figure"
    goal = f"{one.get('sense', '')} {one['goal']:g}{f' {unit}' if of_figure else 'x'}".strip()
    note = one.get("note") or one.get("failure") or ""
    reached = "yes" if one["ok"] else f"no: {note}" if note else "no"
    longhaul, reference = one.get("longhaul"), one.get("reference")
    has_ratio = one["ratio"] is not None and (reference or longhaul is None)
    return (
        one.get("title") or one["name"],
        f"{_number(one['ratio'])}x" if has_ratio else "-",
        goal,
        reached,
        f"{_number(longhaul['median'])} {unit}" if longhaul else "-",
        f"{_number(reference['median'])} {unit}" if reference else "-",
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
