"""`longhaul tasks` and `longhaul workers`: what can run, and who runs it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.json import JSON
from rich.text import Text

from longhaul.contract import TaskView
from longhaul.errors import UnknownTask
from longhaul_cli.output import JsonFlag, clean, print_json, stdout, table
from longhaul_cli.session import open_client
from longhaul_cli.times import ago, spell_seconds, utc_now


def tasks(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Show this task, with the schema of its params.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the tasks that workers published, or show one."""
    with open_client(context) as client:
        found = client.tasks()
    if name is not None:
        chosen = next((one for one in found if one.name == name), None)
        if chosen is None:
            raise UnknownTask(f"No worker has published a task {name!r}: see `longhaul tasks` for those that exist.")
        print_json(chosen) if as_json else _print_task(chosen)
    elif as_json:
        print_json(found)
    elif not found:
        stdout().print("No tasks: start a worker, or run `longhaul-worker register`.")
    else:
        rows = [(one.name, one.queue, one.version, _first_line(one.description)) for one in found]
        stdout().print(table(("task", "queue", "version", "what it does"), rows))


def workers(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List the workers."""
    with open_client(context) as client:
        found = client.workers()
    if as_json:
        print_json(found)
    elif not found:
        stdout().print("No workers: start one with `longhaul-worker`, or everything with `longhaul up`.")
    else:
        now = utc_now()
        rows = [
            (
                one.name,
                one.pool,
                ", ".join(one.queues),
                f"{one.running}/{one.slots}",
                Text("draining", "yellow")
                if one.draining and one.online
                else Text("online", "green")
                if one.online
                else Text("silent", "red"),
                ago(one.started_at, now),
                ago(one.seen_at, now),
            )
            for one in found
        ]
        stdout().print(table(("worker", "pool", "queues", "slots", "state", "started", "seen"), rows, right=("slots",)))


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _print_task(task: TaskView) -> None:
    console = stdout()
    console.print(Text(task.name, "bold"))
    console.print(Text(clean(task.description)))
    soft = f", soft {spell_seconds(task.soft_timeout_seconds)}" if task.soft_timeout_seconds else ""
    facts = {
        "queue": task.queue,
        "version": task.version,
        "retries": task.retries,
        "timeout": spell_seconds(task.timeout_seconds) + soft,
        "at most": f"{task.concurrency} at once" if task.concurrency else "no limit",
        "drain": "checkpoints and hands over" if task.interruptible else "runs to its end",
    }
    for name, value in facts.items():
        console.print(Text(f"{name:10}", "dim"), Text(clean(value)), sep="")
    console.print(Text("params", "dim"))
    console.print(JSON.from_data(task.params_schema))
