"""What users add to pods arrives, in every place, and wins over the chart's own."""

from __future__ import annotations

import pytest
from tests.charts.release import CHART, Release, render

NAMES = ("work-api", "work-worker-default", "work-controller")


@pytest.fixture
def extras() -> Release:
    return render(file=CHART / "ci" / "extras-values.yaml")


@pytest.fixture(params=NAMES)
def deployment(request: pytest.FixtureRequest, extras: Release) -> dict[str, object]:
    (found,) = [one for one in extras.all("Deployment") if one["metadata"]["name"] == request.param]
    template: dict[str, object] = found["spec"]["template"]
    return template


def test_labels_and_annotations(deployment: dict[str, dict[str, dict[str, str]]]) -> None:
    metadata = deployment["metadata"]
    assert metadata["labels"]["example.com/tier"] == "web"
    assert metadata["annotations"]["example.com/note"] == "hello"
    assert "checksum/settings" in metadata["annotations"]


def test_environment(deployment: dict[str, dict[str, list[dict[str, object]]]]) -> None:
    container = deployment["spec"]["containers"][0]
    environment = [one["name"] for one in container["env"]]  # type: ignore[attr-defined]  # plain YAML
    assert len(environment) == len(set(environment)), "the API server refuses a variable that is set twice"
    values = {one["name"]: one.get("value") for one in container["env"]}  # type: ignore[attr-defined]  # plain YAML
    assert (values["EXAMPLE"], values["HOME"], values["LONGHAUL_LOG_LEVEL"]) == ("1", "/data", "debug")
    assert {"configMapRef": {"name": "example"}} in container["envFrom"]  # type: ignore[operator]  # plain YAML


def test_volumes_and_sidecars(deployment: dict[str, dict[str, list[dict[str, object]]]]) -> None:
    spec = deployment["spec"]
    assert {"name": "data", "emptyDir": {}} in spec["volumes"]
    assert {"name": "data", "mountPath": "/data"} in spec["containers"][0]["volumeMounts"]  # type: ignore[operator]  # plain YAML
    assert [one["name"] for one in spec["initContainers"]] == ["proxy"]


def test_placement(deployment: dict[str, dict[str, object]]) -> None:
    spec = deployment["spec"]
    assert spec["nodeSelector"] == {"disk": "ssd"}
    assert spec["tolerations"] == [{"key": "example.com/dedicated", "operator": "Exists"}]
    assert spec["affinity"]
    assert spec["priorityClassName"] == "important"
    assert "topologySpreadConstraints" not in spec


def test_labels_for_every_object(extras: Release) -> None:
    own = [
        one for one in extras.objects if one["metadata"].get("labels", {}).get("app.kubernetes.io/name") == "longhaul"
    ]
    assert own
    assert all(one["metadata"]["labels"]["cost-center"] == "42" for one in own)


def test_a_service_account_of_ones_own(extras: Release) -> None:
    accounts = {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]["serviceAccountName"]
        for one in extras.all("Deployment")
    }
    assert accounts == {"work-api": "work-api", "work-worker-default": "work-shared", "work-controller": "work-shared"}
    assert extras.names("ServiceAccount") == {"work-api", "work-test"}
    (binding,) = [one for one in extras.all("RoleBinding") if one["metadata"]["name"] == "work-controller"]
    assert [one["name"] for one in binding["subjects"]] == ["work-shared"]


def test_objects_of_ones_own_are_templates(extras: Release) -> None:
    (made,) = [one for one in extras.all("ConfigMap") if one["metadata"]["name"] == "example"]
    assert made["data"] == {"release": "longhaul"}
    (secret,) = [one for one in extras.all("Secret") if one["metadata"]["name"] == "example"]
    assert secret["stringData"] == {"token": "longhaul"}


def test_registry_tag_digest_and_pull_secrets() -> None:
    release = render(file=CHART / "ci" / "production-values.yaml")
    digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    assert release.container("Deployment", "api")["image"] == f"registry.example.com/jobs/longhaul-api@{digest}"
    assert (
        release.container("Deployment", "worker-default")["image"] == "registry.example.com/jobs/longhaul-worker:1.4.2"
    )
    assert release.container("Deployment", "headroom")["image"] == "registry.k8s.io/pause:3.10"
    for _, pod in release.pods():
        assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]
