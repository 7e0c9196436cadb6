"""The tests' PostgreSQL and Redis: embedded, or containers where `LONGHAUL_TEST_SERVERS=containers` asks for them."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Protocol

from longhaul_cli.embedded import EmbeddedPostgres, EmbeddedValkey

POSTGRES_IMAGE = os.environ.get("LONGHAUL_TEST_POSTGRES_IMAGE", "postgres:18-alpine")
REDIS_IMAGE = os.environ.get("LONGHAUL_TEST_REDIS_IMAGE", "redis:8-alpine")
MAX_CONNECTIONS = "200"
# Tests lose nothing in a power cut, and several servers share one machine.
FAST = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "32MB", "max_connections": MAX_CONNECTIONS}


class PostgresServer(Protocol):
    """A PostgreSQL that tests share: nobody stops it."""

    def url_of(self, database: str) -> str:
        """For libpq, as its superuser."""


class RedisServer(Protocol):
    """A Redis or Valkey that tests share: nobody stops it."""

    def redis_url(self, db: int = 0) -> str:
        """For redis-py."""


@cache
def uses_containers() -> bool:
    """Whether containers were asked for, and a Docker engine answers."""
    if os.environ.get("LONGHAUL_TEST_SERVERS") != "containers":
        return False
    import docker  # type: ignore[import-untyped]  # it has no types

    try:
        return bool(docker.from_env(timeout=5).ping())
    except docker.errors.DockerException:
        return False


@contextmanager
def temporary_home() -> Iterator[Path]:
    """The name of a home that is not there yet, so that the servers make it with the account they run as."""
    home = Path(tempfile.gettempdir()) / f"longhaul-test-{secrets.token_hex(6)}"
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def shared_postgres() -> Iterator[PostgresServer]:
    """An empty server, until the end of the block."""
    if uses_containers():
        with _postgres_container() as server:
            yield server
    else:
        with temporary_home() as home, EmbeddedPostgres(home, options=FAST) as embedded:
            yield embedded


@contextmanager
def shared_redis() -> Iterator[RedisServer]:
    """An empty server, until the end of the block."""
    if uses_containers():
        with _redis_container() as server:
            yield server
    else:
        with temporary_home() as home, EmbeddedValkey(home, options={"appendfsync": "no"}) as embedded:
            yield embedded


@contextmanager
def _postgres_container() -> Iterator[PostgresServer]:
    from testcontainers.community.postgres import PostgresContainer

    class Container:
        def url_of(self, database: str) -> str:
            host, port = container.get_container_host_ip(), container.get_exposed_port(5432)
            return f"postgresql://longhaul:longhaul@{host}:{port}/{database}"

    container = PostgresContainer(POSTGRES_IMAGE, username="longhaul", password="longhaul", driver=None)
    container.with_command(["postgres", *(f"-c{name}={value}" for name, value in FAST.items())])
    with container:
        yield Container()


@contextmanager
def _redis_container() -> Iterator[RedisServer]:
    from testcontainers.community.redis import RedisContainer

    class Container:
        def redis_url(self, db: int = 0) -> str:
            return f"redis://{container.get_container_host_ip()}:{container.get_exposed_port(6379)}/{db}"

    container = RedisContainer(REDIS_IMAGE)
    with container:
        yield Container()
