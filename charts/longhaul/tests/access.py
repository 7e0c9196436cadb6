"""What a test needs to speak to the API: a key, for as long as it runs."""
# ruff: noqa: INP001 - scripts of a ConfigMap, not a package

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager

from longhaul.client import Client
from longhaul.ledger import keys
from longhaul.ledger.connection import connect

_NAME = "helm test"


@contextmanager
def open_client() -> Iterator[Client]:
    """A client with the key of LONGHAUL_API_KEY, or with one that is made in the ledger and taken back at the end."""
    given = os.environ.get("LONGHAUL_API_KEY")
    key = given or asyncio.run(_create())
    try:
        with Client(api_key=key, retry_seconds=60) as client:
            yield client
    finally:
        if not given:
            asyncio.run(_revoke(key.split("_")[1]))


async def _create() -> str:
    async with await connect(os.environ["LONGHAUL_DATABASE_URL"], application_name=_NAME) as connection:
        return await keys.create(connection, name=_NAME, tenant="default", scopes=("submit", "read"))


async def _revoke(id: str) -> None:
    async with await connect(os.environ["LONGHAUL_DATABASE_URL"], application_name=_NAME) as connection:
        await keys.revoke(connection, id)
