"""A release as `helm template` renders it: its objects, and what refuses to be rendered."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "longhaul"
BACKING = ROOT / "charts" / "backing"
CI_VALUES = sorted((CHART / "ci").glob("*.yaml"))
KUBERNETES_VERSION = "1.34.0"
CRDS = ("keda.sh/v1alpha1", "gateway.networking.k8s.io/v1", "monitoring.coreos.com/v1")
"""What is installed in the cluster that tests render for, beside Kubernetes."""
NAMESPACE = "jobs"

Object = dict[str, Any]
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Release:
    """Objects in the order of the output. Names are without the release's own: `api`, not `longhaul-api`."""

    text: str
    objects: tuple[Object, ...]

    def one(self, kind: str, name: str = "") -> Object:
        """The only object of a kind and name. Raises AssertionError."""
        full = f"longhaul-{name}" if name else "longhaul"
        found = [one for one in self.all(kind) if one["metadata"]["name"] == full]
        assert len(found) == 1, (
            f"{len(found)} {kind} {full} among {[one['metadata']['name'] for one in self.all(kind)]}"
        )
        return found[0]

    def all(self, kind: str) -> list[Object]:
        return [one for one in self.objects if one["kind"] == kind]

    def names(self, kind: str) -> set[str]:
        return {one["metadata"]["name"] for one in self.all(kind)}

    def pods(self) -> Iterator[tuple[str, Object]]:
        """Every pod template with what it belongs to, such as `Deployment longhaul-api`."""
        for one in self.objects:
            spec = one.get("spec", {})
            template = (
                one if one["kind"] == "Pod" else spec.get("template") or spec.get("jobTargetRef", {}).get("template")
            )
            if template:
                yield f"{one['kind']} {one['metadata']['name']}", template

    def pod(self, kind: str, name: str) -> Object:
        """The pod spec of an object."""
        one = self.one(kind, name)
        owner = one["spec"].get("jobTargetRef") or one["spec"]
        spec: Object = owner["template"]["spec"]
        return spec

    def container(self, kind: str, name: str) -> Object:
        """The first container of an object's pods."""
        container: Object = self.pod(kind, name)["containers"][0]
        return container

    def environment(self, kind: str, name: str) -> dict[str, Any]:
        """Variables of that container: values, or what they are read from."""
        return {
            one["name"]: one.get("value", one.get("valueFrom")) for one in self.container(kind, name).get("env", [])
        }


def render(values: Values | None = None, *, file: Path | None = None, crds: tuple[str, ...] = CRDS) -> Release:
    """Render the chart with a file of values and further ones. Raises AssertionError where Helm refuses."""
    text, complaint = _helm_template(json.dumps(values or {}), file, crds, CHART)
    assert not complaint, complaint
    return Release(text, _parse(text))


def render_backing(values: Values | None = None) -> Release:
    """Render charts/backing alone."""
    text, complaint = _helm_template(json.dumps(values or {}), None, (), BACKING)
    assert not complaint, complaint
    return Release(text, _parse(text))


def refuse(values: Values, *, crds: tuple[str, ...] = CRDS) -> str:
    """What Helm says to values that it refuses. Raises AssertionError where it takes them."""
    text, complaint = _helm_template(json.dumps(values), None, crds, CHART)
    assert complaint, f"taken, and rendered {len(text)} characters"
    return complaint


def run(*command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program that is on the PATH, in the project's root."""
    return subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)


def has(program: str) -> bool:
    return shutil.which(program) is not None


@functools.cache
def _helm_template(values: str, file: Path | None, crds: tuple[str, ...], chart: Path) -> tuple[str, str]:
    """What it printed, and where it refused, what it said instead."""
    options = [f"--api-versions={crd}" for crd in crds]
    if file:
        options.append(f"--values={file}")
    done = run(
        *("helm", "template", "longhaul", str(chart), "--namespace", NAMESPACE),
        *("--kube-version", KUBERNETES_VERSION, "--values", "-", *options),
        stdin=values,
    )
    return (done.stdout, "") if done.returncode == 0 else ("", done.stderr)


@functools.cache
def _parse(text: str) -> tuple[Object, ...]:
    return tuple(one for one in yaml.load_all(text, Loader=yaml.CSafeLoader) if one)
