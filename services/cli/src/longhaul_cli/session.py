"""What commands work with: a client of the API, or a connection to the ledger."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import typer

from longhaul.client import Client
from longhaul.errors import ConfigurationError, LedgerUnavailable, LonghaulError

if TYPE_CHECKING:
    from longhaul.ledger.connection import Connection

PATIENCE_SECONDS = 2.0
"""For a person who waits at a prompt. Following a job has more: it outlives a restart of the API."""
FOLLOW_PATIENCE_SECONDS = 120.0


def open_client(context: typer.Context, *, patience_seconds: float = PATIENCE_SECONDS) -> Client:
    """A client of the API that `--url` or LONGHAUL_URL names. Raises ConfigurationError."""
    return Client(url=context.obj, retry_seconds=patience_seconds)


def database_url() -> str:
    """LONGHAUL_DATABASE_URL. Raises ConfigurationError where it is not set."""
    url = os.environ.get("LONGHAUL_DATABASE_URL")
    if not url:
        raise ConfigurationError(
            "LONGHAUL_DATABASE_URL is not set: this command works on the ledger itself. Set it to "
            "postgresql://user:password@host:5432/database; for a running `longhaul up`, load the file that it names."
        )
    return url


@asynccontextmanager
async def open_ledger() -> AsyncIterator[Connection]:
    """A connection to a ledger of the right schema. Raises ConfigurationError, LedgerUnavailable, SchemaMismatch."""
    # Here, because a PostgreSQL client takes longer to import than most commands take to run.
    import psycopg

    from longhaul.ledger import schema
    from longhaul.ledger.connection import AWAY, connect

    url = database_url()
    try:
        async with await connect(url, application_name="longhaul-cli", statement_timeout_seconds=60) as connection:
            schema.check(await schema.read_revision(connection))
            yield connection
    except AWAY as error:
        raise LedgerUnavailable("The database stopped answering: run the command again.") from error
    except psycopg.Error as error:
        raise LonghaulError(f"The database refused this: {str(error).splitlines()[0]}") from error
