"""The blueprint's asyncpg pool, which its API and the bare references share the settings of."""

from __future__ import annotations

import json
import os
from typing import TypeAlias

import asyncpg  # type: ignore[import-untyped]  # it ships no types

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


async def open_pool() -> Pool:
    """Connect to BLUEPRINT_DATABASE_URL with JSON columns as Python values; asyncpg's default of 10 connections."""

    async def with_json(connection: asyncpg.Connection[asyncpg.Record]) -> None:
        await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)

    return await asyncpg.create_pool(os.environ["BLUEPRINT_DATABASE_URL"], min_size=10, max_size=10, init=with_json)
