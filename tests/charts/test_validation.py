"""Each contradiction is refused with one sentence that says what to change."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.charts.release import CHART, CRDS, refuse, render


def sentences(complaint: str) -> list[str]:
    """The chart's own lines, without what Helm puts around them."""
    return [line for line in complaint.splitlines() if line.endswith(".")]


def pool(**values: Any) -> dict[str, Any]:
    return {"worker": {"pools": {"default": values}}}


OWN = {"database": {"url": "postgresql://db/x"}, "redis": {"url": "redis://cache"}}
CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "own database and development server": (
        {"database": {"url": "postgresql://db/x"}},
        "PostgreSQL of one's own and the development PostgreSQL exclude each other",
    ),
    "own Redis and development server": (
        {"redis": {"existingSecret": "redis"}},
        "Redis of one's own and the development Redis exclude each other",
    ),
    "no database": ({"backing": {"enabled": False}, "redis": {"url": "redis://cache"}}, "No PostgreSQL is named"),
    "two sets of options": (
        {"resultStore": {"url": "s3://bucket", "options": {"aws_region": "x"}, "existingSecret": "store"}},
        "resultStore.options and resultStore.existingSecret both hold",
    ),
    "a store without a name": ({"resultStore": {"existingSecret": "store"}}, "set resultStore.url"),
    "no Redis": ({"backing": {"enabled": False}, "database": {"existingSecret": "db"}}, "No Redis is named"),
    "database by URL and by Secret": (
        {"backing": {"enabled": False}, **OWN, "database": {"url": "postgresql://db/x", "existingSecret": "db"}},
        "database.url and database.existingSecret name two servers",
    ),
    "Redis by URL and by Secret": (
        {"backing": {"enabled": False}, **OWN, "redis": {"url": "redis://cache", "existingSecret": "cache"}},
        "redis.url and redis.existingSecret name two servers",
    ),
    "events by URL and by Secret": (
        {"events": {"url": "redis://events", "existingSecret": "events"}},
        "events.url and events.existingSecret name two servers",
    ),
    "half of the development servers": (
        {"backing": {"redis": {"enabled": False}}},
        "The development servers come together",
    ),
    "escaped password for KEDA": (
        {"backing": {"enabled": False}, **OWN, "redis": {"url": "redis://:p%40ss@cache:6379/0"}},
        "redis.url has an escaped password",
    ),
    "no address for KEDA": (
        {"backing": {"enabled": False}, **OWN, "redis": {"existingSecret": "cache", "keys": {"address": ""}}},
        "name its key in redis.keys.address",
    ),
    "lease shorter than three renewals": (
        {"lease": {"seconds": 8}},
        "lease.seconds (8) must be at least three times lease.renewSeconds (3)",
    ),
    "API: min above max": (
        {"api": {"autoscaling": {"minReplicas": 9}}},
        "api.autoscaling.minReplicas (9) is more than maxReplicas (8)",
    ),
    "API: replicas under the HPA": (
        {"api": {"replicas": 3}},
        "api.replicas and the HPA would both set the number of pods",
    ),
    "API: grace shorter than the shutdown": (
        {"api": {"terminationGracePeriodSeconds": 15}},
        "api.terminationGracePeriodSeconds (15) is too short for a shutdown that may take 20 s",
    ),
    "API: open to everyone by accident": (
        {"api": {"auth": {"mode": "none"}}},
        "api.auth.mode none lets everyone who reaches the API do everything",
    ),
    "API: published twice": (
        {"api": {"ingress": {"enabled": True}, "httpRoute": {"enabled": True, "parentRefs": [{"name": "x"}]}}},
        "api.ingress and api.httpRoute would publish the API twice",
    ),
    "API: a route without a Gateway": (
        {"api": {"httpRoute": {"enabled": True}}},
        "name it in api.httpRoute.parentRefs",
    ),
    "pool: a name that is none": (
        {"worker": {"pools": {"Foo_bar": {}}}},
        "worker.pools has a pool named Foo_bar",
    ),
    "pool: min above max": (
        pool(autoscaling={"minReplicas": 5, "maxReplicas": 2}),
        "worker.pools.default.autoscaling.minReplicas (5) is more than maxReplicas (2)",
    ),
    "pool: replicas under KEDA": (
        pool(replicas=0),
        "worker.pools.default.replicas and KEDA would both set the number of pods",
    ),
    "pool: target above slots": (
        pool(slots=1, autoscaling={"target": 5}),
        "worker.pools.default.autoscaling.target (5) is more than its slots (1)",
    ),
    "pool: grace shorter than the drain": (
        pool(maxJobSeconds=600, terminationGracePeriodSeconds=600),
        "worker.pools.default.terminationGracePeriodSeconds (600) is shorter than its drain (600 s)",
    ),
    "pool: a pod a job without KEDA": (
        pool(mode="job", autoscaling={"mode": "none"}),
        "worker.pools.default.mode job is made by KEDA, and its autoscaling.mode is none",
    ),
    "pool: several slots for one job": (
        pool(mode="job", slots=4),
        "worker.pools.default.mode job runs one job a pod: leave slots (4) out",
    ),
    "a second autoscaler for the API": (
        {
            "extraObjects": [
                {
                    "apiVersion": "keda.sh/v1alpha1",
                    "kind": "ScaledObject",
                    "metadata": {"name": "mine"},
                    "spec": {"scaleTargetRef": {"name": "longhaul-api"}, "triggers": []},
                }
            ]
        },
        "The ScaledObject mine and this chart's own autoscaler would both scale longhaul-api",
    ),
    "a second autoscaler for a pool, in a template": (
        {
            "extraObjects": [
                """
                kind: HorizontalPodAutoscaler
                metadata: {name: mine}
                spec: {scaleTargetRef: {name: "{{ .Release.Name }}-worker-default"}}
                """
            ]
        },
        "The HorizontalPodAutoscaler mine and this chart's own autoscaler would both scale longhaul-worker-default",
    ),
}
ABSENT: dict[str, tuple[str, dict[str, Any], str]] = {
    "KEDA": ("keda.sh/v1alpha1", {}, "helm install keda keda --repo https://kedacore.github.io/charts"),
    "the Gateway API": (
        "gateway.networking.k8s.io/v1",
        {"api": {"httpRoute": {"enabled": True, "parentRefs": [{"name": "x"}]}}},
        "The Gateway API is not in this cluster",
    ),
    "the Prometheus operator": (
        "monitoring.coreos.com/v1",
        {"monitoring": {"rules": {"enabled": True}}},
        "The Prometheus operator is not in this cluster",
    ),
}


