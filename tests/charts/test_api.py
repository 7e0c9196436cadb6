"""The API: how it is reached, and how its streams move on."""

from __future__ import annotations

from typing import Any

import pytest
from tests.charts.release import Release, render


def published(values: dict[str, Any]) -> Release:
    return render({"api": values})


def test_the_service_leads_to_the_pods(default: Release) -> None:
    service = default.one("Service", "api")["spec"]
    labels = default.one("Deployment", "api")["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    ports = {port["name"]: port["containerPort"] for port in default.container("Deployment", "api")["ports"]}
    assert [ports[one["targetPort"]] for one in service["ports"]] == [8080]
    environment = default.environment("Deployment", "api")
    assert (environment["LONGHAUL_API_HOST"], environment["LONGHAUL_API_PORT"]) == ("0.0.0.0", "8080")


def test_the_three_probes(default: Release) -> None:
    container = default.container("Deployment", "api")
    paths = [container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "readiness", "liveness")]
    assert paths == ["/livez", "/readyz", "/livez"]


@pytest.mark.parametrize(
    ("values", "grace"),
    [({}, 30), ({"shutdownDelaySeconds": 20, "shutdownSeconds": 30}, 65), ({"terminationGracePeriodSeconds": 45}, 45)],
)
def test_the_grace_period_holds_the_whole_shutdown(values: dict[str, Any], grace: int) -> None:
    release = published(values)
    assert release.pod("Deployment", "api")["terminationGracePeriodSeconds"] == grace
    environment = release.environment("Deployment", "api")
    delay, shutdown = (float(environment[f"LONGHAUL_SHUTDOWN{name}_SECONDS"]) for name in ("_DELAY", ""))
    assert delay + shutdown < grace


def test_nothing_is_published_by_default(default: Release) -> None:
    assert not default.all("Ingress")
    assert not default.all("HTTPRoute")


def test_an_ingress_lets_streams_live_an_hour() -> None:
    release = published({"ingress": {"enabled": True, "hosts": ["jobs.example.com"], "className": "nginx"}})
    ingress = release.one("Ingress", "api")
    annotations = ingress["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"] == "3600"
    assert annotations["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    assert annotations["appgw.ingress.kubernetes.io/request-timeout"] == "3600"
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == ["jobs.example.com"]


def test_annotations_of_ones_own_win() -> None:
    name = "nginx.ingress.kubernetes.io/proxy-read-timeout"
    release = published({"ingress": {"enabled": True, "annotations": {name: "60"}}})
    assert release.one("Ingress", "api")["metadata"]["annotations"][name] == "60"


def test_an_httproute_lets_streams_live_an_hour() -> None:
    release = published({"httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]}})
    rules = release.one("HTTPRoute", "api")["spec"]["rules"]
    assert [rule["timeouts"] for rule in rules] == [{"request": "3600s", "backendRequest": "3600s"}]
    assert [ref for rule in rules for ref in rule["backendRefs"]] == [{"name": "longhaul-api", "port": 80}]


@pytest.mark.parametrize("how", ["ingress", "httpRoute"])
def test_metrics_and_probes_are_not_published(how: str) -> None:
    release = published(
        {
            "ingress": {"enabled": how == "ingress"},
            "httpRoute": {"enabled": how == "httpRoute", "parentRefs": [{"name": "x"}]},
        }
    )
    if how == "ingress":
        paths = [
            (one["path"], one["pathType"])
            for rule in release.one("Ingress", "api")["spec"]["rules"]
            for one in rule["http"]["paths"]
        ]
    else:
        paths = [
            (one["path"]["value"], one["path"]["type"])
            for rule in release.one("HTTPRoute", "api")["spec"]["rules"]
            for one in rule["matches"]
        ]
    assert {path for path, _ in paths} == {"/", "/v1", "/console", "/openapi.json"}
    assert dict(paths)["/"] == "Exact"


def test_keys_are_asked_for(default: Release) -> None:
    assert default.environment("Deployment", "api")["LONGHAUL_AUTH_MODE"] == "keys"
