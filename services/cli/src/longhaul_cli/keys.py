"""`longhaul keys`: API keys, made and taken back in the ledger."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Annotated, Any

import typer

from longhaul.errors import NotFound
from longhaul_cli.output import JsonFlag, print_json, stderr, stdout, table
from longhaul_cli.session import open_ledger
from longhaul_cli.times import ago, utc_now

keys = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys. Needs LONGHAUL_DATABASE_URL.")


class Scope(StrEnum):
    """What a key may do: `ledger.keys.SCOPES`."""

    SUBMIT = "submit"
    READ = "read"
    ADMIN = "admin"


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key this is.")],
    scopes: Annotated[
        list[Scope] | None, typer.Option("--scope", help="Repeatable; submit and read by default.")
    ] = None,
    tenant: Annotated[str, typer.Option(help="Whose jobs it sees and submits.")] = "default",
    as_json: JsonFlag = False,
) -> None:
    """Make a key and print it: it can't be read again."""
    chosen = [str(scope) for scope in scopes or (Scope.SUBMIT, Scope.READ)]
    key = asyncio.run(_create(name, tenant, chosen))
    if as_json:
        print_json({"key": key, "name": name, "tenant": tenant, "scopes": chosen})
        return
    stdout().print(key)
    stderr().print("Keep it now: the ledger has only its hash. Use it as LONGHAUL_API_KEY.", style="dim")


@keys.command("list")
def list_keys(as_json: JsonFlag = False) -> None:
    """List keys, without their secrets."""
    found = asyncio.run(_list())
    if as_json:
        print_json(found)
    elif not found:
        stdout().print("No keys: make one with `longhaul keys create NAME`.")
    else:
        now = utc_now()
        rows = [
            (
                one["id"],
                one["name"],
                one["tenant"],
                ", ".join(one["scopes"]),
                ago(one["created_at"], now),
                ago(one["revoked_at"], now),
            )
            for one in found
        ]
        stdout().print(table(("id", "name", "tenant", "scopes", "created", "revoked"), rows))


@keys.command()
def revoke(
    id: Annotated[str, typer.Argument(help="The key's id, the middle part of `lh_ID_SECRET`.")],
    as_json: JsonFlag = False,
) -> None:
    """Take a key back: from now on it opens nothing."""
    if not asyncio.run(_revoke(id)):
        raise NotFound(f"There is no valid key with the id {id!r}: see `longhaul keys list`.")
    print_json({"id": id, "revoked": True}) if as_json else stdout().print(f"The key {id} is revoked.")


async def _create(name: str, tenant: str, scopes: list[str]) -> str:
    from longhaul.ledger import keys as ledger_keys

    async with open_ledger() as connection:
        return await ledger_keys.create(connection, name=name, tenant=tenant, scopes=scopes)


async def _list() -> list[dict[str, Any]]:
    from longhaul.ledger import keys as ledger_keys

    async with open_ledger() as connection:
        return await ledger_keys.list_keys(connection)


async def _revoke(id: str) -> bool:
    from longhaul.ledger import keys as ledger_keys

    async with open_ledger() as connection:
        return await ledger_keys.revoke(connection, id)
