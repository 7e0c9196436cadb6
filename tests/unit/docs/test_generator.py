"""The generator's own pieces: what a table does to its cells, what a class's source tells, and the measured table."""

from __future__ import annotations

import json
from pathlib import Path

from docs.generate import ROOT
from docs.generator import bench
from docs.generator.attributes import Attribute, attributes_of, instance_attributes_of
from docs.generator.markdown import table


class Sample:
    first: int = 1
    """What the first is."""
    second = "2"

    def __init__(self) -> None:
        self.third = 3
        """What the third is."""
        self._hidden = 4

    @property
    def fourth(self) -> int:
        """What the fourth is."""
        return self._hidden


def test_what_would_break_a_table_is_made_harmless() -> None:
    assert table(("a", "b"), [("x|y", "two\nlines")]) == "| a | b |\n|---|---|\n| x\\|y | two lines |"


def test_the_strings_below_attributes_are_theirs() -> None:
    assert attributes_of(Sample) == [Attribute("first", "What the first is."), Attribute("second", "")]
    assert instance_attributes_of(Sample) == [
        Attribute("third", "What the third is."),
        Attribute("fourth", "What the fourth is."),
    ]


def test_measured_figures_become_a_table(tmp_path: Path) -> None:
    figures = tmp_path / "bench.json"
    spread = {"median": 4200.4, "least": 1, "most": 2}
    rows = [
        {"name": "submits", "title": "submits/s", "ratio": 2.9, "goal": 2.5, "sense": "≥", "ok": True, "unit": "/s"}
        | {"longhaul": spread, "reference": spread},
        {"name": "lost", "ratio": None, "goal": 5, "ok": False, "failure": "it did not start"},
    ]
    figures.write_text(json.dumps(rows))
    assert bench.render(figures).splitlines()[2:] == [
        "| submits/s | 2.9x | ≥ 2.5x | yes | 4,200 /s | 4,200 /s |",
        "| lost | - | 5x | no: it did not start | - | - |",
    ]


def test_the_readme_has_a_place_for_the_measured_table() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    changed = bench.put_between(readme, "| new |")
    assert f"{bench.START}\n| new |\n{bench.END}" in changed
    assert changed.partition(bench.START)[0] == readme.partition(bench.START)[0]
    assert changed.partition(bench.END)[2] == readme.partition(bench.END)[2]
