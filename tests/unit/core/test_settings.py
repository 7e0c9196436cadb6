"""Settings: what is wrong is told in one sentence that names the variable."""

from __future__ import annotations

import os

import pytest

from longhaul.errors import ConfigurationError
from longhaul.settings import Settings, load_settings, split_commas

RIGHT = {
    "LONGHAUL_DATABASE_URL": "postgresql://longhaul:secret@localhost:5432/longhaul",
    "LONGHAUL_REDIS_URL": "redis://localhost:6379/0",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment where everything is right and nothing else is set."""
    for name in os.environ:
        if name.startswith(("LONGHAUL_", "OTEL_")):
            monkeypatch.delenv(name)
    for name, value in RIGHT.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def refusal() -> str:
    with pytest.raises(ConfigurationError) as raised:
        load_settings(Settings)
    return raised.value.message


def test_the_defaults_are_those_of_the_design() -> None:
    settings = load_settings(Settings)
    assert (settings.lease_seconds, settings.renew_seconds) == (15, 3)
    assert settings.events_redis_url == settings.redis_url
    assert settings.log_format == "json"


def test_events_may_go_through_a_redis_of_their_own(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("LONGHAUL_EVENTS_URL", "redis://other:6379/0")
    assert load_settings(Settings).events_redis_url == "redis://other:6379/0"


def test_the_endpoint_of_traces_is_opentelemetrys_own_variable(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    assert load_settings(Settings).otlp_endpoint == "http://collector:4318"


@pytest.mark.parametrize("name", RIGHT)
def test_a_missing_setting_is_named(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.delenv(name)
    assert refusal() == f"{name}: is not set."


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("LONGHAUL_DATABASE_URL", "mysql://localhost/longhaul", "must look like postgresql://"),
        ("LONGHAUL_DATABASE_URL", "", "must look like postgresql://"),
        ("LONGHAUL_REDIS_URL", "localhost:6379", "must look like redis://"),
        ("LONGHAUL_EVENTS_URL", "http://localhost", "must look like redis://"),
        ("LONGHAUL_LEASE_SECONDS", "0", "greater than 0"),
        ("LONGHAUL_LEASE_SECONDS", "nan", "greater than 0"),
        ("LONGHAUL_LEASE_SECONDS", "fifteen", "valid number"),
        ("LONGHAUL_LEASE_SECONDS", "8", "at least three times LONGHAUL_RENEW_SECONDS (3)"),
        ("LONGHAUL_RENEW_SECONDS", "-1", "greater than 0"),
        ("LONGHAUL_RENEW_SECONDS", "6", "LONGHAUL_LEASE_SECONDS (15) must be at least three times"),
        ("LONGHAUL_RECONNECT_SECONDS", "0", "greater than 0"),
        ("LONGHAUL_LOG_FORMAT", "xml", "'json' or 'console'"),
        ("LONGHAUL_LOG_LEVEL", "verbose", "'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_a_wrong_value_is_told_in_a_sentence_that_names_the_variable(
    environment: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    environment.setenv(name, value)
    message = refusal()
    assert name in message
    assert says in message
    assert message.endswith(".")
    assert len(message.splitlines()) == 1


def test_everything_that_is_wrong_is_told_at_once_and_no_value_with_it(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("LONGHAUL_DATABASE_URL", "mysql://longhaul:secret@localhost/longhaul")
    environment.setenv("LONGHAUL_LOG_LEVEL", "verbose")
    lines = refusal().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["LONGHAUL_DATABASE_URL", "LONGHAUL_LOG_LEVEL"]
    assert "secret" not in refusal()


def test_commas_part_a_list() -> None:
    assert split_commas(" a, b,,c ") == ["a", "b", "c"]
    assert split_commas("") == []
    assert split_commas(["a,b"]) == ["a,b"]
