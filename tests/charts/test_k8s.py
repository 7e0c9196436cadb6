"""k8s/: what a cluster needs around the chart fits the chart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.charts import schemas
from tests.charts.release import CHART, ROOT, Object, has, render, run
from tests.waiting import wait_for

from longhaul.task import load_tasks

K8S = ROOT / "k8s"
UNITS = {"m": 0.001, "Mi": 2.0**20, "Gi": 2.0**30}


def kustomized(overlay: str) -> dict[str, Object]:
    """The objects of an overlay, by kind."""
    done = run("kubectl", "kustomize", str(K8S / "overlays" / overlay))
    assert done.returncode == 0, done.stderr
    return {one["kind"]: one for one in yaml.safe_load_all(done.stdout)}


needs_kubectl = pytest.mark.skipif(not has("kubectl"), reason="kubectl is not on the PATH.")


@needs_kubectl
@pytest.mark.parametrize("overlay", ["dev", "debug", "prod"])
def test_an_overlay_is_a_namespace_with_its_limits(overlay: str) -> None:
    objects = kustomized(overlay)
    assert set(objects) == {"Namespace", "ResourceQuota", "LimitRange"}
    assert [schemas.problems_of(one) for one in objects.values()] == [[], [], []]
    name = objects["Namespace"]["metadata"]["name"]
    assert {objects[kind]["metadata"]["namespace"] for kind in ("ResourceQuota", "LimitRange")} == {name}


@needs_kubectl
@pytest.mark.parametrize(("overlay", "level"), [("dev", "restricted"), ("prod", "restricted"), ("debug", "baseline")])
def test_the_namespace_enforces_pod_security(overlay: str, level: str) -> None:
    labels = kustomized(overlay)["Namespace"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == level
    assert labels["pod-security.kubernetes.io/warn"] == "restricted"


@needs_kubectl
@pytest.mark.parametrize(("overlay", "times"), [("prod", 2), ("dev", 1)])
def test_the_quota_has_room_for_the_peak_and_for_a_rollout(overlay: str, times: int) -> None:
    """In production twice over: old pods end their jobs while new ones start."""
    hard = kustomized(overlay)["ResourceQuota"]["spec"]["hard"]
    release = render(file=K8S / "overlays" / overlay / "values.yaml")
    pods = {
        one["spec"]["scaleTargetRef"]["name"]: one["spec"]["maxReplicas"]
        for one in release.all("HorizontalPodAutoscaler")
    }
    pods |= {"longhaul-worker-default": release.one("ScaledObject", "worker-default")["spec"]["maxReplicaCount"]}
    for kind, resource in (("requests", "cpu"), ("requests", "memory"), ("limits", "cpu"), ("limits", "memory")):
        peak = sum(
            count * amount(release.container("Deployment", name.removeprefix("longhaul-"))["resources"][kind][resource])
            for name, count in pods.items()
        )
        assert amount(hard[f"{kind}.{resource}"]) >= times * peak, (kind, resource)


@pytest.mark.parametrize("overlay", ["dev", "prod"])
def test_the_values_of_an_overlay_render(overlay: str) -> None:
    release = render(file=K8S / "overlays" / overlay / "values.yaml")
    assert [problems for one in release.objects if (problems := schemas.problems_of(one))] == []


def test_the_tasks_of_the_dev_overlay_load() -> None:
    """A module without a task keeps a worker from starting."""
    tasks = load_tasks(
        yaml.safe_load((K8S / "overlays" / "dev" / "values.yaml").read_text())["worker"]["poolDefaults"]["tasks"]
    )
    assert {"demo.sleep", "documents.index", "reports.csv"} <= tasks.keys()


def test_production_has_servers_of_its_own() -> None:
    release = render(file=K8S / "overlays" / "prod" / "values.yaml")
    assert not release.all("StatefulSet")
    assert not release.all("Secret")


def test_every_manifest_is_one_that_its_reader_knows() -> None:
    application = yaml.safe_load((K8S / "argocd" / "application.yaml").read_text())
    assert schemas.problems_of(application) == []
    cluster = yaml.safe_load((K8S / "kind" / "cluster.yaml").read_text())
    assert (cluster["kind"], cluster["apiVersion"]) == ("Cluster", "kind.x-k8s.io/v1alpha4")
    assert {node["role"] for node in cluster["nodes"]} == {"control-plane", "worker"}


def test_argo_cd_reads_a_chart_and_values_that_exist() -> None:
    source = yaml.safe_load((K8S / "argocd" / "application.yaml").read_text())["spec"]["source"]
    assert ROOT / source["path"] == CHART
    for file in source["helm"]["valueFiles"]:
        assert (CHART / file).resolve().is_file()


def test_addons_are_pinned() -> None:
    script = K8S / "addons" / "install.sh"
    assert os.access(script, os.X_OK)
    assert run("bash", "-n", str(script)).returncode == 0
    assert script.read_text().count("--version") == 2
    assert "KEDA_VERSION:-2.21.0" in script.read_text()


PROGRAM = (
    "import time, longhaul_examples as e\nprint(open(e.__file__).read().count('changed'), flush=True)\ntime.sleep(60)\n"
)


@pytest.fixture
def reloader(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path, Path]]:
    """The dev overlay's `reload.py` with a program that says how often the word `changed` stands in a package."""
    values: dict[str, Any] = yaml.safe_load((K8S / "overlays" / "dev" / "sync.values.yaml").read_text())
    script, program, source, output = (tmp_path / name for name in ("reload.py", "program.py", "source", "output"))
    script.write_text(values["extraObjects"][0]["data"]["reload.py"])
    program.write_text(PROGRAM)
    source.mkdir()
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, str(script), sys.executable, str(program)],
            env={**os.environ, "PYTHONPATH": str(source)},
            stdout=file,
            text=True,
        )
    yield process, source, output
    process.kill()
    process.wait()


def test_a_synced_file_starts_the_process_again_with_it(reloader: tuple[subprocess.Popen[str], Path, Path]) -> None:
    process, source, output = reloader
    wait_for(lambda: output.read_text() == "0\n", timeout_seconds=20, what="the program started")
    package = source / "longhaul_examples" / "__init__.py"
    package.write_text(f"{package.read_text()}\n# changed\n")
    os.utime(package, ns=(time.time_ns(), time.time_ns()))
    wait_for(lambda: output.read_text() == "0\n1\n", timeout_seconds=20, what="the program started again")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) != 0, "the program's own end is passed on"


def amount(quantity: str) -> float:
    """`500m` of CPU as 0.5, `1Gi` as bytes."""
    for unit, factor in UNITS.items():
        if quantity.endswith(unit):
            return float(quantity.removesuffix(unit)) * factor
    return float(quantity)
