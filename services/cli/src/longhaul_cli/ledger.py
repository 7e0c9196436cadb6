"""`longhaul migrate` and `longhaul purge`: the ledger's schema and its retention."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from longhaul_cli.output import JsonFlag, print_json, stdout
from longhaul_cli.session import database_url, open_ledger
from longhaul_cli.times import parse_duration

_BATCH = 1000


def migrate(
    revision: Annotated[str, typer.Argument(help="`head`, a revision, or `base` for none at all.")] = "head",
    yes: Annotated[bool, typer.Option("--yes", help="Go back without asking, although that deletes data.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Bring the ledger's schema to the newest revision. Safe to run at any time, and by several at once."""
    from longhaul.ledger import schema

    url = database_url()
    if (revision == "base" or revision < schema.HEAD) and not yes:
        typer.confirm(f"Going back to {revision} deletes what newer revisions hold. Go on?", abort=True, err=True)
    now_at = schema.migrate(url, revision)
    print_json({"revision": now_at}) if as_json else stdout().print(f"The ledger's schema is at {now_at}.")


def purge(
    older_than: Annotated[str, typer.Option(help="Jobs that ended longer ago than this, such as 7d.")],
    as_json: JsonFlag = False,
) -> None:
    """Delete jobs that ended long ago, with their events. Dead letters stay until someone replays or discards them."""
    count = asyncio.run(_purge(parse_duration(older_than)))
    print_json({"purged": count}) if as_json else stdout().print(f"{count} jobs purged.")


async def _purge(older_than_seconds: float) -> int:
    """In small transactions, so that nobody waits for it."""
    from longhaul.ledger import retention

    count = 0
    async with open_ledger() as connection:
        while True:
            deleted = await retention.purge(connection, older_than_seconds=older_than_seconds, limit=_BATCH)
            count += deleted
            if deleted < _BATCH:
                return count
