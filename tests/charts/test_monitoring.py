"""Monitors find the pods, and alerts speak of metrics that there are."""

from __future__ import annotations

import re

import pytest
import yaml
from tests.charts.release import CHART, NAMESPACE, ROOT, Release, render

ALERTS = sorted((CHART / "alerts").glob("*.yaml"))


@pytest.fixture
def monitored() -> Release:
    return render(
        {
            "monitoring": {
                "serviceMonitor": {"enabled": True},
                "podMonitor": {"enabled": True},
                "rules": {"enabled": True, "runbookUrl": "https://docs.example.com/runbooks/"},
                "labels": {"release": "prometheus"},
            }
        }
    )


def test_nothing_is_there_by_default(default: Release) -> None:
    assert not {"ServiceMonitor", "PodMonitor", "PrometheusRule"} & {one["kind"] for one in default.objects}


def test_monitors_find_their_pods(monitored: Release) -> None:
    service = monitored.one("Service", "api")
    monitor = monitored.one("ServiceMonitor", "api")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    for name, deployment in (("worker", "worker-default"), ("controller", "controller")):
        monitor = monitored.one("PodMonitor", name)["spec"]
        labels = monitored.one("Deployment", deployment)["spec"]["template"]["metadata"]["labels"]
        ports = [port["name"] for port in monitored.container("Deployment", deployment)["ports"]]
        assert monitor["selector"]["matchLabels"].items() <= labels.items()
        assert monitor["podMetricsEndpoints"][0]["port"] in ports


def test_the_operator_finds_them_by_label(monitored: Release) -> None:
    for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule"):
        assert all(one["metadata"]["labels"]["release"] == "prometheus" for one in monitored.all(kind))


def test_every_alert_is_there_with_its_runbook(monitored: Release) -> None:
    (group,) = monitored.one("PrometheusRule")["spec"]["groups"]
    assert [rule["alert"] for rule in group["rules"]] == [path.stem for path in ALERTS]
    for rule in group["rules"]:
        assert rule["annotations"]["runbook_url"] == f"https://docs.example.com/runbooks/{rule['alert']}"
        assert f'namespace="{NAMESPACE}"' in rule["expr"]


@pytest.mark.parametrize("path", ALERTS, ids=lambda path: path.stem)
def test_an_alert_speaks_of_metrics_that_there_are(path: object) -> None:
    alert = yaml.safe_load(path.read_text())  # type: ignore[attr-defined]  # a Path
    known = set(
        re.findall(r"^\| `(longhaul_\w+)`", (ROOT / "docs" / "reference" / "metrics.md").read_text(), re.MULTILINE)
    )
    used = {re.sub("_(count|bucket|sum)$", "", name) for name in re.findall(r"\blonghaul_\w+", alert["expr"])}
    assert used
    assert used <= known
    assert {"summary", "description"} <= set(alert["annotations"])
