"""The defaults are the sizing guide's numbers: 100 requests/s, 1,000 tasks at once."""

from __future__ import annotations

from tests.charts.release import Release


def test_an_api_pod(default: Release) -> None:
    assert default.container("Deployment", "api")["resources"] == {
        "requests": {"cpu": "250m", "memory": "256Mi"},
        "limits": {"cpu": "500m", "memory": "512Mi"},
    }


def test_the_api_scales_on_cpu_from_3_to_8(default: Release) -> None:
    spec = default.one("HorizontalPodAutoscaler", "api")["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 8)
    assert spec["metrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}
    ]


def test_a_worker_pod(default: Release) -> None:
    assert default.container("Deployment", "worker-default")["resources"] == {
        "requests": {"cpu": "500m", "memory": "512Mi"},
        "limits": {"cpu": "1000m", "memory": "1Gi"},
    }


def test_five_jobs_a_worker_and_200_workers_are_1000_jobs(default: Release) -> None:
    spec = default.one("ScaledObject", "worker-default")["spec"]
    assert spec["advanced"]["scalingModifiers"]["target"] == "5"
    assert spec["maxReplicaCount"] == 200
    assert default.environment("Deployment", "worker-default")["LONGHAUL_SLOTS"] == "5"
