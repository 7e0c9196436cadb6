"""`longhaul dead-letters`: jobs whose retries or interruptions are used up; see why, replay or discard them."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from longhaul.contract import BulkAnswer
from longhaul_cli.jobs import print_job, print_jobs
from longhaul_cli.output import JsonFlag, print_json, stdout
from longhaul_cli.session import open_client

dead_letters = typer.Typer(invoke_without_command=True, help="List dead letters; replay or discard them.")

_BULK = 1000
"""What the API does at once."""

Ids = Annotated[list[str] | None, typer.Argument(help="Ids of jobs.", metavar="[ID]...")]
Task = Annotated[str | None, typer.Option(help="Only of this task.")]
Queue = Annotated[str | None, typer.Option(help="Only of this queue.")]
All = Annotated[bool, typer.Option("--all", help="All dead letters there are.")]


@dead_letters.callback()
def list_dead_letters(
    context: typer.Context,
    task: Task = None,
    queue: Queue = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List dead letters, newest first; replay or discard them."""
    if context.invoked_subcommand is not None:
        return
    with open_client(context) as client:
        found = list(islice(client.dead_letters(task=task, queue=queue, page_size=min(limit, 100)), limit))
    print_json(found) if as_json else print_jobs(found)


@dead_letters.command()
def show(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="The job's id.")],
    as_json: JsonFlag = False,
) -> None:
    """Show why a job is dead: its attempts with their evidence, its last checkpoint and its last log lines."""
    with open_client(context) as client:
        letter = client.dead_letter(id)
    if as_json:
        print_json(letter)
    else:
        print_job(letter.job, letter.attempts, letter.logs, checkpoint=letter.checkpoint)


@dead_letters.command()
def replay(
    context: typer.Context,
    ids: Ids = None,
    task: Task = None,
    queue: Queue = None,
    everything: All = False,
    as_json: JsonFlag = False,
) -> None:
    """Submit dead jobs again; prints the ids of the new ones."""
    _check_selection(ids, task, queue, everything)
    with open_client(context) as client:
        answer = client.replay_dead_letters(ids or None, task=task, queue=queue)
    _print_answer(answer, "replayed", as_json=as_json)


@dead_letters.command()
def discard(
    context: typer.Context,
    ids: Ids = None,
    task: Task = None,
    queue: Queue = None,
    everything: All = False,
    as_json: JsonFlag = False,
) -> None:
    """Take jobs out of the dead-letter queue for good."""
    _check_selection(ids, task, queue, everything)
    with open_client(context) as client:
        answer = client.discard(ids or None, task=task, queue=queue)
    _print_answer(answer, "discarded", as_json=as_json)


def _check_selection(ids: list[str] | None, task: str | None, queue: str | None, everything: bool) -> None:
    chosen = [bool(ids), bool(task or queue), everything]
    if sum(chosen) != 1:
        raise typer.BadParameter("Say which: ids, or --task and --queue, or --all.")


def _print_answer(answer: BulkAnswer, word: str, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    for id in answer.done:
        stdout().print(str(id))
    skipped = f"; {len(answer.skipped)} were not dead letters any more" if answer.skipped else ""
    more = " There may be more: run it again." if len(answer.done) + len(answer.skipped) >= _BULK else ""
    stdout().print(f"{len(answer.done)} {word}{skipped}.{more}")
