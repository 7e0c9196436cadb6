"""An API with published tasks, and a keeper beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis.asyncio as redis
from tests.integration.api.harness import Api, Keeper, api_settings, publish_tasks, serving

from longhaul.ledger.connection import connect
from longhaul_api.settings import ApiSettings


@pytest.fixture
async def settings(database_url: str, redis_url: str) -> ApiSettings:
    await publish_tasks(database_url)
    return api_settings(database_url, redis_url)


@pytest.fixture
async def api(settings: ApiSettings) -> AsyncIterator[Api]:
    async with serving(settings) as running:
        yield running


@pytest.fixture
async def keeper(settings: ApiSettings) -> AsyncIterator[Keeper]:
    connection = await connect(settings.database_url, application_name="keeper")
    async with redis.Redis.from_url(settings.events_redis_url) as client:
        one = Keeper(connection, client)
        await one.register()
        yield one
    await connection.close()
