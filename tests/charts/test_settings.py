"""Each variable that the chart sets is one that its service reads, and the services take what they are given."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.charts.release import CI_VALUES, Release, render

from longhaul.settings import Settings, load_settings
from longhaul_api.settings import ApiSettings
from longhaul_controller.settings import ControllerSettings
from longhaul_worker.settings import WorkerSettings

SERVICES: dict[str, type[Settings]] = {"api": ApiSettings, "worker": WorkerSettings, "controller": ControllerSettings}
SECRETS = {
    "LONGHAUL_DATABASE_URL": "postgresql://db/longhaul",
    "LONGHAUL_REDIS_URL": "redis://cache",
    "LONGHAUL_EVENTS_URL": "redis://events",
    "LONGHAUL_RESULT_STORE_OPTIONS": '{"aws_region": "eu-west-1"}',
    "LONGHAUL_WEBHOOK_SECRET": "a secret that is long enough for every purpose",
}
PODS = [
    pytest.param(file, name, component, id=f"{file.stem}-{name}")
    for file in CI_VALUES
    for name, component in (("api", "api"), ("worker-default", "worker"), ("controller", "controller"))
    if file.name != "extras-values.yaml"
]


def environment(release: Release, name: str) -> dict[str, Any]:
    settings = release.one("ConfigMap")["data"]
    return {**settings, **release.environment("Deployment", name)}


@pytest.mark.parametrize(("file", "name", "component"), PODS)
def test_every_variable_is_one_that_the_service_reads(file: Any, name: str, component: str) -> None:
    known = {f"LONGHAUL_{field.upper()}" for field in SERVICES[component].model_fields}
    given = {variable for variable in environment(render(file=file), name) if variable.startswith("LONGHAUL_")}
    assert given <= known


@pytest.mark.parametrize(("file", "name", "component"), PODS)
def test_the_service_takes_what_it_is_given(
    file: Any, name: str, component: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in environment(render(file=file), name).items():
        monkeypatch.setenv(variable, value if isinstance(value, str) else SECRETS.get(variable, "a-name"))
    settings = load_settings(SERVICES[component])
    assert settings.database_url == SECRETS["LONGHAUL_DATABASE_URL"]


def test_webhooks_are_taken_and_delivered_where_there_is_a_secret() -> None:
    variables = {"LONGHAUL_WEBHOOKS", "LONGHAUL_WEBHOOK_SECRET", "LONGHAUL_WEBHOOK_ALLOW_PRIVATE"}
    for name in ("api", "controller", "worker-default"):
        assert not variables & environment(render(), name).keys()
    release = render({"webhooks": {"existingSecret": "webhooks", "key": "root", "allowPrivate": True}})
    assert environment(release, "api")["LONGHAUL_WEBHOOKS"] == "https"
    assert environment(release, "controller")["LONGHAUL_WEBHOOK_ALLOW_PRIVATE"] == "true"
    assert environment(release, "controller")["LONGHAUL_WEBHOOK_SECRET"]["secretKeyRef"] == {
        "name": "webhooks",
        "key": "root",
    }
    for name in ("api", "worker-default"):
        assert "LONGHAUL_WEBHOOK_SECRET" not in environment(release, name)
    more = render({"webhooks": {"existingSecret": "webhooks", "allowHttp": True}})
    assert environment(more, "api")["LONGHAUL_WEBHOOKS"] == "http"


def test_numbers_arrive_as_numbers() -> None:
    """Large ones too: YAML's readers like to write 2592000 as 2.592e+06."""
    release = render({"controller": {"retentionSeconds": 31536000}, "api": {"queueThreshold": 10000000}})
    assert release.environment("Deployment", "controller")["LONGHAUL_RETENTION_SECONDS"] == "31536000"
    assert release.environment("Deployment", "api")["LONGHAUL_QUEUE_THRESHOLD"] == "10000000"
    assert "e+0" not in json.dumps(release.objects)
