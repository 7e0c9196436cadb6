"""`longhaul jobs`, `show`, `cancel` and `replay`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Annotated

import typer
from rich.json import JSON
from rich.text import Text

from longhaul.client import Client
from longhaul.contract import AttemptView, CheckpointView, EventView, JobView, WebhookView
from longhaul.states import State
from longhaul_cli.follow import describe
from longhaul_cli.output import JsonFlag, clean, print_json, state_text, stdout, table
from longhaul_cli.session import open_client
from longhaul_cli.times import ago, parse_moment, spell_seconds, utc_now

JobIds = Annotated[list[str], typer.Argument(help="Ids of jobs.", metavar="ID...")]


def jobs(
    context: typer.Context,
    state: Annotated[list[State] | None, typer.Option(help="Only in this state. Repeatable.")] = None,
    task: Annotated[str | None, typer.Option(help="Only of this task.")] = None,
    queue: Annotated[str | None, typer.Option(help="Only of this queue.")] = None,
    since: Annotated[str | None, typer.Option(help="Submitted since: 2026-01-31T08:00, or -2h.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """List jobs, newest first."""
    now = utc_now()
    with open_client(context) as client:
        found = client.list(
            state=state or None,
            task=task,
            queue=queue,
            since=parse_moment(since, now) if since else None,
            page_size=min(limit, 100),
        )
        listed = list(islice(found, limit))
    if as_json:
        print_json(listed)
    else:
        print_jobs(listed)


def print_jobs(listed: list[JobView]) -> None:
    """A table of jobs, or a sentence where there are none."""
    if not listed:
        stdout().print("No jobs.")
        return
    now = utc_now()
    rows = [
        (
            job.id,
            job.task,
            job.queue,
            state_text(job.state),
            f"{job.progress.fraction:.0%}",
            job.attempt,
            ago(job.created_at, now),
            job.progress.message if job.error is None or job.state is State.SUCCEEDED else job.error.message,
        )
        for job in listed
    ]
    columns = ("id", "task", "queue", "state", "done", "attempt", "submitted", "message")
    stdout().print(table(columns, rows, right=("done", "attempt")))


def show(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="The job's id.")],
    logs: Annotated[bool, typer.Option("--logs", help="Its log lines too.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show a job: how it stands, its attempts, its result."""
    with open_client(context) as client:
        job = client.get(id)
        attempts = client.attempts(id)
        webhook = client.webhook(id) if job.webhook else None
        result = client.result(id) if job.state is State.SUCCEEDED else None
        lines = list(_all_logs(client, id)) if logs else []
    if as_json:
        more = ({"webhook": webhook} if webhook else {}) | ({"logs": lines} if logs else {})
        print_json({"job": job, "attempts": attempts, "result": result} | more)
        return
    print_job(job, attempts, lines, webhook=webhook)
    if job.state is State.SUCCEEDED:
        stdout().print(Text("result", "dim"))
        stdout().print(JSON.from_data(result))


def print_job(
    job: JobView,
    attempts: Sequence[AttemptView],
    lines: Sequence[EventView],
    *,
    checkpoint: CheckpointView | None = None,
    webhook: WebhookView | None = None,
) -> None:
    """A job's facts, its attempts with their evidence, and log lines."""
    console, now = stdout(), utc_now()
    size = f", {checkpoint.size_bytes} bytes" if checkpoint else ""
    facts = {
        "id": job.id,
        "task": job.task,
        "queue": job.queue,
        "state": state_text(job.state),
        "progress": f"{job.progress.fraction:.0%}  {job.progress.message}",
        "submitted": ago(job.created_at, now),
        "started": ago(job.started_at, now),
        "checkpoint": f"{ago(job.checkpointed_at, now)}{size}",
        "finished": ago(job.finished_at, now),
        "not before": ago(job.run_after, now) if job.run_after > now else "",
        "retries": f"{job.retries} of {job.retries_max}" if job.retries else "",
        "interruptions": job.interruptions or "",
        "replay of": job.origin_id or "",
        "resolution": job.resolution or "",
        "error": job.error.message if job.error else "",
        "webhook": _describe_webhook(webhook, now) if webhook else "",
    }
    for name, value in facts.items():
        if value != "":
            console.print(Text(f"{name:14}", "dim"), value if isinstance(value, Text) else Text(clean(value)), sep="")
    console.print(Text("params", "dim"))
    console.print(JSON.from_data(job.params))
    if attempts:
        rows = [
            (
                one.attempt,
                one.ending or "running",
                spell_seconds(((one.ended_at or now) - one.started_at).total_seconds()),
                one.worker,
                one.error.message if one.error else "",
                "  ".join(f"{key}={value}" for key, value in (one.evidence or {}).items()),
            )
            for one in attempts
        ]
        console.print(table(("attempt", "ending", "took", "worker", "error", "evidence"), rows))
    for line in lines:
        console.print(Text(f"{line.at.astimezone():%H:%M:%S} ", "dim"), describe(line), sep="")


def _describe_webhook(webhook: WebhookView, now: datetime) -> str:
    tries = "1 try" if webhook.tries == 1 else f"{webhook.tries} tries"
    facts = [f"{webhook.state} after {tries}" if webhook.tries else webhook.state]
    facts += [webhook.last_error] if webhook.last_error else []
    facts += [f"next try {ago(webhook.next_try_at, now)}"] if webhook.next_try_at else []
    return f"{webhook.url}  {'; '.join(facts)}"


def _all_logs(client: Client, id: str) -> Iterator[EventView]:
    after = 0
    while page := client.logs(id, after=after, limit=1000):
        yield from page
        after = page[-1].id


def cancel(context: typer.Context, ids: JobIds, as_json: JsonFlag = False) -> None:
    """Cancel jobs. One that runs is asked to stop, and killed where it does not."""
    with open_client(context) as client:
        changed = [client.cancel(id) for id in ids]
    if as_json:
        print_json(changed)
        return
    for job in changed:
        stdout().print(f"{job.id} {'is asked to stop' if job.state is State.RUNNING else job.state}")


def replay(context: typer.Context, ids: JobIds, as_json: JsonFlag = False) -> None:
    """Submit failed or dead jobs again; prints the ids of the new ones."""
    with open_client(context) as client:
        made = [client.replay(id) for id in ids]
    if as_json:
        print_json(made)
        return
    for job in made:
        stdout().print(str(job.id))
