"""Pools: what a pod gets, and how long it may take to end."""

from __future__ import annotations

from typing import Any

import pytest
from tests.charts.release import Release, render


def pool(values: dict[str, Any], name: str = "default") -> Release:
    return render({"worker": {"pools": {name: values}}})


@pytest.mark.parametrize(
    ("values", "drain", "grace"),
    [
        ({}, "3600", 3660),
        ({"maxJobSeconds": 60}, "60", 120),
        ({"maxJobSeconds": 7200, "drainSeconds": 20}, "20", 80),
        ({"maxJobSeconds": 60, "terminationGracePeriodSeconds": 300}, "60", 300),
    ],
)
def test_drain_and_grace_follow_the_longest_job(values: dict[str, Any], drain: str, grace: int) -> None:
    release = pool(values)
    assert release.environment("Deployment", "worker-default")["LONGHAUL_DRAIN_SECONDS"] == drain
    assert release.pod("Deployment", "worker-default")["terminationGracePeriodSeconds"] == grace


def test_a_pool_has_from_the_defaults_what_it_leaves_out() -> None:
    release = render(
        {
            "worker": {
                "poolDefaults": {"maxJobSeconds": 60, "slots": 3},
                "pools": {"quick": {"slots": 8, "queues": ["mail"]}},
            }
        }
    )
    quick = release.environment("Deployment", "worker-quick")
    assert (quick["LONGHAUL_SLOTS"], quick["LONGHAUL_QUEUES"], quick["LONGHAUL_DRAIN_SECONDS"]) == ("8", "mail", "60")
    assert release.environment("Deployment", "worker-default")["LONGHAUL_SLOTS"] == "3"


def test_a_value_that_is_zero_or_false_is_one_too() -> None:
    release = pool({"autoscaling": {"minReplicas": 0}, "podDisruptionBudget": {"enabled": False}})
    assert release.one("ScaledObject", "worker-default")["spec"]["minReplicaCount"] == 0
    assert "longhaul-worker-default" not in release.names("PodDisruptionBudget")


def test_the_default_pool_can_be_taken_away() -> None:
    release = render({"worker": {"pools": {"default": None, "only": {}}}})
    assert release.names("ScaledObject") == {"longhaul-worker-only"}


def test_a_pod_knows_its_pool_and_its_name(default: Release) -> None:
    environment = default.environment("Deployment", "worker-default")
    assert environment["LONGHAUL_POOL"] == "default"
    assert environment["POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_pools_do_not_select_each_others_pods() -> None:
    release = pool({}, name="other")
    selectors = [
        release.one("Deployment", name)["spec"]["selector"]["matchLabels"]
        for name in ("worker-default", "worker-other")
    ]
    assert selectors[0] != selectors[1]


def test_the_three_probes_are_the_keepers(default: Release) -> None:
    container = default.container("Deployment", "worker-default")
    paths = {
        probe: container[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")
    }
    assert paths == {"startupProbe": "/startupz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert str(ports["probes"]) == default.environment("Deployment", "worker-default")["LONGHAUL_PROBE_PORT"]


def test_outcomes_that_wait_outlive_a_restart_of_the_container(default: Release) -> None:
    pod = default.pod("Deployment", "worker-default")
    mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    spool = default.environment("Deployment", "worker-default")["LONGHAUL_SPOOL_DIR"]
    assert {"name": mounts[spool], "emptyDir": {"sizeLimit": "256Mi"}} in pod["volumes"]


def test_old_pods_stay_until_new_ones_are_ready(default: Release) -> None:
    """With a bad image nothing is lost: no pod goes before another is ready."""
    for name in ("api", "controller", "worker-default"):
        assert default.one("Deployment", name)["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_pods_are_spread_over_nodes_and_zones(default: Release) -> None:
    for name in ("api", "controller", "worker-default"):
        constraints = default.pod("Deployment", name)["topologySpreadConstraints"]
        assert [one["topologyKey"] for one in constraints] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        labels = default.one("Deployment", name)["spec"]["template"]["metadata"]["labels"]
        for one in constraints:
            assert one["labelSelector"]["matchLabels"].items() <= labels.items()
            assert one["matchLabelKeys"] == ["pod-template-hash"]


def test_a_drain_is_paced_and_never_blocked_by_sick_pods(default: Release) -> None:
    for name in ("api", "controller", "worker-default"):
        spec = default.one("PodDisruptionBudget", name)["spec"]
        labels = default.one("Deployment", name)["spec"]["template"]["metadata"]["labels"]
        assert spec["selector"]["matchLabels"].items() <= labels.items()
        assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        assert spec["maxUnavailable"]


def test_a_spot_pool_stands_spot_taints_and_prefers_spot_nodes() -> None:
    own = {"key": "gpu", "operator": "Exists"}
    pod = pool({"spot": True, "tolerations": [own]}).pod("Deployment", "worker-default")
    keys = [one["key"] for one in pod["tolerations"]]
    assert keys == ["kubernetes.azure.com/scalesetpriority", "cloud.google.com/gke-spot", "gpu"]
    assert "preferredDuringSchedulingIgnoredDuringExecution" in pod["affinity"]["nodeAffinity"]
    assert "tolerations" not in pool({}).pod("Deployment", "worker-default")


def test_a_pool_may_have_an_image_and_tasks_of_its_own() -> None:
    release = pool({"image": {"repository": "legacy", "tag": "7"}, "tasks": ["legacy.jobs"]}, name="legacy")
    assert release.container("Deployment", "worker-legacy")["image"] == "legacy:7"
    assert release.environment("Deployment", "worker-legacy")["LONGHAUL_TASKS"] == "legacy.jobs"


def test_headroom_is_as_large_as_a_worker_and_gives_way() -> None:
    release = render({"headroom": {"enabled": True, "replicas": 3}})
    deployment = release.one("Deployment", "headroom")
    assert deployment["spec"]["replicas"] == 3
    worker = release.container("Deployment", "worker-default")
    assert release.container("Deployment", "headroom")["resources"] == worker["resources"]
    pod = release.pod("Deployment", "headroom")
    assert pod["terminationGracePeriodSeconds"] == 0
    assert release.one("PriorityClass", "headroom")["value"] == -10
    assert pod["priorityClassName"] == "longhaul-headroom"


def test_a_priority_class_is_for_all_but_the_headroom() -> None:
    release = render({"priorityClass": {"create": True, "value": 500}, "headroom": {"enabled": True}})
    assert release.one("PriorityClass")["value"] == 500
    assert release.pod("Deployment", "worker-default")["priorityClassName"] == "longhaul"
    assert release.pod("Deployment", "headroom")["priorityClassName"] == "longhaul-headroom"
    (migrate,) = (one for one in release.all("Job") if "migrate" in one["metadata"]["name"])
    assert "priorityClassName" not in migrate["spec"]["template"]["spec"], "the hook runs before the class is made"
