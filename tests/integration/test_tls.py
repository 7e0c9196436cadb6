"""PostgreSQL and Redis by TLS: all of Longhaul speaks it, and to nobody whose certificate it can't trust."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import trustme
from tests.integration.cli.stack import run_stack
from tests.integration.tls import TlsFront, serving, write_authority
from tests.pods import platform
from tests.waiting import wait_for

from longhaul.client import Client
from longhaul.errors import LedgerUnavailable
from longhaul.ledger.connection import connect
from longhaul.states import State
from longhaul_cli.embedded import EmbeddedPostgres, EmbeddedValkey

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Servers:
    """Behind TLS, and the file with the authority that signed for them."""

    postgres: TlsFront
    redis: TlsFront
    database_url: str
    redis_url: str
    authority: Path


@pytest.fixture
def servers(breakable_postgres: EmbeddedPostgres, breakable_redis: EmbeddedValkey, tmp_path: Path) -> Iterator[Servers]:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    assert breakable_postgres.port
    assert breakable_redis.port
    postgres = TlsFront(breakable_postgres.port, certificate, is_postgres=True)
    redis = TlsFront(breakable_redis.port, certificate)
    with serving(postgres, redis):
        yield Servers(
            postgres,
            redis,
            breakable_postgres.tcp_url(port=postgres.port),
            breakable_redis.tcp_url(port=redis.port).replace("redis:", "rediss:"),
            write_authority(authority, tmp_path),
        )


async def test_a_job_runs_with_all_connections_verified(servers: Servers, tmp_path: Path) -> None:
    database_url = f"{servers.database_url}?sslmode=verify-full&sslrootcert={servers.authority}"
    redis_url = f"{servers.redis_url}?ssl_ca_certs={servers.authority}"
    with run_stack(database_url, redis_url, tmp_path) as stack, Client(stack.url) as client:
        job = client.wait(client.submit("demo.echo", {"payload": 42}).id, timeout=30)
        assert (job.state, job.attempt) == (State.SUCCEEDED, 1)
        # Of the API, the controller, the keeper, and Celery below it.
        assert httpx2.get(f"{stack.url}/readyz").json() == {"status": "ok", "problems": {}, "degraded": {}}


async def test_doorbells_are_not_heard_from_a_redis_that_nobody_vouches_for(
    servers: Servers, breakable_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """Neither by the keeper nor by Celery, whose kombu would trust anybody where it is not told otherwise."""
    with platform(breakable_postgres.database_url, servers.redis_url, tmp_path) as here:
        worker = here.launch_worker(LONGHAUL_REDIS_SILENCE_SECONDS="1")
        wait_for(lambda: "redis_away" in worker.log, timeout_seconds=60, what="Celery gives this Redis up")
        # The keeper asks the ledger instead: nothing is lost by it.
        job_id = await here.submit("demo.echo", ring=False)
        await here.wait_state(job_id, "succeeded")
    assert "certificate verify failed" in worker.log
    assert servers.redis.handshakes == 0


async def test_a_ledger_that_nobody_vouches_for_is_refused(servers: Servers, tmp_path: Path) -> None:
    stranger = write_authority(trustme.CA(), tmp_path)
    with pytest.raises(LedgerUnavailable, match="certificate verify failed"):
        await connect(f"{servers.database_url}?sslmode=verify-full&sslrootcert={stranger}", application_name="test")
    assert servers.postgres.handshakes == 0
