"""`longhaul submit`: a job from the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from longhaul_cli import exits
from longhaul_cli.follow import follow_job
from longhaul_cli.output import JsonFlag, print_json, stderr, stdout
from longhaul_cli.session import FOLLOW_PATIENCE_SECONDS, PATIENCE_SECONDS, open_client
from longhaul_cli.times import parse_duration, parse_moment, utc_now


def submit(
    context: typer.Context,
    task: Annotated[str, typer.Argument(help="Name of the task: see `longhaul tasks`.")],
    params: Annotated[
        str | None, typer.Option("--params", help="Params as a JSON object, @FILE to read it, or @- for stdin.")
    ] = None,
    pairs: Annotated[
        list[str] | None,
        typer.Option("-p", "--param", metavar="KEY=VALUE", help="One param; VALUE is JSON, or else text. Repeatable."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the job to its end.")] = False,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key with the same job gives the job that was made before.")
    ] = None,
    queue: Annotated[str | None, typer.Option(help="Another queue than the task's own.")] = None,
    priority: Annotated[int, typer.Option(min=-9, max=9, help="One step is worth five minutes of waiting.")] = 0,
    run_after: Annotated[str | None, typer.Option(help="Not before: 2026-01-31T08:00, or 15m from now.")] = None,
    timeout: Annotated[str | None, typer.Option(help="Limit of one attempt, such as 90m.")] = None,
    metadata: Annotated[str | None, typer.Option(help="A JSON object that is kept with the job.")] = None,
    webhook: Annotated[str | None, typer.Option(help="A URL that is told, signed, when the job has ended.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Submit a job; prints its id, or with --follow its progress and its result.

    With --follow the exit code tells how the job ended: see `longhaul --help`. --json prints the job; with --follow
    `{"job": ..., "result": ...}` at its end.
    """
    with open_client(context, patience_seconds=FOLLOW_PATIENCE_SECONDS if follow else PATIENCE_SECONDS) as client:
        job = client.submit(
            task,
            _params(params, pairs or []),
            queue=queue,
            priority=priority,
            run_after=parse_moment(run_after, utc_now()) if run_after else None,
            timeout=parse_duration(timeout) if timeout else None,
            metadata=_object(metadata, "--metadata") if metadata else None,
            webhook=webhook,
            idempotency_key=idempotency_key,
        )
        if follow:
            raise typer.Exit(follow_job(client, job, after=0, as_json=as_json))
    if as_json:
        print_json(job)
    else:
        stdout().print(str(job.id))
        stderr().print(f"Accepted into the queue {job.queue}. Follow it: longhaul follow {job.id}", style="dim")
    raise typer.Exit(exits.SUCCEEDED)


def _params(text: str | None, pairs: list[str]) -> dict[str, Any]:
    """The params that `--params` and `-p` give together; `-p` wins. Raises typer.BadParameter."""
    params = _object(_read(text), "--params") if text else {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise typer.BadParameter(f"-p {pair!r}: write KEY=VALUE.")
        try:
            params[key] = json.loads(value)
        except ValueError:
            params[key] = value
    return params


def _read(text: str) -> str:
    if not text.startswith("@"):
        return text
    try:
        return sys.stdin.read() if text == "@-" else Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{text[1:]} can't be read: {error}.") from None


def _object(text: str, option: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option} is no JSON: {error}.") from None
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{option} must be a JSON object, such as '{{\"pages\": 3}}'.")
    return value
