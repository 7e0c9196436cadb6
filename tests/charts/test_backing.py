"""The development servers: the official images, as restricted as everything else."""

from __future__ import annotations

from typing import Any

import pytest
from tests.charts.release import CHART, NAMESPACE, Release, render, render_backing

SERVERS = {"postgres": "postgres:17", "redis": "redis:8"}


def test_the_images_are_the_official_ones(default: Release) -> None:
    for name, image in SERVERS.items():
        assert default.container("StatefulSet", f"backing-{name}")["image"] == image


def test_callers_find_what_they_need_in_the_secrets(default: Release) -> None:
    for name, scheme in (("postgres", "postgresql"), ("redis", "redis")):
        data = default.one("Secret", f"backing-{name}")["stringData"]
        service = default.one("Service", f"backing-{name}")
        assert data["url"].startswith(f"{scheme}://")
        assert data["password"] in data["url"]
        assert f"@{service['metadata']['name']}" in data["url"]
        assert f":{service['spec']['ports'][0]['port']}/" in data["url"]
    assert (
        default.one("Secret", "backing-redis")["stringData"]["address"]
        == f"longhaul-backing-redis.{NAMESPACE}.svc:6379"
    )


def test_a_password_may_be_given() -> None:
    data = render({"backing": {"postgres": {"password": "sesame"}}}).one("Secret", "backing-postgres")["stringData"]
    assert data["url"] == "postgresql://longhaul:sesame@longhaul-backing-postgres:5432/longhaul"


def test_the_ledger_is_on_a_volume_that_goes_with_the_release(default: Release) -> None:
    spec = default.one("StatefulSet", "backing-postgres")["spec"]
    assert spec["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] == "8Gi"
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Delete", "whenScaled": "Retain"}
    assert "volumeClaimTemplates" not in default.one("StatefulSet", "backing-redis")["spec"]


def test_what_is_kept_keeps_its_password() -> None:
    release = render(file=CHART / "ci" / "plain-values.yaml")
    spec = release.one("StatefulSet", "backing-redis")["spec"]
    assert spec["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"
    assert release.one("Secret", "backing-redis")["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert "annotations" not in release.one("Secret", "backing-postgres")["metadata"]


def test_volumes_are_optional() -> None:
    release = render({"backing": {"postgres": {"persistence": {"enabled": False}}}})
    assert {"name": "data", "emptyDir": {}} in release.pod("StatefulSet", "backing-postgres")["volumes"]


def test_redis_evicts_nothing_and_asks_for_a_password(default: Release) -> None:
    arguments = default.container("StatefulSet", "backing-redis")["args"]
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert options["--maxmemory-policy"] == "noeviction"
    variable = options["--requirepass"].removeprefix("$(").removesuffix(")")
    assert variable in default.environment("StatefulSet", "backing-redis")


@pytest.mark.parametrize(("name", "uid"), [("postgres", 70), ("redis", 1000)])
def test_the_uid_can_be_another(name: str, uid: int) -> None:
    context: dict[str, Any] = render({"backing": {name: {"uid": uid}}}).pod("StatefulSet", f"backing-{name}")[
        "securityContext"
    ]
    assert (context["runAsUser"], context["fsGroup"]) == (uid, uid)


def test_no_server_is_there_where_one_names_ones_own() -> None:
    release = render(file=CHART / "ci" / "urls-values.yaml")
    assert not release.all("StatefulSet")
    assert "backing" not in release.text


def test_each_server_can_be_left_out_of_the_chart_alone() -> None:
    kinds = {one["metadata"]["name"] for one in render_backing({"redis": {"enabled": False}}).objects}
    assert kinds == {"longhaul-backing-postgres"}
