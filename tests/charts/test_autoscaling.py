"""How worker pools scale: all the demand, in one step up and slowly down, and never by a number that nobody knows."""

from __future__ import annotations

from typing import Any

import pytest
from tests.charts.release import Object, Release, render

from longhaul import doorbell


def scaled(values: dict[str, Any], pool: str = "default") -> Object:
    spec: Object = render({"worker": {"pools": {pool: values}}}).one("ScaledObject", f"worker-{pool}")["spec"]
    return spec


def lists(spec: Object) -> dict[str, str]:
    return {trigger["name"]: trigger["metadata"]["listName"] for trigger in spec["triggers"]}


def test_demand_is_what_waits_and_what_runs() -> None:
    spec = scaled({})
    assert spec["advanced"]["scalingModifiers"]["formula"] == "waiting0 + running"
    assert lists(spec) == {"waiting0": doorbell.key("default"), "running": doorbell.running_key("default")}


def test_each_queue_of_a_pool_counts() -> None:
    spec = scaled({"queues": ["mail", "thumbnails.small"]}, pool="quick")
    assert spec["advanced"]["scalingModifiers"]["formula"] == "waiting0 + waiting1 + running"
    assert lists(spec) == {
        "waiting0": doorbell.key("mail"),
        "waiting1": doorbell.key("thumbnails.small"),
        "running": doorbell.running_key("quick"),
    }


def test_the_formula_names_only_triggers(example: Release) -> None:
    for one in example.all("ScaledObject"):
        terms = one["spec"]["advanced"]["scalingModifiers"]["formula"].split(" + ")
        assert terms == [trigger["name"] for trigger in one["spec"]["triggers"]]
        assert all(term.isidentifier() for term in terms)


def test_demand_is_shared_by_all_pods() -> None:
    """A `Value` metric counts pods that already end."""
    assert scaled({})["advanced"]["scalingModifiers"]["metricType"] == "AverageValue"


@pytest.mark.parametrize(
    ("values", "target"), [({"slots": 1}, "1"), ({"slots": 8}, "8"), ({"slots": 8, "autoscaling": {"target": 2}}, "2")]
)
def test_the_target_follows_the_slots(values: dict[str, Any], target: str) -> None:
    assert scaled(values)["advanced"]["scalingModifiers"]["target"] == target


def test_scale_up_is_one_step_and_scale_down_is_slow() -> None:
    behavior = scaled({})["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleUp"] == {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Percent", "value": 900, "periodSeconds": 15},
            {"type": "Pods", "value": 100, "periodSeconds": 15},
        ],
    }
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 300
    assert behavior["scaleDown"]["policies"] == [{"type": "Percent", "value": 25, "periodSeconds": 60}]


def test_a_failed_look_keeps_the_pods() -> None:
    assert scaled({})["fallback"] == {"failureThreshold": 3, "behavior": "currentReplicas", "replicas": 1}


def test_a_failed_look_keeps_the_pods_of_a_pool_that_may_scale_to_zero() -> None:
    """KEDA 2.21 scales to zero on an error where `fallback.replicas` is 0, whatever the behavior."""
    spec = scaled({"autoscaling": {"minReplicas": 0}})
    assert spec["minReplicaCount"] == 0
    assert spec["fallback"]["replicas"] == 1


def test_nothing_else_sets_the_number_of_pods(default: Release) -> None:
    assert "replicas" not in default.one("Deployment", "worker-default")["spec"]
    assert "replicas" not in default.one("Deployment", "api")["spec"]


def test_without_keda_the_number_is_fixed() -> None:
    release = render({"autoscaling": {"mode": "none"}}, crds=())
    assert release.one("Deployment", "worker-default")["spec"]["replicas"] == 1
    assert not release.all("ScaledObject")
    assert not release.all("TriggerAuthentication")
    none = render({"autoscaling": {"mode": "none"}, "worker": {"pools": {"default": {"replicas": 0}}}}, crds=())
    assert none.one("Deployment", "worker-default")["spec"]["replicas"] == 0


def test_one_pool_may_scale_and_another_not() -> None:
    release = render({"worker": {"pools": {"fixed": {"replicas": 4, "autoscaling": {"mode": "none"}}}}})
    assert release.names("ScaledObject") == {"longhaul-worker-default"}
    assert release.one("Deployment", "worker-fixed")["spec"]["replicas"] == 4


def test_keda_gets_the_address_and_password_from_the_secret() -> None:
    spec = render().one("TriggerAuthentication", "redis")["spec"]
    assert spec["secretTargetRef"] == [
        {"parameter": "address", "name": "longhaul-backing-redis", "key": "address"},
        {"parameter": "password", "name": "longhaul-backing-redis", "key": "password"},
    ]


def test_the_api_without_its_autoscaler_has_a_fixed_number() -> None:
    release = render({"api": {"autoscaling": {"enabled": False}, "replicas": 2}})
    assert release.one("Deployment", "api")["spec"]["replicas"] == 2
    assert not release.all("HorizontalPodAutoscaler")


def test_a_job_pool_makes_one_pod_a_job() -> None:
    release = render({"worker": {"pools": {"single": {"mode": "job", "queues": ["models", "tuning"]}}}})
    spec = release.one("ScaledJob", "worker-single")["spec"]
    assert [trigger["metadata"]["listName"] for trigger in spec["triggers"]] == [
        doorbell.key("models"),
        doorbell.key("tuning"),
    ]
    assert {trigger["metadata"]["listLength"] for trigger in spec["triggers"]} == {"1"}
    assert spec["minReplicaCount"] == 0
    assert release.names("Deployment") == {
        "longhaul-api",
        "longhaul-controller",
        "longhaul-worker-default",
    }
    assert release.environment("ScaledJob", "worker-single")["LONGHAUL_SLOTS"] == "1"


def test_a_job_pool_counts_neither_running_nor_starting_pods_twice() -> None:
    strategy = render({"worker": {"pools": {"single": {"mode": "job"}}}}).one("ScaledJob", "worker-single")["spec"]
    assert strategy["scalingStrategy"] == {
        "strategy": "accurate",
        "multipleScalersCalculation": "sum",
        "pendingPodConditions": ["Ready"],
    }


def test_kubernetes_repeats_no_job_and_a_rollout_ends_none() -> None:
    release = render({"worker": {"pools": {"single": {"mode": "job"}}}})
    spec = release.one("ScaledJob", "worker-single")["spec"]
    assert spec["jobTargetRef"]["backoffLimit"] == 0
    assert "activeDeadlineSeconds" not in spec["jobTargetRef"]
    assert release.pod("ScaledJob", "worker-single")["restartPolicy"] == "Never"
    assert spec["rollout"] == {"strategy": "gradual"}
