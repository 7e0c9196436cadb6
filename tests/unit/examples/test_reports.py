"""`reports.csv` against the statistics module, and what it says of bad files."""

from __future__ import annotations

import csv
import random
import statistics
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread
from pydantic import ValidationError

from longhaul import Cancelled, Permanent
from longhaul.testing import RecordingChannel, recording_job
from longhaul_examples import columns
from longhaul_examples.columns import Column
from longhaul_examples.reports import CsvParams, CsvReport, Group, _by_name, report

SALES = "region,month,amount\nnorth,1,10.5\nsouth,1,20\nnorth,2,\nnorth,3,1e1\neast,3,-4\n"


def run(line: RecordingChannel | None = None, **given: Any) -> CsvReport:
    job, _ = recording_job(channel=line)
    result = report(job, CsvParams.model_validate(given))
    assert isinstance(result, CsvReport)
    return result


def pixels(png_base64: str | None) -> tuple[int, ...]:
    assert png_base64 is not None
    shape: tuple[int, ...] = imread(BytesIO(b64decode(png_base64, validate=True)), format="png").shape
    return shape


def test_numbers_have_the_figures_of_the_statistics_module(tmp_path: Path) -> None:
    source = random.Random(3)
    numbers = [source.gauss(1e6, 0.5) for _ in range(5001)]
    with (tmp_path / "numbers.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["id", "number"], *enumerate(numbers)])
    line = RecordingChannel()
    result = run(line, path=str(tmp_path / "numbers.csv"), chart=None)
    figures = result.columns[1]
    assert (result.rows, figures.kind, figures.count, figures.missing) == (5001, "number", 5001, 0)
    assert (figures.minimum, figures.maximum) == (min(numbers), max(numbers))
    assert figures.mean == pytest.approx(statistics.mean(numbers), rel=1e-12)
    assert (figures.median, figures.median_is_exact) == (statistics.median(numbers), True)
    assert figures.stdev == pytest.approx(statistics.stdev(numbers), rel=1e-9)
    assert line.fractions == sorted(line.fractions)
    assert len(line.fractions) == 6


def test_a_column_of_many_numbers_has_the_median_of_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_SAMPLED_NUMBERS", 1000)
    column = Column("many")
    for number in range(20_000):
        column.add(str(number))
    figures = column.figures(top=1)
    assert figures.median_is_exact is False
    assert figures.median == pytest.approx(10_000, rel=0.1)
    assert figures.mean == pytest.approx(9999.5)
    assert len(column.sample) == 1000


def test_text_columns_have_their_most_frequent_values() -> None:
    region = run(text=SALES, top=2).columns[0]
    assert (region.kind, region.count, region.distinct) == ("text", 5, 3)
    assert [(one.value, one.count) for one in region.top] == [("north", 3), ("east", 1)]


def test_a_text_column_of_too_many_values_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_COUNTED_VALUES", 10)
    column = Column("names")
    for number in range(100):
        column.add(f"name{number % 50}")
    figures = column.figures(top=100)
    assert (figures.distinct, len(figures.top), figures.count) == (None, 10, 100)


@pytest.mark.parametrize("value", ["", "NA", "n/a", "null", "NaN", " "])
def test_missing_values_are_counted_apart(value: str) -> None:
    column = run(text=f"a,b\n{value},1\n2,1\n", chart=None).columns[0]
    assert (column.kind, column.count, column.missing, column.mean, column.stdev) == ("number", 1, 1, 2, None)


@pytest.mark.parametrize("value", ["inf", "1_000", "twelve", "0x10"])
def test_what_is_no_finite_number_makes_a_column_text(value: str) -> None:
    assert run(text=f"a\n1\n{value}\n", chart=None).columns[0].kind == "text"


def test_figures_too_large_for_a_number_are_left_out() -> None:
    result = run(text="a\n1e308\n-1e308\n1e308\n")
    assert (result.columns[0].maximum, result.columns[0].stdev) == (1e308, None)
    assert pixels(result.chart_png_base64) == (500, 900, 4)


def test_sums_by_group_come_largest_first() -> None:
    result = run(text=SALES, group_by="region", value="amount")
    assert [(group.name, group.rows, group.sum) for group in result.groups] == [
        ("north", 2, 20.5),
        ("south", 1, 20),
        ("east", 1, -4),
    ]
    assert (result.group_count, result.chart_title) == (3, "amount by region")


def test_a_line_leads_from_group_to_group_in_their_order() -> None:
    groups = [Group(name=name, rows=1, sum=1) for name in ("later", "10", "9", "-1", "")]
    assert [group.name for group in sorted(groups, key=_by_name)] == ["-1", "9", "10", "", "later"]


@pytest.mark.parametrize("chart", ["bar", "line"])
@pytest.mark.parametrize("grouping", [{}, {"value": "amount"}, {"group_by": "region", "value": "amount"}])
def test_the_chart_is_a_png(chart: str, grouping: dict[str, Any]) -> None:
    result = run(text=SALES, chart=chart, **grouping)
    assert pixels(result.chart_png_base64) == (500, 900, 4)
    assert result.chart_bytes == len(b64decode(result.chart_png_base64 or ""))


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("text", ["a\nx\ny\n", "a,b\n,\n", "a\n$x^$\n$\\frac$\n", "name\n日本\n" + "w" * 500 + "\n"])
def test_columns_without_numbers_have_a_chart_too(text: str) -> None:
    assert pixels(run(text=text).chart_png_base64) == (500, 900, 4)


def test_the_chart_can_be_saved_and_left_out(tmp_path: Path) -> None:
    saved = run(text=SALES, chart_path=str(tmp_path / "chart.png"), max_chart_bytes=1000)
    assert saved.chart_png_base64 is None
    assert (tmp_path / "chart.png").stat().st_size == saved.chart_bytes > 1000
    assert [path.name for path in tmp_path.iterdir()] == ["chart.png"]
    none = run(text=SALES, chart=None)
    assert (none.chart_png_base64, none.chart_bytes, none.chart_title) == (None, 0, None)


def test_a_header_alone_is_a_report_without_a_chart() -> None:
    result = run(text="a,b\n")
    assert (result.rows, [column.kind for column in result.columns], result.chart_png_base64) == (
        0,
        ["empty"] * 2,
        None,
    )


def test_quoted_fields_delimiters_and_marks_are_read(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_bytes('\ufeff"name";"note"\r\n"a;b";"two\r\nlines"\r\n\r\n'.encode())
    result = run(path=str(tmp_path / "export.csv"), delimiter=";", chart=None)
    assert [(column.name, column.top[0].value) for column in result.columns] == [
        ("name", "a;b"),
        ("note", "two\r\nlines"),
    ]


def test_another_encoding_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_bytes("stadt\nKöln\n".encode("latin-1"))
    assert run(path=str(tmp_path / "old.csv"), encoding="latin-1", chart=None).columns[0].top[0].value == "Köln"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "The CSV is empty: its first line must name the columns."),
        (b"a,b\n1,2\n3\n", "Line 3 has 1 fields and the header has 2"),
        (b'a\n"two\nlines"\n1,2\n', "Line 4 has 2 fields"),
        (b'a\n1\n"open\n', "Line 3 is no proper CSV"),
        (b'a\n1\n"x"y\n', "Line 3 is no proper CSV"),
        (b"a\n1\n\xff\n", "Line 3 is not utf-8"),
        (b"a\n1\n2\n\0\n", "Line 4 holds a zero byte"),
        (b"a,a\n", "Line 1 names the column 'a' twice"),
        (",".join(map(str, range(501))).encode(), "Line 1 names 501 columns"),
        (b"a\n" + b"x" * (2**20 + 1), "Line 2 is longer than 1048576 bytes"),
    ],
)
def test_a_bad_file_is_a_permanent_fault_with_its_line(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(Permanent, match=sentence):
        run(path=str(tmp_path / "bad.csv"))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"text": SALES, "value": "region"}, "Line 2 has 'north' as 'region': it must be a number"),
        ({"text": SALES, "value": "price"}, "There is no column 'price': the header names 'region', 'month', 'amount'"),
        ({"text": "a\n1e308\n1e308\n", "value": "a"}, "Line 3 makes the sum of 'a' too large"),
        ({"path": "/no/such.csv"}, "There is no file /no/such.csv"),
        ({"path": "/"}, "There is no file /"),
        ({"text": SALES, "chart_path": "/no/such/chart.png"}, "make the folder of /no/such/chart.png first"),
    ],
)
def test_what_cant_be_done_is_a_permanent_fault(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Permanent, match=sentence):
        run(**given)


def test_too_many_groups_are_a_permanent_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longhaul_examples.reports._GROUPS_COUNTED", 2)
    with pytest.raises(Permanent, match="Line 6 begins group 3 of 'region'"):
        run(text=SALES, group_by="region", value="amount")


def test_a_cancelled_job_stops_while_it_reads() -> None:
    with pytest.raises(Cancelled):
        run(RecordingChannel(cancelled=True), text="a\n" + "1\n" * 1000)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"path": "a.csv", "text": "a"},
        {"text": "a", "group_by": "a"},
        {"text": "a", "delimiter": '"'},
        {"text": "a", "delimiter": ",,"},
        {"text": "a", "charts": "bar"},
        {"text": "a" * 1_000_001},
    ],
)
def test_params_are_held_to_their_limits(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CsvParams.model_validate(wrong)
