"""What commands print: answers on stdout, for people or as JSON; everything else on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from pydantic_core import to_json
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from longhaul.errors import LonghaulError
from longhaul.states import State

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]

_STYLES = {
    State.WAITING: "dim",
    State.QUEUED: "yellow",
    State.RUNNING: "cyan",
    State.SUCCEEDED: "green",
    State.FAILED: "red",
    State.DEAD: "bold red",
    State.CANCELLED: "magenta",
}
_PIPED_COLUMNS = 240
# A task's words may hold terminal commands; line ends and tabs may stay.
_CONTROLS = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def stdout() -> Console:
    """For answers. Lines that go into a pipe are not cut to a terminal's width."""
    return _console(stderr=False)


def stderr() -> Console:
    """For progress, remarks and errors."""
    return _console(stderr=True)


def print_json(value: Any) -> None:
    """Models, or what JSON can say, on stdout."""
    sys.stdout.write(to_json(value, indent=2).decode() + "\n")


def print_error(error: LonghaulError) -> None:
    """What went wrong, and for a request that does not fit each field and why."""
    console = stderr()
    console.print(Text(clean(error.message), "red"))
    problems = error.details.get("errors")
    for problem in problems if isinstance(problems, list) else []:
        console.print(Text(f"  {clean(_field_problem(problem))}"))


def clean(text: object) -> str:
    """Text of others, without the control characters that a terminal would obey."""
    return str(text).translate(_CONTROLS)


def state_text(state: State) -> Text:
    return Text(str(state), _STYLES.get(state, ""))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()) -> Table:
    """A table of texts; the columns named in `right` hold figures. The first column is never wrapped."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for position, column in enumerate(columns):
        made.add_column(column, justify="right" if column in right else "left", no_wrap=position == 0, overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text("" if cell is None else clean(cell)) for cell in row))
    return made


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPED_COLUMNS
    return console


def _field_problem(problem: Any) -> str:
    if not isinstance(problem, dict):
        return str(problem)
    where = problem.get("field") or problem.get("path") or problem.get("loc") or "params"
    return f"{where}: {problem.get('message') or problem.get('reason') or problem}"
