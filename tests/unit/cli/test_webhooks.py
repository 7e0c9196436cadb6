"""`longhaul webhooks secret`: what a tenant's receivers verify with."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from longhaul.webhooks import tenant_secret
from longhaul_cli.app import app

NEW, OLD = "the new secret that is long enough", "the old secret that is long enough"


def test_it_is_made_from_the_installations_newest_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGHAUL_WEBHOOK_SECRET", f"{NEW}, {OLD}")
    printed = CliRunner().invoke(app, ["webhooks", "secret"])
    assert printed.stdout == f"{tenant_secret(NEW, 'default')}\n"
    answer = json.loads(CliRunner().invoke(app, ["webhooks", "secret", "--tenant", "acme", "--json"]).stdout)
    assert answer == {"tenant": "acme", "secret": tenant_secret(NEW, "acme")}


def test_without_one_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LONGHAUL_WEBHOOK_SECRET", raising=False)
    refused = CliRunner().invoke(app, ["webhooks", "secret"])
    assert refused.exit_code != 0
    assert "LONGHAUL_WEBHOOK_SECRET is not set: set it as the controller has it." in refused.output
