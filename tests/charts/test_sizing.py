"""The chart's defaults are what `longhaul size` says of the sizing guide's case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from tests.charts.release import CHART, Release

from longhaul.sizing import reaction
from longhaul.sizing.assumptions import PRESETS, parse
from longhaul.sizing.emit import helm_values
from longhaul.sizing.sizing import size

SIZING = size(parse(PRESETS["aks-guide"]))
DEFAULTS: Mapping[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))


def test_every_value_of_the_size_is_the_charts_default() -> None:
    sized = dict(_leaves(helm_values(SIZING.assumptions, SIZING.guide)))
    chart = dict(_leaves(DEFAULTS))
    assert sized == {path: chart.get(path) for path in sized}


def test_the_api_scales_on_cpu(default: Release) -> None:
    spec = default.one("HorizontalPodAutoscaler", "api")["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, SIZING.guide.api_max_replicas) == (3, 8)
    assert spec["metrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}
    ]


def test_five_jobs_a_worker_and_200_workers_are_1000_jobs(default: Release) -> None:
    spec = default.one("ScaledObject", "worker-default")["spec"]
    assert spec["advanced"]["scalingModifiers"]["target"] == str(SIZING.guide.keda_target) == "5"
    assert spec["maxReplicaCount"] == SIZING.guide.worker_max_replicas == 200
    assert default.environment("Deployment", "worker-default")["LONGHAUL_SLOTS"] == "5"


def test_the_steps_of_the_scale_up_are_the_charts() -> None:
    up = DEFAULTS["worker"]["poolDefaults"]["autoscaling"]["scaleUp"]
    assert up["stabilizationWindowSeconds"] == 0
    assert {one["type"]: one["value"] for one in up["policies"]} == {
        "Percent": reaction.SCALE_UP_PERCENT,
        "Pods": reaction.SCALE_UP_PODS,
    }
    assert {one["periodSeconds"] for one in up["policies"]} == {reaction.HPA_SYNC_SECONDS}


def test_a_pod_has_the_grace_that_aks_waits_for(default: Release) -> None:
    pod = default.one("Deployment", "worker-default")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == SIZING.max_graceful_termination_seconds


def _leaves(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value
