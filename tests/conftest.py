"""What all tests share: real servers, a fresh database and an empty Redis for each test that asks for them.

With xdist each worker has servers of its own (under a second to make): Redis' pub/sub channels and FLUSHALL know no
boundary inside one server.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from tests import servers
from tests.pods import Platform, platform

from longhaul_cli.embedded import EmbeddedPostgres, EmbeddedValkey


def pytest_report_header() -> str:
    return f"servers: {'containers' if servers.uses_containers() else 'embedded'}"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Longhaul runs on asyncio only."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[servers.PostgresServer]:
    """The PostgreSQL that the tests share. `url_of(database)` is for superusers; nobody stops it."""
    with servers.shared_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[servers.RedisServer]:
    """The Redis or Valkey that the tests share: `redis_url(db)`. Nobody stops it; `redis_url` empties it."""
    with servers.shared_redis() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_template(postgres_server: servers.PostgresServer) -> str:
    """The name of a migrated database that each test gets a copy of."""
    from longhaul.ledger.schema import migrate

    name = "longhaul_template"
    with psycopg.connect(postgres_server.url_of("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    migrate(postgres_server.url_of(name))
    return name


@pytest.fixture
def empty_database_url(postgres_server: servers.PostgresServer) -> Iterator[str]:
    """A database of the test's own without any schema."""
    yield from _database(postgres_server, template="template0")


@pytest.fixture
def database_url(postgres_server: servers.PostgresServer, migrated_template: str) -> Iterator[str]:
    """A migrated, empty database of the test's own."""
    yield from _database(postgres_server, template=migrated_template)


@pytest.fixture(scope="module")
def file_database_url(postgres_server: servers.PostgresServer, migrated_template: str) -> Iterator[str]:
    """A migrated database that the tests of one file share."""
    yield from _database(postgres_server, template=migrated_template)


def _database(server: servers.PostgresServer, *, template: str) -> Iterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(server.url_of("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
    yield server.url_of(name)
    with psycopg.connect(server.url_of("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def redis_url(redis_server: servers.RedisServer) -> str:
    """Database 0 of an empty Redis; `redis_server.redis_url(1)` is its database 1, empty too."""
    with redis.Redis.from_url(redis_server.redis_url()) as client:
        client.flushall()
    return redis_server.redis_url()


@pytest.fixture
def breakable_postgres() -> Iterator[EmbeddedPostgres]:
    """A migrated PostgreSQL of the test's own, to stop, kill, pause, or reach through a proxy (`tcp_url`)."""
    from longhaul.ledger.schema import migrate

    with servers.temporary_home() as home, EmbeddedPostgres(home, tcp=True, options=servers.FAST) as server:
        migrate(server.database_url)
        yield server


@pytest.fixture
def breakable_redis() -> Iterator[EmbeddedValkey]:
    """An empty Valkey of the test's own, to stop, kill, pause, or reach through a proxy (`tcp_url`)."""
    with servers.temporary_home() as home, EmbeddedValkey(home, tcp=True) as server:
        yield server


@pytest.fixture
def here(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Platform]:
    """A ledger and a Redis of the test's own, and whatever it starts on them."""
    with platform(database_url, redis_url, tmp_path) as one:
        yield one
