"""`longhaul queues`: how they are; pause, resume, limit."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from longhaul.contract import QueueView
from longhaul_cli.output import JsonFlag, print_json, stdout, table
from longhaul_cli.session import open_client
from longhaul_cli.times import spell_seconds

queues = typer.Typer(invoke_without_command=True, help="List queues; pause, resume or limit one.")
Name = Annotated[str, typer.Argument(help="Name of the queue.")]


@queues.callback()
def list_queues(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List queues; pause, resume or limit one."""
    if context.invoked_subcommand is not None:
        return
    with open_client(context) as client:
        found = client.queues()
    if as_json:
        print_json(found)
    elif not found:
        stdout().print("No queues: a worker that starts makes them.")
    else:
        _print_queues(found)


@queues.command()
def pause(context: typer.Context, name: Name, as_json: JsonFlag = False) -> None:
    """Start no more jobs of a queue; those that run go on."""
    with open_client(context) as client:
        queue = client.pause(name)
    print_json(queue) if as_json else stdout().print(f"The queue {name} is paused; {queue.running} of its jobs run on.")


@queues.command()
def resume(context: typer.Context, name: Name, as_json: JsonFlag = False) -> None:
    """Let a paused queue go on."""
    with open_client(context) as client:
        queue = client.resume(name)
    print_json(queue) if as_json else stdout().print(f"The queue {name} goes on; {queue.waiting} of its jobs wait.")


@queues.command()
def limit(
    context: typer.Context,
    name: Name,
    max_running: Annotated[str, typer.Argument(help="So many jobs at once, or `none`.", metavar="NUMBER|none")],
    as_json: JsonFlag = False,
) -> None:
    """Let at most so many jobs of a queue run at once."""
    number = None if max_running == "none" else int(max_running) if max_running.isdecimal() else 0
    if number == 0:
        raise typer.BadParameter(f"{max_running!r} is no limit: write a number from 1 on, or none.")
    with open_client(context) as client:
        queue = client.limit(name, number)
    if as_json:
        print_json(queue)
    else:
        stdout().print(f"The queue {name} runs {f'at most {number} jobs at once' if number else 'without a limit'}.")


def _print_queues(found: list[QueueView]) -> None:
    rows = [
        (
            one.name,
            one.waiting,
            one.delayed,
            f"{one.running}/{one.max_running}" if one.max_running else one.running,
            spell_seconds(one.oldest_wait_seconds) if one.waiting else "",
            one.workers_online,
            f"{one.slots_free}/{one.slots}",
            _health(one),
        )
        for one in found
    ]
    columns = ("queue", "waiting", "delayed", "running", "oldest wait", "workers", "slots free", "health")
    stdout().print(table(columns, rows, right=columns[1:-1]))


def _health(queue: QueueView) -> Text:
    if not queue.healthy:
        return Text("; ".join(queue.problems), "red")
    return Text("paused", "yellow") if queue.paused else Text("healthy", "green")
