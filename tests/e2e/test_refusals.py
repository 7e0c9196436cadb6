"""Every wrong value is refused by `helm install` with a sentence that says what to change, and nothing is installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from tests.charts.test_validation import CONTRADICTIONS
from tests.e2e import cluster
from tests.e2e.conftest import Figure
from tests.e2e.release import CHART, Refused, Release
from tests.e2e.settings import E2ESettings

# What one value alone may not be is the schema's to refuse. Helm names the key, what it got and what it wants.
NOT_IN_SCHEMA: dict[str, tuple[dict[str, Any], str]] = {
    "a negative replica of the API": ({"api": {"replicas": -1}}, "at '/api/replicas': minimum: got -1, want 0"),
    "a negative replica of the controller": (
        {"controller": {"replicas": -1}},
        "at '/controller/replicas': minimum: got -1, want 0",
    ),
    "a negative replica of a pool": (
        {"worker": {"pools": {"default": {"autoscaling": {"minReplicas": -1}}}}},
        "at '/worker/pools/default/autoscaling/minReplicas': minimum: got -1, want 0",
    ),
    "an unknown key": ({"api": {"replcas": 3}}, "at '/api': additional properties 'replcas' not allowed"),
    "an unknown key of a pool": (
        {"worker": {"pools": {"default": {"slot": 3}}}},
        "at '/worker/pools/default': additional properties 'slot' not allowed",
    ),
    "an unknown key of the development servers": (
        {"backing": {"postgres": {"replicas": 2}}},
        "at '/postgres': additional properties 'replicas' not allowed",
    ),
    "an unknown mode": (
        {"autoscaling": {"mode": "hpa"}},
        "at '/autoscaling/mode': value must be one of 'keda', 'none'",
    ),
    "a word for a number": (
        {"worker": {"poolDefaults": {"slots": "two"}}},
        "at '/worker/poolDefaults/slots': got string, want integer",
    ),
}
WRONG = CONTRADICTIONS | NOT_IN_SCHEMA

CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
AT_NIGHT = {
    "type": "cron",
    "metadata": {"timezone": "UTC", "start": "0 1 * * *", "end": "0 2 * * *", "desiredReplicas": "1"},
}
AUTOSCALERS_OF_OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "HorizontalPodAutoscaler": ("autoscaling/v2", {"maxReplicas": 5, "metrics": [CPU]}),
    "ScaledObject": ("keda.sh/v1alpha1", {"triggers": [AT_NIGHT]}),
}


@pytest.fixture(scope="module")
def release(namespace: str, settings: E2ESettings) -> Release:
    """Never installed."""
    return Release(namespace, settings)


@pytest.fixture(scope="module")
def told() -> list[str]:
    """What Helm has said so far."""
    return []


def refusal(release: Release, values: Mapping[str, Any], *, containing: str) -> str:
    """The one line that holds these words in what Helm says to values that it does not install."""
    with pytest.raises(Refused) as refused:
        release.helm("install", release.name, str(CHART), "--values", "-", text=cluster.as_json(values))
    (line,) = [one for one in str(refused.value).splitlines() if containing in one]
    return line


@pytest.mark.parametrize(("values", "says"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_value_is_refused(release: Release, told: list[str], values: dict[str, Any], says: str) -> None:
    told.append(refusal(release, values, containing=says))


@pytest.mark.parametrize("target", ["api", "worker-default"])
@pytest.mark.parametrize("kind", AUTOSCALERS_OF_OTHERS)
def test_a_second_autoscaler_on_one_target_is_refused(
    release: Release, told: list[str], kind: str, target: str
) -> None:
    """One that somebody else made, and that is in the cluster already."""
    with theirs(release, kind, f"{release.name}-{target}"):
        told.append(
            refusal(release, {}, containing=f"The {kind} theirs and this chart's own autoscaler would both scale")
        )
    assert f"{release.name}-{target}: delete it, or turn the chart's off (" in told[-1]


@contextmanager
def theirs(release: Release, kind: str, target: str) -> Iterator[None]:
    version, spec = AUTOSCALERS_OF_OTHERS[kind]
    scaled = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}}
    autoscaler = {"apiVersion": version, "kind": kind, "metadata": {"name": "theirs"}, "spec": scaled | spec}
    cluster.run(
        "kubectl", "--namespace", release.namespace, "apply", "--filename", "-", text=cluster.as_json(autoscaler)
    )
    try:
        yield
    finally:
        release.kubectl("delete", kind, "theirs")


def test_nothing_is_left_of_a_refused_install(release: Release, told: list[str], figure: Figure) -> None:
    """Not even Helm's record of a release, which is a Secret."""
    assert release.left() == []
    wrong = len(WRONG) + 2 * len(AUTOSCALERS_OF_OTHERS)
    figure("wrong values that helm install refused, each with what to change", f"{len(told)} of {wrong}")
