"""`longhaul simulate` and `longhaul replay`: what these values would do with described, or with recorded, jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from longhaul.errors import ConfigurationError
from longhaul_cli import jobs as submitted
from longhaul_cli.output import JsonFlag, print_json, stderr, stdout, table
from longhaul_cli.session import open_ledger
from longhaul_cli.times import parse_duration

if TYPE_CHECKING:
    from longhaul.ledger.history import Recorded
    from longhaul_cli.simulator.scenario import Scenario
    from longhaul_cli.simulator.trial import Source, Trial

Values = Annotated[
    list[Path] | None,
    typer.Option("--values", "-f", help="Helm values to try, over the chart's own; the last of several wins."),
]
Against = Annotated[
    list[Path] | None,
    typer.Option("--against", help="Helm values as they are: prints what changes, in Markdown for a pull request."),
]
ClusterFile = Annotated[
    Path | None, typer.Option("--cluster", help="YAML: nodes, delays, prices; the sizing guide's where not given.")
]
Seed = Annotated[int, typer.Option(help="All chance follows from it: one seed, one outcome.")]
WaitTarget = Annotated[str, typer.Option(help="Waits longer than this are counted.")]
Report = Annotated[
    Path | None, typer.Option(help="Write tables and plots to this file: .html, or .png for the plots alone.")
]


def simulate(
    workload: Annotated[Path, typer.Argument(help="YAML: which jobs come when, and how long they run.")],
    values: Values = None,
    against: Against = None,
    cluster: ClusterFile = None,
    seed: Seed = 0,
    wait_target: WaitTarget = "10s",
    report: Report = None,
    as_json: JsonFlag = False,
) -> None:
    """Simulate jobs, worker pods, their autoscaling and nodes: waits, interruptions, hours and cost before you pay.

    Nothing is contacted.
    """
    from longhaul_cli.simulator.trial import Source
    from longhaul_cli.simulator.workload import read_workload

    wanted = _wanted(values, against, cluster, seed=seed, wait_target=wait_target, report=report, as_json=as_json)
    described = read_workload(workload)
    wanted.try_out(
        Source(
            name=str(workload),
            queues=described.queues,
            seconds=described.duration,
            jobs=lambda: described.draw(seed),
        )
    )


def replay(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of jobs to submit again.", metavar="[ID]...")] = None,
    since: Annotated[
        str | None, typer.Option(help="Simulate the jobs that the ledger recorded in this time, such as 7d.")
    ] = None,
    history: Annotated[Path | None, typer.Option(help="Simulate the jobs of a file that --save wrote.")] = None,
    save: Annotated[
        Path | None, typer.Option(help="With --since: keep the recorded jobs in this file, as JSON lines.")
    ] = None,
    values: Values = None,
    against: Against = None,
    cluster: ClusterFile = None,
    seed: Seed = 0,
    wait_target: WaitTarget = "10s",
    report: Report = None,
    as_json: JsonFlag = False,
) -> None:
    """Submit failed or dead jobs again, by their ids; or simulate recorded jobs, with --since or --history.

    With ids it prints the ids of the new jobs. With --since it reads the ledger (LONGHAUL_DATABASE_URL), writes nothing
    there, and prints the recorded waits beside those that other Helm values would have given.
    """
    if sum((bool(ids), since is not None, history is not None)) != 1:
        raise typer.BadParameter("Say which: ids of jobs to submit again, or --since or --history to simulate.")
    if save and since is None:
        raise typer.BadParameter("--save keeps what --since reads: say --since, too.")
    if ids:
        if values or against or cluster or report:
            raise typer.BadParameter("Jobs that are submitted again are not simulated: leave the ids or the files out.")
        submitted.replay(context, ids, as_json)
        return
    wanted = _wanted(values, against, cluster, seed=seed, wait_target=wait_target, report=report, as_json=as_json)
    if since is not None:
        recorded = asyncio.run(_read_ledger(parse_duration(since), save))
        wanted.try_out(_recorded_source(recorded, f"the last {since}", wanted.wait_target_seconds))
    elif history:
        from longhaul_cli.simulator.recording import read_lines

        wanted.try_out(_recorded_source(read_lines(history), str(history), wanted.wait_target_seconds))


async def _read_ledger(seconds: float, save: Path | None) -> list[Recorded]:
    """The recorded jobs of the last so many seconds, and a file of them."""
    from longhaul.ledger.connection import read_clock
    from longhaul.ledger.history import read_recorded
    from longhaul_cli.simulator.recording import write_line

    found = []
    with ExitStack() as stack:
        file: IO[bytes] | None = None
        if save:
            try:
                file = stack.enter_context(save.open("wb"))
            except OSError as error:
                raise ConfigurationError(f"{save} can't be written ({error.strerror}): name another file.") from None
        async with open_ledger() as connection:
            now = await read_clock(connection)
            async for one in read_recorded(connection, since=now - timedelta(seconds=seconds), until=now):
                found.append(one)
                if file:
                    write_line(file, one)
    return found


def _recorded_source(recorded: Iterable[Recorded], name: str, wait_target_seconds: float) -> Source:
    from longhaul_cli.simulator.figures import recorded_figures
    from longhaul_cli.simulator.recording import Recording
    from longhaul_cli.simulator.trial import Source

    recording = Recording(recorded)
    if not len(recording):
        raise ConfigurationError(f"No job of {name} ran to its end: name a longer time.")
    if recording.left_out:
        stderr().print(f"Left out, as they did not run to an end: {recording.left_out}.", style="dim")
    return Source(
        name=name,
        queues=recording.queues,
        seconds=recording.seconds,
        jobs=recording.jobs,
        recorded=recorded_figures(
            recording.waits,
            jobs=len(recording),
            interrupted=recording.interrupted,
            wait_target_seconds=wait_target_seconds,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """How it is to be tried and told."""

    scenarios: list[tuple[str, Scenario]]
    seed: int
    wait_target_seconds: float
    report: Path | None
    as_json: bool

    def try_out(self, source: Source) -> None:
        """Simulate, and print."""
        from longhaul_cli.simulator.trial import try_out

        trial = try_out(source, self.scenarios, seed=self.seed, wait_target_seconds=self.wait_target_seconds)
        if self.report:
            trial.write_report(self.report)
        if self.as_json:
            print_json(trial.document())
        else:
            _print(trial)
        if self.report:
            stderr().print(f"{self.report} is written.", style="dim")


def _wanted(
    values: list[Path] | None,
    against: list[Path] | None,
    cluster: Path | None,
    *,
    seed: int,
    wait_target: str,
    report: Path | None,
    as_json: bool,
) -> _Wanted:
    """What can be wrong with the files is said before anything is simulated."""
    from longhaul_cli.simulator.report import check_path
    from longhaul_cli.simulator.scenario import read_scenario

    if report:
        check_path(report)
    after = read_scenario(values or [], cluster)
    return _Wanted(
        scenarios=[("before", read_scenario(against, cluster)), ("after", after)]
        if against
        else [("simulated", after)],
        seed=seed,
        wait_target_seconds=parse_duration(wait_target),
        report=report,
        as_json=as_json,
    )


def _print(trial: Trial) -> None:
    from longhaul_cli.simulator.figures import markdown

    told = trial.table()
    if trial.compares:
        typer.echo(markdown(told.columns, told.rows))  # not through Rich: it is pasted as it is
        return
    for one in (told, *(detail for detail in trial.details() if len(detail.rows) > 1)):
        stdout().print(table(one.columns, one.rows, right=one.columns[1:]))
