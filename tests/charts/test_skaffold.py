"""skaffold.yaml, without Skaffold: its schema's shape, and that every file, key and port in it exists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from tests.charts.release import CHART, ROOT, Object, Release, render

SKAFFOLD: Object = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
PROFILES = {"": SKAFFOLD, **{profile["name"]: profile for profile in SKAFFOLD["profiles"]}}
SCHEMA = Path(__file__).parent / "schemas" / "skaffold-v4beta13.json"
SERVICES = ("api", "worker", "controller")
every_profile = pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda one: one.get("name", "base"))


def release_of(profile: Object) -> Object:
    (release,) = profile["deploy"]["helm"]["releases"]
    found: Object = release
    return found


def rendered(profile: Object) -> Release:
    """As Skaffold would install it, with stand-ins for what it fills in."""
    values: dict[str, Any] = {}
    for file in release_of(profile)["valuesFiles"]:
        values = _merge(values, yaml.safe_load((ROOT / file).read_text()))
    filled_in = {
        key: f"sha256:{'0' * 64}" if key.endswith("digest") else "filled-in"
        for key in release_of(profile)["setValueTemplates"]
    }
    return render(_merge(values, _nested(filled_in | release_of(profile).get("setValues", {}))))


def test_it_has_the_published_shape() -> None:
    validator = jsonschema_rs.Draft202012Validator(json.loads(SCHEMA.read_text()))
    assert [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(SKAFFOLD)] == []


def test_the_profiles() -> None:
    assert list(PROFILES) == ["", "dev", "debug", "ci", "prod"]


@every_profile
def test_each_service_is_an_artifact(profile: Object) -> None:
    artifacts = {one["image"]: one["docker"]["dockerfile"] for one in profile["build"]["artifacts"]}
    assert artifacts == {f"longhaul-{name}": f"services/{name}/Dockerfile" for name in SERVICES}


@pytest.mark.parametrize("service", SERVICES)
def test_the_dockerfiles_exist(service: str) -> None:
    assert (ROOT / "services" / service / "Dockerfile").is_file()


@every_profile
def test_the_chart_and_its_values_exist_and_fit(profile: Object) -> None:
    assert ROOT / release_of(profile)["chartPath"] == CHART
    rendered(profile)


@every_profile
def test_every_image_that_is_built_is_installed(profile: Object) -> None:
    templates = release_of(profile)["setValueTemplates"]
    for service, key in (("api", "api"), ("worker", "worker.poolDefaults"), ("controller", "controller")):
        assert templates[f"{key}.image.repository"] == f"{{{{.IMAGE_REPO_longhaul_{service}}}}}"
        assert templates[f"{key}.image.tag"] == f"{{{{.IMAGE_TAG_longhaul_{service}}}}}"
    images = {
        pod["spec"]["containers"][0]["image"].split(":")[0].split("@")[0]
        for name, pod in rendered(profile).pods()
        if name.startswith("Deployment") and "headroom" not in name
    }
    assert images == {"filled-in"}


@every_profile
def test_the_worker_image_has_what_its_tasks_compute_with(profile: Object) -> None:
    """`longhaul-examples` alone is enough for `demo` only."""
    (worker,) = [one["docker"] for one in profile["build"]["artifacts"] if one["image"] == "longhaul-worker"]
    tasks = set(rendered(profile).environment("Deployment", "worker-default")["LONGHAUL_TASKS"].split(","))
    wanted = {"EXAMPLES": "./services/examples[data]"} if tasks - {"longhaul_examples.demo"} else {}
    assert worker.get("buildArgs", {}) == wanted
    dockerfile = (ROOT / worker["dockerfile"]).read_text()
    assert all(f"ARG {name}=" in dockerfile for name in wanted)


@every_profile
def test_forwarded_ports_are_ports_of_services(profile: Object) -> None:
    release = rendered(profile)
    for forward in profile.get("portForward", []):
        assert forward["resourceType"] == "service"
        (service,) = [one for one in release.all("Service") if one["metadata"]["name"] == forward["resourceName"]]
        assert forward["port"] in [port["port"] for port in service["spec"]["ports"]]
        assert forward["namespace"] == release_of(profile)["namespace"]


def test_synced_files_land_where_python_looks_first() -> None:
    release = rendered(PROFILES["dev"])
    for artifact in PROFILES["dev"]["build"]["artifacts"]:
        service = artifact["image"].removeprefix("longhaul-")
        name = "worker-default" if service == "worker" else service
        path = release.environment("Deployment", name)["PYTHONPATH"]
        mounts = [mount["mountPath"] for mount in release.container("Deployment", name)["volumeMounts"]]
        assert path in mounts
        assert release.container("Deployment", name)["command"][-1] == f"longhaul-{service}"
        for rule in artifact["sync"]["manual"]:
            assert rule["dest"] == path
            assert list(ROOT.glob(rule["src"]))
            assert rule["src"].startswith(rule["strip"])
            assert (ROOT / rule["strip"]).is_dir()


def test_each_image_is_synced_with_every_package_of_its_own() -> None:
    packages = {"api": {"core", "api"}, "worker": {"core", "worker", "examples"}, "controller": {"core", "controller"}}
    for artifact in PROFILES["dev"]["build"]["artifacts"]:
        synced = {rule["strip"].split("/")[1] for rule in artifact["sync"]["manual"]}
        assert synced == packages[artifact["image"].removeprefix("longhaul-")]


def test_what_is_debugged_is_python_in_a_namespace_that_lets_debuggers_in() -> None:
    profile = PROFILES["debug"]
    assert {one["runtimeType"] for one in profile["build"]["artifacts"]} == {"python"}
    overlay = yaml.safe_load((ROOT / "k8s" / "overlays" / "debug" / "kustomization.yaml").read_text())
    assert overlay["namespace"] == release_of(profile)["namespace"]


def test_only_production_pushes() -> None:
    assert {
        name: one["build"].get("local", {}).get("push") for name, one in PROFILES.items() if "local" in one["build"]
    } == {
        "": False,
        "ci": False,
        "prod": True,
    }


def _nested(dotted: dict[str, Any]) -> dict[str, Any]:
    """`{"a.b": 1}` as `{"a": {"b": 1}}`."""
    values: dict[str, Any] = {}
    for path, leaf in dotted.items():
        branch = leaf
        for key in reversed(path.split(".")):
            branch = {key: branch}
        values = _merge(values, branch)
    return values


def _merge(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    both = dict(low)
    for key, value in high.items():
        there = both.get(key)
        both[key] = _merge(there, value) if isinstance(there, dict) and isinstance(value, dict) else value
    return both
