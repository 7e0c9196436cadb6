"""The controller's settings, and the duties that follow from them."""

from __future__ import annotations

from functools import partial

import pytest

from longhaul import doorbell
from longhaul.errors import ConfigurationError
from longhaul.ledger.connection import create_pool
from longhaul.settings import load_settings
from longhaul_controller.controller import create_duties
from longhaul_controller.doorbells import RedisDoorbells, RedisEventChannel
from longhaul_controller.duty import Duty
from longhaul_controller.leader import Leader
from longhaul_controller.ledger import connect_leader
from longhaul_controller.settings import ControllerSettings


@pytest.fixture
def set_variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("LONGHAUL_DATABASE_URL", "postgresql://ledger/longhaul")
    monkeypatch.setenv("LONGHAUL_REDIS_URL", "redis://doorbells/0")
    return monkeypatch


def create_leader(settings: ControllerSettings) -> Leader:
    return Leader(partial(connect_leader, settings.database_url), reconnect_seconds=settings.reconnect_seconds)


def create(settings: ControllerSettings) -> list[Duty]:
    """The duties of a controller with these settings, none of which has run."""
    return create_duties(
        settings,
        create_leader(settings),
        create_pool(settings.database_url, application_name="test", max_size=1),
        doorbells=RedisDoorbells(doorbell.create_client(settings.redis_url)),
        channel=RedisEventChannel(doorbell.create_client(settings.events_redis_url)),
    )


def test_the_defaults_are_the_numbers_of_the_design(set_variables: pytest.MonkeyPatch) -> None:
    settings = load_settings(ControllerSettings)
    assert (settings.lease_seconds, settings.renew_seconds, settings.tick_seconds) == (15, 3, 1)
    assert settings.controller_probe_host == "127.0.0.1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TICK_SECONDS", "0"),
        ("RETENTION_SECONDS", "-1"),
        ("RETENTION_INTERVAL_SECONDS", "0"),
        ("WORKER_SILENCE_SECONDS", "0"),
        ("CONTROLLER_PROBE_PORT", "70000"),
        ("WEBHOOK_SECRET", "short"),
        ("WEBHOOK_SECRET", "one that is long enough for every purpose,short"),
    ],
)
def test_a_setting_without_sense_is_named(set_variables: pytest.MonkeyPatch, name: str, value: str) -> None:
    set_variables.setenv(f"LONGHAUL_{name}", value)
    with pytest.raises(ConfigurationError, match=f"^LONGHAUL_{name}: "):
        load_settings(ControllerSettings)


@pytest.mark.anyio
async def test_each_duty_has_its_interval(set_variables: pytest.MonkeyPatch) -> None:
    set_variables.setenv("LONGHAUL_TICK_SECONDS", "2")
    set_variables.setenv("LONGHAUL_RETENTION_INTERVAL_SECONDS", "120")
    settings = load_settings(ControllerSettings)
    intervals = {duty.name: duty.interval_seconds for duty in create(settings)}
    assert intervals == {"reap": 1, "rering": 2, "demand": 2, "purge_expired": 120}


def test_webhooks_are_delivered_where_there_is_a_secret(set_variables: pytest.MonkeyPatch) -> None:
    assert load_settings(ControllerSettings).webhook_secrets == []
    new, old = "the new secret that is long enough", "the old secret that is long enough"
    set_variables.setenv("LONGHAUL_WEBHOOK_SECRET", f"{new}, {old}")
    settings = load_settings(ControllerSettings)
    assert settings.webhook_secrets == [new, old]
    assert new not in repr(settings)


@pytest.mark.anyio
async def test_nobody_leads_and_nothing_was_seen_before_the_first_look(set_variables: pytest.MonkeyPatch) -> None:
    leader = create_leader(load_settings(ControllerSettings))
    assert (leader.is_leader, leader.ledger_up_seconds()) == (False, 0)