@pytest.mark.parametrize(("values", "says"), CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_a_contradiction_is_refused(values: dict[str, Any], says: str) -> None:
    said = sentences(refuse(values))
    assert len(said) == 1, said
    assert says in said[0]


@pytest.mark.parametrize(("crd", "values", "says"), ABSENT.values(), ids=ABSENT.keys())
def test_what_is_not_in_the_cluster_is_named(crd: str, values: dict[str, Any], says: str) -> None:
    (sentence,) = [
        line for line in refuse(values, crds=tuple(one for one in CRDS if one != crd)).splitlines() if says in line
    ]
    assert f"--api-versions {crd}" in sentence


def test_without_keda_the_other_way_is_named_too() -> None:
    assert "set autoscaling.mode to none" in refuse({}, crds=())
    render({"autoscaling": {"mode": "none"}}, crds=())


def test_several_contradictions_are_told_at_once() -> None:
    said = sentences(refuse({"lease": {"seconds": 1}, "api": {"replicas": 1, "auth": {"mode": "none"}}}))
    assert len(said) == 3


def test_every_sentence_has_a_test() -> None:
    told = " ".join(
        [refuse(values) for values, _ in CONTRADICTIONS.values()]
        + [refuse(values, crds=()) for _, values, _ in ABSENT.values()]
    )
    source = (CHART / "templates" / "_validate.tpl").read_text()
    for sentence in re.findall(r'^- [^"\n]*"([^"]+)"', source, re.MULTILINE):
        longest_part = max(re.split(r"%[a-z]|{{.*?}}", sentence), key=len)
        assert longest_part in told, sentence


def test_the_smallest_grace_that_is_taken() -> None:
    release = render(pool(maxJobSeconds=600, terminationGracePeriodSeconds=630))
    assert release.pod("Deployment", "worker-default")["terminationGracePeriodSeconds"] == 630
