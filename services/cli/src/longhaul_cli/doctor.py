"""`longhaul doctor`: is everything there, and what to do where it is not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from longhaul.client import AsyncClient
from longhaul_cli import exits
from longhaul_cli.output import JsonFlag, clean, print_json, stdout

if TYPE_CHECKING:
    from longhaul_cli.checks import Finding

_MARKS = {"ok": ("✓", "green"), "problem": ("✗", "bold red"), "skipped": ("-", "dim")}


def doctor(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Check every dependency and setting that this machine's environment names; exit code 1 where something is wrong."""
    findings = asyncio.run(_examine(context.obj, print_each=not as_json))
    problems = [finding for finding in findings if finding.status == "problem"]
    if as_json:
        print_json(findings)
    else:
        summary = f"{len(problems)} of {len(findings)} need care." if problems else "All is well."
        stdout().print(Text(summary, "bold red" if problems else "bold green"))
    raise typer.Exit(exits.FAILED if problems else exits.SUCCEEDED)


async def _examine(url: str | None, *, print_each: bool) -> list[Finding]:
    from longhaul_cli.checks import examine

    findings = []
    async with AsyncClient(url, retry_seconds=0) as client:
        async for finding in examine(client):
            findings.append(finding)
            if print_each:
                _print(finding)
    return findings


def _print(finding: Finding) -> None:
    mark, style = _MARKS[finding.status]
    console = stdout()
    console.print(Text.assemble((f"{mark} ", style), (f"{finding.subject:16} ", "bold"), clean(finding.detail)))
    if finding.advice:
        console.print(Text(f"{'':19}→ {clean(finding.advice)}", "yellow"))
