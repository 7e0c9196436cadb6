"""`longhaul size`: how large an installation must be for a load, and why."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from longhaul.errors import ConfigurationError
from longhaul.sizing import emit as emitted
from longhaul.sizing.assumptions import PRESETS, parse
from longhaul.sizing.fleet import Fleet
from longhaul.sizing.lines import lines
from longhaul.sizing.measured import Run, measure
from longhaul.sizing.prices import parse_prices
from longhaul.sizing.sizing import Sizing
from longhaul.sizing.sizing import size as size_of
from longhaul_cli.documents import read_mapping
from longhaul_cli.output import JsonFlag, print_json, stderr, stdout
from longhaul_cli.session import open_ledger
from longhaul_cli.times import parse_duration


class Emit(StrEnum):
    HELM = "helm"
    TFVARS = "tfvars"


class Numbers(StrEnum):
    NEEDED = "needed"
    PACKED = "packed"
    GUIDE = "guide"


def size(
    file: Annotated[Path | None, typer.Argument(help="YAML with assumptions.", metavar="[FILE]")] = None,
    preset: Annotated[str | None, typer.Option(help=f"Begin with a known case: {', '.join(PRESETS)}.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="One assumption, such as task_seconds=90; wins over the others.")
    ] = None,
    from_cluster: Annotated[
        bool, typer.Option("--from-cluster", help="Measure rate and durations from the ledger's jobs.")
    ] = False,
    since: Annotated[str, typer.Option(help="With --from-cluster: jobs of this time, such as 7d.")] = "7d",
    prices: Annotated[Path | None, typer.Option(help="YAML with prices: adds what it costs.")] = None,
    emit: Annotated[Emit | None, typer.Option(help="Print Helm values or Terraform variables instead.")] = None,
    numbers: Annotated[Numbers, typer.Option(help="Which numbers to emit.")] = Numbers.NEEDED,
    as_json: JsonFlag = False,
) -> None:
    """Say how many pods, slots and nodes a load needs, and why: the sizing guide's numbers and those that hold.

    Assumptions come from a preset, the ledger, a file and --set; later ones win.
    """
    values: dict[str, Any] = {}
    if preset is not None:
        values |= _preset(preset)
    if from_cluster:
        values |= asyncio.run(_measured(parse_duration(since)))
    if file is not None:
        values |= read_mapping(file)
    values |= dict(_assignment(one) for one in setting or [])
    if not values:
        raise ConfigurationError(
            "There is nothing to size: name a file with assumptions, a --preset, or --from-cluster; `--preset aks-guide "
            "--json` shows all assumptions of a known case."
        )
    sizing = size_of(parse(values), parse_prices(read_mapping(prices)) if prices else None)
    if emit is not None:
        _emit(sizing, emit, numbers)
    elif as_json:
        print_json(_json(sizing))
    else:
        _print(sizing)


def _preset(name: str) -> dict[str, Any]:
    if name not in PRESETS:
        raise ConfigurationError(f"There is no preset {name!r}: take one of {', '.join(PRESETS)}.")
    return dict(PRESETS[name])


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not value.strip():
        raise ConfigurationError(f"--set {text} sets nothing: write it as task_seconds=90.")
    return name.strip(), value.strip()


async def _measured(since_seconds: float) -> dict[str, Any]:
    from longhaul.ledger.connection import read_clock
    from longhaul.ledger.history import read_recorded

    async with open_ledger() as connection:
        now = await read_clock(connection)
        runs = [
            Run(job.due_at.timestamp(), job.started_at.timestamp(), job.run_seconds)
            async for job in read_recorded(connection, since=now - timedelta(seconds=since_seconds), until=now)
            if job.started_at is not None and job.run_seconds is not None
        ]
    if not runs:
        raise ConfigurationError("No job of this time has run: give a longer --since, or assumptions in a file.")
    stderr().print(f"measured from {len(runs):,} jobs; the busiest five minutes count as the peak")
    return measure(runs)


def _fleets(sizing: Sizing) -> dict[Numbers, Fleet]:
    return {Numbers.GUIDE: sizing.guide, Numbers.PACKED: sizing.packed, Numbers.NEEDED: sizing.needed}


def _json(sizing: Sizing) -> dict[str, Any]:
    return {
        "assumptions": sizing.assumptions.model_dump(),
        **{
            name: asdict(fleet) | {"keda_target": fleet.keda_target, "slots": fleet.slots}
            for name, fleet in _fleets(sizing).items()
        },
        "redis": asdict(sizing.redis),
        "postgres": asdict(sizing.postgres),
        "reaction": asdict(sizing.reaction) | {"seconds": sizing.reaction.seconds},
        "max_graceful_termination_seconds": sizing.max_graceful_termination_seconds,
        "drain_timeout_minutes": sizing.drain_timeout_minutes,
        "lines": [asdict(line) for line in lines(sizing)],
        "cost": asdict(sizing.cost) if sizing.cost else None,
    }


def _print(sizing: Sizing) -> None:
    console = stdout()
    for line in lines(sizing):
        console.print(Text(f"{line.component}: {line.setting}", "bold"))
        grid = Table.grid(padding=(0, 2))
        grid.add_column(width=8)
        grid.add_column(width=34)
        grid.add_column()
        grid.add_row("guide", line.guide, Text(line.how, "dim"))
        grid.add_row("needed", Text(line.needed, "bold"), Text(line.why or "as the guide says", "dim"))
        console.print(grid)
    guide, packed, needed = sizing.guide, sizing.packed, sizing.needed
    console.print(
        f"The guide: {guide.api_max_replicas} API pods, {guide.worker_max_replicas} workers, {guide.nodes} nodes, at most "
        f"{guide.nodes_max}. The same pods need {packed.nodes} nodes, at most {packed.nodes_max}. With a CPU for each task "
        f"and the wait target: {needed.api_max_replicas}, {needed.worker_max_replicas}, {needed.nodes} and "
        f"{needed.nodes_max}."
    )
    if sizing.cost:
        cost = sizing.cost
        console.print(
            f"A month: {cost.least_month:,.0f} {cost.currency} with {sizing.assumptions.node_min} nodes, "
            f"{cost.peak_month:,.0f} {cost.currency} with {needed.nodes} all the time."
        )


def _emit(sizing: Sizing, emit: Emit, numbers: Numbers) -> None:
    fleet = _fleets(sizing)[numbers]
    if emit is Emit.HELM:
        import yaml

        sys.stdout.write(yaml.safe_dump(emitted.helm_values(sizing.assumptions, fleet), sort_keys=False))
    else:
        sys.stdout.write(emitted.hcl(emitted.terraform_variables(sizing.assumptions, fleet)))
