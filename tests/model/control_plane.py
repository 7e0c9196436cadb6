"""A real control plane with nodes that run nothing (KWOK), and the chart's worker pool on them."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import redis
from kr8s.objects import Secret, Service
from tests.e2e import cluster
from tests.e2e.cluster import as_json, run, wait_until
from tests.e2e.release import is_ready

from longhaul.sizing import fleet
from longhaul.sizing.assumptions import Assumptions
from longhaul.sizing.emit import helm_values
from longhaul.sizing.fleet import Fleet
from longhaul.sizing.packing import Room

NAMESPACE, RELEASE = "model", "longhaul"
_KIND = "longhaul.dev/fake"
_CHART = cluster.ROOT / "charts" / "longhaul"
_ON_FAKE_NODES = {
    "nodeSelector": {_KIND: "true"},
    "tolerations": [{"key": _KIND, "operator": "Exists"}],
}


def why_none() -> str | None:
    """Why nothing can be compared here, as one sentence; None where it can."""
    reason = cluster.why_none()
    if reason is None and run("kubectl", "get", "crd", "scaledobjects.keda.sh", check=False).returncode:
        return "KEDA is not in this cluster: see k8s/addons."
    return reason


@contextmanager
def fake_nodes(count: int, assumptions: Assumptions) -> Iterator[None]:
    """Nodes of the assumed size, on which DaemonSets take their share. KWOK must run, for nodes with its annotation."""
    try:
        add_nodes(0, count, assumptions)
        run("kubectl", "apply", "--filename=-", text=json.dumps(_daemons(assumptions)))
        yield
    finally:
        # With its pods, which no node would end any more.
        run(
            *("kubectl", "delete", "daemonset", "fake-daemons", "--namespace=default", "--ignore-not-found"),
            *("--cascade=foreground", "--timeout=60s"),
        )
        run("kubectl", "delete", "nodes", f"--selector={_KIND}", "--ignore-not-found")


def add_nodes(first: int, count: int, assumptions: Assumptions) -> None:
    """So many more, numbered from `first`, ready."""
    size = {**_resources(fleet.node(assumptions)), "pods": "110"}
    nodes = [_node(number, size) for number in range(first, first + count)]
    run("kubectl", "apply", "--filename=-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes}))
    ready = run(
        "kubectl", "wait", "nodes", f"--selector={_KIND}", "--for=condition=Ready", "--timeout=60s", check=False
    )
    assert ready.returncode == 0, f"The fake nodes do not become ready: is KWOK running? {ready.stderr}"


@contextmanager
def release(
    assumptions: Assumptions, pods: Fleet, autoscaling: Mapping[str, Any], helm_set: str = ""
) -> Iterator[redis.Redis]:
    """The chart with a size's own values: its API and workers on fake nodes, its Redis on a real one. No controller:
    whoever plays the jobs says what waits and runs. Yields a client of that Redis."""
    values = helm_values(assumptions, pods)
    values["api"] |= {"replicas": pods.api_max_replicas, **_ON_FAKE_NODES}
    values["api"]["autoscaling"]["enabled"] = False
    values["worker"]["poolDefaults"] |= _ON_FAKE_NODES
    values["worker"]["poolDefaults"]["autoscaling"] |= autoscaling
    values |= {"controller": {"replicas": 0}, "jobs": {"migrate": {"enabled": False}, "register": {"enabled": False}}}
    values |= {"backing": {"postgres": {"persistence": {"enabled": False}}}}
    with cluster.namespace(NAMESPACE):
        run(
            *("helm", "install", RELEASE, str(_CHART), f"--namespace={NAMESPACE}", "--values=-"),
            *(f"--set={one}" for one in helm_set.split(",") if one),
            text=as_json(values),
        )
        wait_until(lambda: _is_up("redis"), seconds=120, what="Redis is up")
        password = _redis_password()
        service = Service.get(f"{RELEASE}-backing-redis", namespace=NAMESPACE)
        with service.portforward(6379, local_port=None) as port:
            yield redis.Redis(host="127.0.0.1", port=port, password=password, socket_timeout=10)


class Settled:
    """Whether the scheduler is done: `all placed`, or `some wait` once as many have waited for several looks.

    A look takes half a second or more, and the scheduler tries a pod again within 10 s.
    """

    LOOKS = 25

    def __init__(self) -> None:
        self._seen: list[int] = []

    def __call__(self) -> str | None:
        self._seen.append(_pods("spec.nodeName="))
        if not self._seen[-1]:
            return "all placed"
        last = self._seen[-self.LOOKS :]
        return "some wait" if len(last) == self.LOOKS and len(set(last)) == 1 else None


def fake_pods() -> int:
    """Workers and API pods that were made."""
    return _pods("", "app.kubernetes.io/component in (api, worker)")


def ready_workers() -> int:
    return sum(is_ready(pod) for pod in cluster.objects("pods", NAMESPACE, component="worker"))


def _pods(fields: str, labels: str = "") -> int:
    found = run(
        *("kubectl", "get", "pods", f"--namespace={NAMESPACE}", f"--field-selector={fields}"),
        *(f"--selector={labels}", "--output=name"),
    )
    return len(found.stdout.split())


def _is_up(component: str) -> bool:
    pods = cluster.objects("pods", NAMESPACE, component=component)
    return bool(pods) and all(is_ready(pod) for pod in pods)


def _redis_password() -> str:
    secret = Secret.get(f"{RELEASE}-backing-redis", namespace=NAMESPACE)
    return b64decode(secret.raw["data"]["password"]).decode()


def _resources(room: Room) -> dict[str, str]:
    return {"cpu": room.cpu, "memory": room.memory}


def _node(number: int, size: Mapping[str, str]) -> dict[str, Any]:
    name = f"fake-{number:03}"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {
                _KIND: "true",
                "kubernetes.io/os": "linux",
                "kubernetes.io/hostname": name,
                "topology.kubernetes.io/zone": f"zone-{number % 3 + 1}",
            },
        },
        "spec": {"taints": [{"key": _KIND, "value": "true", "effect": "NoSchedule"}]},
        "status": {"allocatable": size, "capacity": size},
    }


def _daemons(assumptions: Assumptions) -> dict[str, Any]:
    labels = {"app": "fake-daemons"}
    requests = _resources(fleet.daemons(assumptions))
    container = {"name": "daemon", "image": "registry.k8s.io/pause:3.10", "resources": {"requests": requests}}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "fake-daemons", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container], **_ON_FAKE_NODES}},
        },
    }
