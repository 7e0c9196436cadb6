"""`longhaul follow`: a job's progress and log lines while it runs, and its result."""

from __future__ import annotations

from types import TracebackType
from typing import Annotated, Any, Self

import typer
from pydantic import JsonValue
from rich.console import Console
from rich.json import JSON
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from longhaul.client import Client
from longhaul.contract import EventView, JobView
from longhaul.states import TERMINAL, State
from longhaul_cli import exits
from longhaul_cli.output import JsonFlag, clean, print_json, stderr, stdout
from longhaul_cli.session import FOLLOW_PATIENCE_SECONDS, open_client

_EVENTS_SHOWN = 20
_PRINTED_STEP = 0.1
"""Where no terminal can show a bar, a line is printed at each tenth."""
_LEVEL_STYLES = {"debug": "dim", "warning": "yellow", "error": "red"}


def follow(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="The job's id.")],
    from_start: Annotated[
        bool, typer.Option("--from-start", help=f"Show all events so far, not the last {_EVENTS_SHOWN}.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Follow a job to its end: a progress bar and its log lines on stderr, its result on stdout.

    The exit code tells how the job ended: see `longhaul --help`. Ctrl-C stops following; the job goes on.
    """
    with open_client(context, patience_seconds=FOLLOW_PATIENCE_SECONDS) as client:
        job = client.get(id)
        after = 0 if from_start else max(0, job.last_event_id - _EVENTS_SHOWN)
        raise typer.Exit(follow_job(client, job, after=after, as_json=as_json))


def follow_job(client: Client, job: JobView, *, after: int, as_json: bool) -> int:
    """Show what a job does from the event `after` on, then how it ended. Returns the exit code."""
    try:
        with JobProgress(stderr(), job) as progress:
            for event in client.events(job.id, after=after):
                progress.show(event)
        job = client.get(job.id)
        result = client.result(job.id) if job.state is State.SUCCEEDED else None
    except KeyboardInterrupt:
        stderr().print(f"The job goes on. Follow it again: longhaul follow {job.id}", style="dim")
        return exits.INTERRUPTED
    if as_json:
        print_json({"job": job, "result": result})
    else:
        print_outcome(job, result)
    return exits.of_state(job.state)


def print_outcome(job: JobView, result: JsonValue) -> None:
    """The result on stdout; a sentence on stderr where there is none."""
    if job.state is State.SUCCEEDED:
        stdout().print(JSON.from_data(result))
        return
    reason = clean(job.error.message) if job.error and job.state is not State.CANCELLED else ""
    stderr().print(Text(f"The job is {job.state}{': ' + reason if reason else '.'}", "red"))
    if job.state in {State.FAILED, State.DEAD}:
        stderr().print(f"Its attempts: longhaul show {job.id}. Run it again: longhaul replay {job.id}", style="dim")


class JobProgress:
    """A progress bar with the job's events as lines above it; without a terminal, lines only. A context manager."""

    def __init__(self, console: Console, job: JobView) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.fields[title]}", markup=True),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[message]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        message = clean(job.progress.message) or str(job.state)
        self._bar = self._progress.add_task("", total=1.0, title=job.task, message=message)
        self._progress.update(self._bar, completed=job.progress.fraction)
        self._printed = job.progress.fraction

    def show(self, event: EventView) -> None:
        """Move the bar, or print the line, that an event means."""
        if event.type == "progress":
            self._move(float(event.data.get("fraction", 0.0)), clean(event.data.get("message", "")))
            return
        line = describe(event)
        if event.type in TERMINAL:
            changes: dict[str, Any] = {"completed": 1.0} if event.type == State.SUCCEEDED else {}
            self._progress.update(self._bar, message=event.type, **changes)
        elif event.type != "log" and line.plain:
            self._progress.update(self._bar, message=line.plain)
        if line.plain:
            self._progress.console.print(Text.assemble((f"{event.at.astimezone():%H:%M:%S} ", "dim"), line))

    def _move(self, fraction: float, message: str) -> None:
        self._progress.update(self._bar, completed=fraction, message=message)
        if not self._console.is_terminal and fraction >= self._printed + _PRINTED_STEP:
            self._printed = fraction
            self._console.print(f"{fraction:4.0%}  {message}")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()


def describe(event: EventView) -> Text:
    """An event as a line for people; empty where it says nothing to them."""
    data = event.data
    error = data.get("error")
    reason = clean(error.get("message", "")) if isinstance(error, dict) else clean(data.get("ending", ""))
    match event.type:
        case "log":
            fields = data.get("fields")
            pairs = "  ".join(f"{key}={value}" for key, value in fields.items()) if isinstance(fields, dict) else ""
            text = clean(f"{data.get('message', '')}  {pairs}".rstrip())
            return Text(text, _LEVEL_STYLES.get(str(data.get("level")), ""))
        case "started":
            return Text(clean(f"attempt {event.attempt} started on {data.get('worker', 'a worker')}"), "dim")
        case "retrying":
            wait = f" in {data['retry_after_seconds']:g} s" if "retry_after_seconds" in data else ""
            return Text(f"attempt {event.attempt} ended: {reason.rstrip('.')}; trying again{wait}", "yellow")
        case "interrupted":
            return Text(f"attempt {event.attempt} was interrupted: {reason.rstrip('.')}; another goes on", "yellow")
        case "cancel_requested":
            return Text("asked to stop", "magenta")
        case "succeeded":
            return Text("succeeded", "green")
        case "failed" | "dead":
            return Text(f"{event.type}: {reason}", "red")
        case "cancelled":
            return Text("cancelled", "magenta")
        case "checkpoint" | "progress":
            return Text()
        case _:
            return Text(event.type, "dim")
