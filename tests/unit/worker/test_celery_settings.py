"""Celery's settings are the ones that were measured, and its environment holds no credentials of the database."""

from __future__ import annotations

from pathlib import Path

import pytest

from longhaul_worker.celery.app import broker_url, settings
from longhaul_worker.settings import WorkerSettings
from longhaul_worker.supervisor import Supervisor


@pytest.mark.parametrize(
    ("redis_url", "expected"),
    [
        ("redis://:secret@redis:6379/2", "redis://:secret@redis:6379/2"),
        ("rediss://redis:6380/0", "rediss://redis:6380/0"),
        ("unix:///run/valkey.sock?db=3", "redis+socket:///run/valkey.sock?virtual_host=3"),
        ("unix://:secret@/run/valkey.sock", "redis+socket://:secret@/run/valkey.sock?virtual_host=0"),
    ],
)
def test_the_broker_url_is_what_kombu_understands(redis_url: str, expected: str) -> None:
    assert broker_url(redis_url) == expected


def test_celery_is_set_as_designed() -> None:
    chosen = settings("redis://localhost:6379/0")
    assert chosen["task_acks_late"] is False
    assert chosen["task_ignore_result"] is True
    assert chosen["worker_prefetch_multiplier"] == 1
    assert chosen["worker_disable_prefetch"] is True
    assert chosen["worker_enable_remote_control"] is False
    assert chosen["accept_content"] == ["json"]
    assert chosen["broker_transport_options"] == {
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "priority_steps": [0],
    }


@pytest.mark.anyio
async def test_celery_sees_no_credentials_of_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGHAUL_DATABASE_URL", "postgresql://user:secret@db/longhaul")
    monkeypatch.setenv("PGPASSWORD", "secret")
    chosen = WorkerSettings(redis_url="redis://localhost", tasks=["longhaul_examples.demo"])
    environment = Supervisor(chosen, Path("/run/keeper.sock"))._environment()
    assert not [name for name, value in environment.items() if "secret" in value]
    assert environment["LONGHAUL_KEEPER_SOCKET"] == "/run/keeper.sock"
