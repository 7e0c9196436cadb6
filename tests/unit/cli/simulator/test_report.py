"""What is told of an outcome."""

from __future__ import annotations

import re
from base64 import b64decode
from pathlib import Path

import pytest

from longhaul.errors import ConfigurationError
from longhaul_cli.simulator import Cluster, Job, Outcome, Pool, simulate
from longhaul_cli.simulator.figures import Figure, change, figures, markdown
from longhaul_cli.simulator.outcome import Waits
from longhaul_cli.simulator.plots import draw, thin
from longhaul_cli.simulator.report import Table, write_report

PNG = b"\x89PNG\r\n\x1a\n"


def outcome() -> Outcome:
    jobs = [Job(due_seconds=number * 5, run_seconds=60) for number in range(100)]
    return simulate(jobs, [Pool(name="<b>$x$")], Cluster(node_hour_price=0.25, currency="EUR"), until_seconds=3600)


def test_waits_are_summed_up_by_the_nearest_rank() -> None:
    waits = Waits.of([*range(1, 101)], 90)
    assert (waits.p50, waits.p95, waits.p99, waits.max, waits.mean) == (50, 95, 99, 100, 50.5)
    assert waits.share_over_target == pytest.approx(0.1)
    assert Waits.of([3.0], 5).p50 == 3
    assert Waits.of([], 5).count == 0


def test_figures_have_names_and_units() -> None:
    found = {figure.key: figure for figure in figures(outcome(), wait_target_seconds=10)}
    assert found["jobs_done"].text == "100"
    assert found["node_cost"].text == "0.5 EUR"
    assert found["over_target_share"].name == "waits over 10s"
    assert found["interrupted"].value == 0


@pytest.mark.parametrize(
    ("before", "after", "unit", "said"),
    [
        (10, 10, "", ""),
        (10, 15, "", "+50%"),
        (10, 5, "s", "-50%"),
        (0, 5, "", "+5"),
        (1, 120, "", "120 times"),
        (0.1, 0.25, "%", "+15.0 points"),
        (120.0001, 120.0002, "s", ""),
    ],
)
def test_a_change_is_said_as_people_say_it(before: float, after: float, unit: str, said: str) -> None:
    def figure(value: float) -> Figure:
        return Figure(key="k", name="n", value=value, unit=unit)

    assert change(figure(before), figure(after)) == said


def test_a_markdown_table_stands_what_is_in_its_cells() -> None:
    assert markdown(["a", "b"], [["x|y", "1"]]) == "| a | b |\n|---|---:|\n| x\\|y | 1 |"


def test_a_report_is_one_page_that_needs_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    tables = [Table(title="<script>", columns=("a", "b"), rows=[("<b>$x$", "1 & 2")])]
    write_report(path, title="T", about="<i>", tables=tables, outcomes=[("one", outcome()), ("two", outcome())])
    page = path.read_text("utf-8")
    assert "<script>" not in page
    assert "&lt;b&gt;$x$" in page
    assert "1 &amp; 2" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    image = re.search(r'src="data:image/png;base64,([^"]+)"', page)
    assert image
    assert b64decode(image[1]).startswith(PNG)


def test_a_png_is_the_plots_alone(tmp_path: Path) -> None:
    path = tmp_path / "report.png"
    write_report(path, title="T", about="", tables=[], outcomes=[("one", outcome())])
    assert path.read_bytes().startswith(PNG)


def test_a_report_that_can_not_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"neither \.html nor \.png"):
        write_report(tmp_path / "report.pdf", title="", about="", tables=[], outcomes=[("one", outcome())])
    with pytest.raises(ConfigurationError, match="can't be written"):
        write_report(tmp_path / "no" / "report.png", title="", about="", tables=[], outcomes=[("one", outcome())])


def test_nothing_at_all_can_be_drawn() -> None:
    assert draw([("empty", simulate([], [Pool()], Cluster(), until_seconds=60))]).startswith(PNG)


def test_thinning_keeps_the_peaks() -> None:
    samples = outcome().samples
    few = thin(samples, 7)
    assert len(few) <= 7
    assert max(one.waiting for one in few) == max(one.waiting for one in samples)
    assert thin((), 7) == []
