"""The cluster that KUBECONFIG names, and the namespaces that tests make in it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kr8s
from kr8s.objects import Namespace
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "e2e"
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}


def why_none() -> str | None:
    """Why no test can run here, as one sentence; None where all can."""
    for program in ("helm", "kubectl"):
        if shutil.which(program) is None:
            return f"{program} is not on the PATH: install it to run the tests on a cluster."
    answer = run("kubectl", "get", "--raw", "/readyz", "--request-timeout=5s", check=False)
    if answer.returncode:
        return (
            "No cluster answers: set KUBECONFIG, or make one with `kind create cluster --config k8s/kind/cluster.yaml`."
        )
    return None


def run(*command: str, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """A program, in the repository's root. With `check` a failure is an AssertionError with what it said."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, input=text)
    assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done


@contextmanager
def namespace(name: str) -> Iterator[str]:
    """An empty namespace that enforces Pod Security `restricted`, for as long as the context lasts."""
    delete_namespace(name)
    Namespace({"metadata": {"name": name, "labels": RESTRICTED}}).create()
    try:
        yield name
    finally:
        delete_namespace(name)


def delete_namespace(name: str) -> None:
    """With all in it, and what its releases have outside of it, without waiting for pods that drain."""
    if Namespace({"metadata": {"name": name}}).exists():
        for release in run("helm", "list", "--namespace", name, "--short").stdout.split():
            run("helm", "uninstall", release, "--namespace", name, "--no-hooks")
        run("kubectl", "delete", "--namespace", name, "scaledobjects,scaledjobs,deployments,statefulsets,jobs", "--all")
        run("kubectl", "delete", "--namespace", name, "pods", "--all", "--grace-period=0", "--force")
        run("kubectl", "delete", "namespace", name, "--wait=true", "--timeout=120s")


def objects(kind: str, namespace: str, **labels: str) -> list[Any]:
    """Objects of a kind, by labels without their prefix `app.kubernetes.io/`."""
    selector = {f"app.kubernetes.io/{name}": value for name, value in labels.items()}
    return list(kr8s.get(kind, namespace=namespace, label_selector=selector))


def wait_until(predicate: Callable[[], Any], *, seconds: float, what: str) -> Any:
    """As `wait_for`, a few times a second: what it asks costs the cluster something."""
    return wait_for(predicate, timeout_seconds=seconds, poll_seconds=0.5, what=what)


def overview(namespace: str) -> str:
    """What runs in the namespace, and what its scalers want."""
    shown = ("get", "pods,jobs,deployments,hpa,scaledobjects", "--output", "wide")
    return run("kubectl", "--namespace", namespace, *shown, check=False).stdout


def save_evidence(namespace: str, name: str) -> None:
    """What the namespace holds and its pods said, for whoever must find out why a test failed."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / f"{name}.log").open("w") as file:
        file.write(overview(namespace))
        events = ("get", "events", "--sort-by=.lastTimestamp")
        file.write(run("kubectl", "--namespace", namespace, *events, check=False).stdout)
        for pod in objects("pods", namespace):
            for previous in ((), ("--previous",)):
                said = run("kubectl", "--namespace", namespace, "logs", pod.name, *previous, check=False)
                if said.returncode == 0:
                    file.write(f"\n== {pod.name} {' '.join(previous)}\n{said.stdout}")


def as_json(value: object) -> str:
    """Values for Helm: JSON is YAML."""
    return json.dumps(value)
