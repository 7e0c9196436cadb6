"""The API's settings: no open door by accident."""

from __future__ import annotations

import pytest

from longhaul.errors import ConfigurationError
from longhaul.settings import load_settings
from longhaul_api.main import main
from longhaul_api.settings import ApiSettings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGHAUL_DATABASE_URL", "postgresql:///longhaul")
    monkeypatch.setenv("LONGHAUL_REDIS_URL", "redis://localhost")


def test_keys_are_wanted_where_nothing_is_said() -> None:
    assert load_settings(ApiSettings).auth_mode == "keys"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine_alone_may_go_without_keys(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGHAUL_AUTH_MODE", "none")
    monkeypatch.setenv("LONGHAUL_API_HOST", host)
    assert load_settings(ApiSettings).auth_mode == "none"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.7", "longhaul.example", "localhost.example"])
def test_elsewhere_it_must_be_said(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGHAUL_AUTH_MODE", "none")
    monkeypatch.setenv("LONGHAUL_API_HOST", host)
    with pytest.raises(ConfigurationError, match="would let everyone in: use LONGHAUL_AUTH_MODE=keys"):
        load_settings(ApiSettings)
    monkeypatch.setenv("LONGHAUL_AUTH_NONE_ANYWHERE", "true")
    assert load_settings(ApiSettings).auth_mode == "none"


def test_the_program_says_it_in_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LONGHAUL_AUTH_MODE", "none")
    monkeypatch.setenv("LONGHAUL_API_HOST", "0.0.0.0")
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("LONGHAUL_AUTH_MODE=none on 0.0.0.0 would let everyone in")
    assert "Traceback" not in told
