"""`reports.csv`: the figures of a CSV file, sums by group, and a chart."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from longhaul import Job, Permanent, task
from longhaul_examples.charts import ChartKind, draw_chart
from longhaul_examples.columns import Column, ColumnFigures, is_missing, number_in
from longhaul_examples.csv_rows import CsvRows
from longhaul_examples.files import written_atomically

_GROUPS_COUNTED = 100_000
_GROUPS_RETURNED = 1_000
_NAME_CHARACTERS = 200
_BARS = 20
_ROWS_BETWEEN_REPORTS = 1_000


class CsvParams(BaseModel):
    model_config = ConfigDict(extra="forbid")

    path: str | None = Field(None, min_length=1, description="A file that the worker can read. Either this or `text`.")
    text: str | None = Field(None, max_length=1_000_000, description="The CSV itself.")
    delimiter: str = Field(",", min_length=1, max_length=1)
    encoding: Literal["utf-8", "latin-1", "cp1252"] = "utf-8"
    group_by: str | None = Field(None, description="Sum `value` for each value of this column.")
    value: str | None = Field(None, description="A column of numbers: what is summed, or else what the chart shows.")
    top: int = Field(10, ge=1, le=100, description="How many of a text column's most frequent values to return.")
    chart: ChartKind | None = Field("bar", description="null: no chart.")
    chart_path: str | None = Field(None, min_length=1, description="Where the worker saves the chart, too.")
    max_chart_bytes: int = Field(
        256 * 1024, ge=0, le=4 * 2**20, description="A larger chart is left out of the result."
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.path is None) == (self.text is None):
            raise ValueError("give either `path` or `text`")
        if self.group_by is not None and self.value is None:
            raise ValueError("`group_by` needs `value`, the column to sum")
        if self.delimiter in '"\r\n':
            raise ValueError("`delimiter` can't be a quote or a line's end")
        return self


class Group(BaseModel):
    name: str
    rows: int = Field(description="Rows whose value is not missing.")
    sum: float


class CsvReport(BaseModel):
    rows: int
    columns: list[ColumnFigures]
    groups: list[Group] = Field(description="The largest sum first; the first 1,000.")
    group_count: int
    chart_title: str | None
    chart_bytes: int = Field(description="The size of the PNG, also where it is left out.")
    chart_png_base64: str | None


@task(name="reports.csv", queue="reports", retry_on=(OSError,))
def report(job: Job, params: CsvParams) -> CsvReport:
    """Read a CSV file and return figures for each column, sums by group, and a chart as PNG.

    A file that is missing or no proper CSV fails the job, with the number of the line.
    """
    if params.chart_path is not None and not Path(params.chart_path).parent.is_dir():
        raise Permanent(f"The chart can't be saved: make the folder of {params.chart_path} first.")
    with _opened(params) as (stream, size_bytes):
        rows = CsvRows(stream, delimiter=params.delimiter, encoding=params.encoding if params.path else "utf-8")
        columns = {name: Column(name) for name in rows.header}
        _require(columns, params.group_by, params.value)
        groups: dict[str, Group] = {}
        row_count = 0
        for line, row in rows:
            for column, text in zip(columns.values(), row, strict=True):
                column.add(text)
            if params.value is not None:
                _add_to_group(groups, params.group_by, params.value, dict(zip(columns, row, strict=True)), line)
            row_count += 1
            if row_count % _ROWS_BETWEEN_REPORTS == 0:
                fraction = 0.9 * rows.bytes_read / max(size_bytes, 1)
                job.progress(fraction, f"Read {row_count:,} rows", rows=row_count)
    ordered = sorted(groups.values(), key=lambda group: (-group.sum, group.name)) if params.group_by else []
    title, png = None, b""
    if params.chart is not None and row_count:
        title, labels, values = _series(params, list(columns.values()), ordered)
        png = draw_chart(params.chart, title, labels, values)
        if params.chart_path is not None:
            with written_atomically(Path(params.chart_path)) as target:
                target.write(png)
    job.progress(1, f"Read {row_count:,} rows", rows=row_count)
    return CsvReport(
        rows=row_count,
        columns=[column.figures(top=params.top) for column in columns.values()],
        groups=ordered[:_GROUPS_RETURNED],
        group_count=len(ordered),
        chart_title=title,
        chart_bytes=len(png),
        chart_png_base64=b64encode(png).decode() if 0 < len(png) <= params.max_chart_bytes else None,
    )


@contextmanager
def _opened(params: CsvParams) -> Iterator[tuple[IO[bytes], int]]:
    """The CSV, and its size in bytes."""
    if params.path is None:
        content = (params.text or "").encode(errors="replace")
        yield BytesIO(content), len(content)
        return
    path = Path(params.path).expanduser()
    try:
        if not path.is_file():
            raise Permanent(f"There is no file {path}: name a CSV file that this worker can read.")
        stream = path.open("rb")
    except PermissionError as error:
        raise Permanent(f"The worker may not read {path}: let it, or name another file.") from error
    with stream:
        yield stream, path.stat().st_size


def _require(columns: dict[str, Column], *wanted: str | None) -> None:
    for name in wanted:
        if name is not None and name not in columns:
            raise Permanent(f"There is no column {name!r}: the header names {', '.join(map(repr, columns))}."[:1000])


def _add_to_group(groups: dict[str, Group], group_by: str | None, value: str, row: dict[str, str], line: int) -> None:
    """Without `group_by` all rows are one group, so that `value` is held to numbers in any case."""
    if is_missing(row[value]):
        return
    number = number_in(row[value])
    if number is None:
        raise Permanent(f"Line {line} has {row[value][:80]!r} as {value!r}: it must be a number, or empty.")
    name = row[group_by].strip()[:_NAME_CHARACTERS] if group_by is not None else ""
    if name not in groups:
        groups[name] = Group(name=name, rows=0, sum=0)
    if len(groups) > _GROUPS_COUNTED:
        raise Permanent(
            f"Line {line} begins group {len(groups):,} of {group_by!r}: group by a column with fewer values."
        )
    group = groups[name]
    group.rows += 1
    group.sum += number
    if not math.isfinite(group.sum):
        raise Permanent(f"Line {line} makes the sum of {value!r} too large for a number: scale the column down.")


def _series(params: CsvParams, columns: list[Column], groups: list[Group]) -> tuple[str, list[str], list[float]]:
    """What the chart shows: the groups' sums, or else one column's distribution; as title, labels and values."""
    if params.group_by is not None:
        # A line leads from one name to the next (months, say); bars compare the largest.
        shown = groups[:_BARS] if params.chart == "bar" else sorted(groups[:_GROUPS_RETURNED], key=_by_name)
        return f"{params.value} by {params.group_by}", [one.name for one in shown], [one.sum for one in shown]
    named = [column for column in columns if column.name == params.value]
    column = next(iter((*named, *(column for column in columns if column.is_number), *columns)))
    title = f"Values of {column.name}"
    if column.is_number and (histogram := _histogram(column)):
        return title, *histogram
    top = column.top(_BARS)
    return title, [one.value for one in top], [float(one.count) for one in top]


def _by_name(group: Group) -> tuple[bool, float, str]:
    """Numbers in their own order (10 after 9), and before words."""
    number = number_in(group.name)
    return number is None, number or 0, group.name


def _histogram(column: Column) -> tuple[list[str], list[float]] | None:
    """None where the numbers are too far apart, or too close, for bins of equal width."""
    try:
        with np.errstate(all="ignore"):
            counts, edges = np.histogram(np.array(column.sample), bins=_BARS)
    except ValueError:
        return None
    return [f"{edge:.4g}" for edge in edges[:-1].tolist()], counts.astype(float).tolist()
