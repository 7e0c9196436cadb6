"""`longhaul up`: every part of Longhaul on this machine, one real job, and a place to look, until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import JsonValue
from rich.console import Console

from longhaul.client import AsyncClient
from longhaul.contract import JobView
from longhaul.errors import ConfigurationError, LonghaulError
from longhaul.states import TERMINAL, State
from longhaul_cli import exits
from longhaul_cli.follow import JobProgress, print_outcome
from longhaul_cli.output import JsonFlag, print_error, print_json, stderr, stdout
from longhaul_cli.processes import Part, PartEnded, while_running
from longhaul_cli.summary import print_index, print_places

HOST = "127.0.0.1"
DEFAULT_PORT = 8080
TASK = "documents.index"
EXAMPLES = ("longhaul_examples.documents", "longhaul_examples.reports", "longhaul_examples.demo")
QUEUES = ("default", "documents", "reports")
DRAIN_SECONDS = 10
CELERY_EXIT_SECONDS = 3
START_SECONDS = 60.0
_PROBE_EVERY_SECONDS = 0.1
_SUBMITTED_BY = "longhaul up"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What was asked for."""

    home: Path
    port: int
    slots: int
    once: bool
    as_json: bool
    params: dict[str, Any]


def up(
    once: Annotated[bool, typer.Option("--once", help="End with the job; the exit code tells how it ended.")] = False,
    home: Annotated[
        Path | None,
        typer.Option(envvar="LONGHAUL_HOME", help="Folder of all data and logs; in the user's cache where not given."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the API, on 127.0.0.1.")] = DEFAULT_PORT,
    slots: Annotated[int, typer.Option(min=1, max=64, help="Jobs that run at once.")] = 2,
    folder: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of texts to index; this project's docs and Python's packages where not given. Repeatable."
        ),
    ] = None,
    query: Annotated[str | None, typer.Option(help="What to look for in the index.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Start everything on this machine, run one real job, and serve until Ctrl-C.

    PostgreSQL and Valkey come with it, unless LONGHAUL_DATABASE_URL and LONGHAUL_REDIS_URL name servers of your own.
    The job indexes folders of text files and searches them. Ctrl-C stops everything; the next `longhaul up` finds all
    jobs, and those that had not ended go on.
    """
    try:
        from longhaul_cli.embedded import default_home
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"`longhaul up` needs what this installation has not ({error.name}): install `longhaul-cli[local]`."
        ) from error
    params: dict[str, Any] = {"folders": [str(one.absolute()) for one in folder]} if folder else {}
    if query:
        params["query"] = query
    plan = Plan(
        home=(home or default_home()).expanduser().resolve(),
        port=port,
        slots=slots,
        once=once,
        as_json=as_json,
        params=params,
    )
    try:
        code = asyncio.run(_up(plan))
    except PartEnded as error:
        print_error(error)
        code = exits.FAILED
    raise typer.Exit(code)


async def _up(plan: Plan) -> int:
    """Returns the exit code. SIGINT and SIGTERM stop everything in order; a second one does not wait."""
    console = stderr() if plan.as_json else stdout()
    main = asyncio.current_task()
    assert main is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, main.cancel)
    is_serving = False
    try:
        async with AsyncExitStack() as stack:
            # Runs first where something ends this block.
            api, parts = await _start(plan, console, stack)
            stack.callback(console.print, "\nStopping.", style="dim")
            job, result = await while_running(parts, _run_job(plan, api, console))
            _print_end(plan, console, job, result)
            if not plan.once:
                is_serving = True
                print_places(console, api.url, home=plan.home, environment_file=_environment_file(plan))
                await while_running(parts, asyncio.Event().wait())
    except asyncio.CancelledError:
        console.print("Stopped. The next `longhaul up` finds every job, and goes on with those that had not ended.")
        return exits.SUCCEEDED if is_serving else exits.INTERRUPTED
    return exits.of_state(job.state)


async def _start(plan: Plan, console: Console, stack: AsyncExitStack) -> tuple[AsyncClient, list[Part]]:
    """Servers, schema, and the parts, which `stack` stops in the reverse order."""
    from longhaul.ledger import schema

    with console.status("Starting PostgreSQL and Valkey"):
        database_url, redis_url = _start_servers(plan, stack)
    with console.status("Migrating the ledger"):
        schema.migrate(database_url)
    console.print(await _count_jobs(database_url))
    port = _free_port(plan.port)
    if port != plan.port and plan.port:
        console.print(f"Port {plan.port} is taken: the API is on {port}.", style="yellow")
    probe_ports = {"LONGHAUL_CONTROLLER_PROBE_PORT": _free_port(0), "LONGHAUL_PROBE_PORT": _free_port(0)}
    api_url = f"http://{HOST}:{port}"
    environment = _environment(plan, database_url, redis_url, port=port) | {
        name: str(number) for name, number in probe_ports.items()
    }
    _write_environment_file(plan, environment, stack)
    logs = plan.home / "logs"
    for name in ("logs", "spool"):
        (plan.home / name).mkdir(mode=0o700, exist_ok=True)
    parts = [
        Part(program, environment=environment, log=logs / f"{program}.log", folder=logs, stop_seconds=seconds)
        # Stopped in the reverse order: the worker first, while there is still someone to report to.
        for program, seconds in (
            ("longhaul-controller", 5),
            ("longhaul-api", 5),
            ("longhaul-worker", DRAIN_SECONDS + 2),
        )
    ]
    with console.status("Starting the controller, the API and a worker"):
        for part in parts:
            await stack.enter_async_context(part)
        probes = [f"{api_url}/readyz", *(f"http://{HOST}:{number}/readyz" for number in probe_ports.values())]
        await while_running(parts, _wait_until_ready(probes))
    api = await stack.enter_async_context(AsyncClient(api_url))
    console.print(f"Longhaul is up: {api_url}", style="bold green")
    return api, parts


def _start_servers(plan: Plan, stack: AsyncExitStack) -> tuple[str, str]:
    """The URLs of PostgreSQL and Redis: one's own, or embedded ones that are started here."""
    from longhaul_cli.embedded import EmbeddedPostgres, EmbeddedValkey

    urls = []
    # A parent that did not exist would become root's own, which the servers' account can't enter: they make it.
    for variable, server in (("LONGHAUL_DATABASE_URL", EmbeddedPostgres), ("LONGHAUL_REDIS_URL", EmbeddedValkey)):
        own = os.environ.get(variable)
        urls.append(own or stack.enter_context(server(plan.home)).url)
    plan.home.mkdir(parents=True, mode=0o711, exist_ok=True)
    return urls[0], urls[1]


def _environment(plan: Plan, database_url: str, redis_url: str, *, port: int) -> dict[str, str]:
    """For the parts. Tasks and queues of one's own are served beside the examples."""
    inherited = os.environ
    tasks = dict.fromkeys((*EXAMPLES, *_split(inherited.get("LONGHAUL_TASKS"))))
    queues = dict.fromkeys((*QUEUES, *_split(inherited.get("LONGHAUL_QUEUES"))))
    return {
        **inherited,
        "LONGHAUL_DATABASE_URL": database_url,
        "LONGHAUL_REDIS_URL": redis_url,
        "LONGHAUL_EVENTS_URL": inherited.get("LONGHAUL_EVENTS_URL") or redis_url,
        "LONGHAUL_API_HOST": HOST,
        "LONGHAUL_API_PORT": str(port),
        "LONGHAUL_AUTH_MODE": "none",
        "LONGHAUL_URL": f"http://{HOST}:{port}",
        "LONGHAUL_TASKS": ",".join(tasks),
        "LONGHAUL_POOL": "default",
        "LONGHAUL_QUEUES": ",".join(queues),
        "LONGHAUL_SLOTS": str(plan.slots),
        "LONGHAUL_DRAIN_SECONDS": str(DRAIN_SECONDS),
        "LONGHAUL_CELERY_EXIT_SECONDS": str(CELERY_EXIT_SECONDS),
        "LONGHAUL_CONTROLLER_PROBE_HOST": HOST,
        "LONGHAUL_PROBE_HOST": HOST,
        "LONGHAUL_SPOOL_DIR": str(plan.home / "spool"),
        "LONGHAUL_LOG_FORMAT": inherited.get("LONGHAUL_LOG_FORMAT", "console"),
    }


def _environment_file(plan: Plan) -> Path:
    return plan.home / "environment"


def _write_environment_file(plan: Plan, environment: dict[str, str], stack: AsyncExitStack) -> None:
    """What `longhaul doctor`, `keys` and `purge` need in another terminal. It holds a password: only we can read it."""
    path = _environment_file(plan)
    names = ["LONGHAUL_URL", "LONGHAUL_DATABASE_URL", "LONGHAUL_REDIS_URL", "LONGHAUL_EVENTS_URL", "LONGHAUL_TASKS"]
    names += ["PYTHONPATH"] if "PYTHONPATH" in environment else []  # where the tasks of LONGHAUL_TASKS may stand
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(f"export {name}={_quote(environment[name])}\n" for name in names)
    stack.callback(path.unlink, missing_ok=True)


async def _wait_until_ready(probes: list[str]) -> None:
    """Raises LonghaulError where a part is not ready in time."""
    import httpx2

    async with httpx2.AsyncClient(timeout=5.0, trust_env=False) as http:
        for probe in probes:
            answer = "no answer"
            try:
                async with asyncio.timeout(START_SECONDS):
                    while True:
                        with suppress(httpx2.TransportError):
                            response = await http.get(probe)
                            if response.is_success:
                                break
                            answer = response.text.strip()[:200]
                        await asyncio.sleep(_PROBE_EVERY_SECONDS)
            except TimeoutError:
                raise LonghaulError(f"{probe} was not ready within {START_SECONDS:g} s: {answer}") from None


async def _run_job(plan: Plan, api: AsyncClient, console: Console) -> tuple[JobView, JsonValue]:
    """Submit the job, or go on with the one that an earlier `up` left; follow it to its end."""
    job = await _unfinished_job(plan, api)
    if job is not None:
        console.print(f"The job {job.id} had not ended: it goes on.")
    else:
        job = await api.submit(TASK, plan.params, metadata={"submitted_by": _SUBMITTED_BY})
        console.print(f"Submitted {TASK} as {job.id}")
    with JobProgress(console, job) as progress:
        async for event in api.events(job.id, after=job.last_event_id):
            progress.show(event)
    job = await api.get(job.id)
    return job, await api.result(job.id) if job.state is State.SUCCEEDED else None


async def _unfinished_job(plan: Plan, api: AsyncClient) -> JobView | None:
    async for job in api.list(state=[state for state in State if state not in TERMINAL], task=TASK):
        if job.params == plan.params and job.metadata == {"submitted_by": _SUBMITTED_BY} and not job.cancel_requested:
            return job
    return None


def _print_end(plan: Plan, console: Console, job: JobView, result: JsonValue) -> None:
    if plan.as_json:
        print_json({"job": job, "result": result})
    elif isinstance(result, dict):
        print_index(console, result)
    else:
        print_outcome(job, result)


_JOBS = """
SELECT count(*) AS jobs, count(*) FILTER (WHERE finished_at IS NULL) AS unfinished FROM jobs
"""


async def _count_jobs(database_url: str) -> str:
    from longhaul.ledger.connection import connect

    async with await connect(database_url, application_name="longhaul-up") as connection:
        row = await (await connection.execute(_JOBS)).fetchone() or {}
    if not row["jobs"]:
        return "The ledger is new: it holds no job yet."
    jobs = "1 job" if row["jobs"] == 1 else f"{row['jobs']} jobs"
    goes_on = f"; those that had not ended ({row['unfinished']}) go on" if row["unfinished"] else ""
    return f"The ledger holds {jobs} of earlier runs{goes_on}."


def _free_port(wanted: int) -> int:
    """`wanted` where it is free, or else any that is."""
    try:
        with socket.create_server((HOST, wanted)) as listener:
            port: int = listener.getsockname()[1]
            return port
    except OSError:
        return _free_port(0)


def _split(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
