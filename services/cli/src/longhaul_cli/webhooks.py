"""`longhaul webhooks`: what receivers verify with, and telling the end of jobs again."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from longhaul.errors import ConfigurationError
from longhaul.webhooks import split_secrets, tenant_secret
from longhaul_cli.jobs import JobIds
from longhaul_cli.output import JsonFlag, print_json, stdout
from longhaul_cli.session import open_client

webhooks = typer.Typer(no_args_is_help=True, help="Print a tenant's secret; tell the end of jobs again.")


@webhooks.command()
def secret(
    tenant: Annotated[str, typer.Option(help="Whose receivers verify with it.")] = "default",
    as_json: JsonFlag = False,
) -> None:
    """Print what a tenant's receivers verify with. Needs LONGHAUL_WEBHOOK_SECRET, as the controller has it.

    Of two secrets in it, parted by a comma, the first one counts: the new one.
    """
    of_installation = split_secrets(os.environ.get("LONGHAUL_WEBHOOK_SECRET", ""))
    if not of_installation:
        raise ConfigurationError("LONGHAUL_WEBHOOK_SECRET is not set: set it as the controller has it.")
    found = tenant_secret(of_installation[0], tenant)
    print_json({"tenant": tenant, "secret": found}) if as_json else stdout().print(found)


@webhooks.command()
def redeliver(context: typer.Context, ids: JobIds, as_json: JsonFlag = False) -> None:
    """Tell the end of jobs again, beginning with the first try."""
    with open_client(context) as client:
        told = {id: client.redeliver(id) for id in ids}
    if as_json:
        print_json(told)
        return
    for id, view in told.items():
        stdout().print(f"{id} is told to {view.url}")
