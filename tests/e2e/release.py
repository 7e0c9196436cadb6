"""One release of the chart in a namespace of its own, used as its users do: by helm, kubectl and the API."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from kr8s.objects import ConfigMap, Pod, Service
from tests.e2e import cluster
from tests.e2e.cluster import ROOT, objects, run, wait_until
from tests.e2e.settings import E2ESettings

from longhaul.client import Client
from longhaul.contract import AttemptView, JobView
from longhaul.states import State

CHART = ROOT / "charts" / "longhaul"
VALUES = ROOT / "tests" / "e2e" / "values.yaml"


class Refused(AssertionError):
    """Helm did not do what it was asked; the message is what it said."""


class Release:
    """`name` is that of the release, `api` speaks to it once `open_api` is entered."""

    def __init__(self, namespace: str, settings: E2ESettings, name: str = "longhaul") -> None:
        self.namespace = namespace
        self.name = name
        self._settings = settings
        self._api: Client | None = None
        self._key = ""

    @property
    def api(self) -> Client:
        assert self._api is not None, "enter open_api first"
        return self._api

    def install(self, values: Mapping[str, Any] | None = None, *, timeout: str = "3m") -> float:
        """Seconds that `helm install --wait` took. Raises Refused."""
        return self._deploy("install", values, timeout)

    def upgrade(self, values: Mapping[str, Any] | None = None, *, timeout: str = "3m") -> float:
        """Seconds that `helm upgrade --wait` took. Raises Refused."""
        return self._deploy("upgrade", values, timeout)

    def helm(self, *arguments: str, text: str | None = None) -> str:
        """What helm says in this namespace. Raises Refused."""
        done = run("helm", "--namespace", self.namespace, *arguments, check=False, text=text)
        if done.returncode:
            raise Refused(done.stderr.strip())
        return done.stdout

    def kubectl(self, *arguments: str) -> str:
        """What kubectl says in this namespace."""
        return run("kubectl", "--namespace", self.namespace, *arguments).stdout

    @contextmanager
    def open_api(self) -> Iterator[Client]:
        """A client with a new key, through a port that is forwarded to the Service, as the notes of the chart say."""
        key = self.kubectl(
            *("exec", f"deployment/{self.name}-api", "--", "longhaul", "keys", "create", "e2e"),
            *("--scope", "admin", "--scope", "submit", "--scope", "read"),
        ).strip()
        self._key = key
        service = Service.get(f"{self.name}-api", namespace=self.namespace)
        with (
            service.portforward(8080, local_port=None) as port,
            Client(f"http://127.0.0.1:{port}", key, retry_seconds=60) as client,
        ):
            self._api = client
            yield client

    def left(self) -> list[str]:
        """What is in the namespace that no namespace has by itself, as kubectl names it."""
        kinds = json.loads(self.kubectl("get", "--raw", "/api/v1"))["resources"]
        found = []
        for kind in (
            *sorted(
                one["name"] for one in kinds if one["namespaced"] and "list" in one["verbs"] and one["name"] != "events"
            ),
            *("deployments", "statefulsets", "jobs", "networkpolicies", "poddisruptionbudgets", "hpa", "roles"),
            *("rolebindings", "scaledobjects", "scaledjobs", "triggerauthentications", "ingresses"),
        ):
            found += self.kubectl("get", kind, "--output", "name").split()
        return [one for one in found if one not in {"configmap/kube-root-ca.crt", "serviceaccount/default"}]

    # Pods

    def pods(self, component: str, pool: str | None = None) -> list[Pod]:
        """The release's pods of a component, or of one pool of workers, that are not on their way out."""
        found = objects("pods", self.namespace, instance=self.name, component=component)
        return [
            pod
            for pod in found
            if "deletionTimestamp" not in pod.metadata
            and pod.status.phase != "Succeeded"
            and pool in {None, pod.labels.get("longhaul.dev/pool")}
        ]

    def ready(self, component: str, pool: str | None = None) -> list[Pod]:
        """Those of them that are ready."""
        return [pod for pod in self.pods(component, pool) if is_ready(pod)]

    def workers(self) -> list[str]:
        """Names of the worker pods that are ready."""
        return [pod.name for pod in self.ready("worker")]

    def wait_workers(self, count: int, *, seconds: float = 120) -> list[str]:
        """Wait until so many worker pods are ready and no others are there; their names."""
        wait_until(
            lambda: len(self.workers()) == count == len(self.pods("worker")),
            seconds=seconds,
            what=f"{count} worker pods are ready, and no others are there",
        )
        return self.workers()

    def pod(self, name: str) -> Pod:
        return Pod.get(name, namespace=self.namespace)

    def pod_exists(self, name: str) -> bool:
        return bool(Pod({"metadata": {"name": name, "namespace": self.namespace}}).exists())

    def evict(self, name: str) -> bool:
        """Whether the eviction was granted, or its budget says: not now."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}/eviction"
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": self.namespace},
        }
        done = run("kubectl", "create", "--raw", path, "--filename", "-", check=False, text=cluster.as_json(eviction))
        assert done.returncode == 0 or "disruption budget" in done.stderr, done.stderr
        return done.returncode == 0

    def metrics(self, pod: str, port: int) -> str:
        """What Prometheus would read; empty where the pod does not answer."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}:{port}/proxy/metrics"
        return run("kubectl", "get", "--raw", path, check=False).stdout

    @contextmanager
    def script(self, script: Path, *arguments: str) -> Iterator[Pod]:
        """A pod of its own that runs a script with the client's package, beside the release."""
        name = script.stem
        made = ConfigMap({"metadata": self._own(name), "data": {script.name: script.read_text()}})
        pod = Pod(
            {
                "metadata": self._own(name),
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                    "volumes": [{"name": "script", "configMap": {"name": name}}],
                    "containers": [
                        {
                            "name": name,
                            "image": f"longhaul-api:{self._settings.tag}",
                            "command": ["python", f"/script/{script.name}", *arguments],
                            "env": [
                                {"name": "LONGHAUL_URL", "value": f"http://{self.name}-api"},
                                {"name": "LONGHAUL_API_KEY", "value": self._key},
                            ],
                            "volumeMounts": [{"name": "script", "mountPath": "/script"}],
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "readOnlyRootFilesystem": True,
                                "capabilities": {"drop": ["ALL"]},
                            },
                        }
                    ],
                },
            }
        )
        made.create()
        pod.create()
        try:
            yield pod
        finally:
            pod.delete()
            made.delete()

    def _own(self, name: str) -> dict[str, str]:
        return {"name": name, "namespace": self.namespace}

    # Jobs

    def sleep(
        self, seconds: float, *, count: int = 1, steps: int | None = None, queue: str | None = None
    ) -> list[UUID]:
        """Submit jobs that sleep, with a checkpoint after each step: each second where nothing else is said."""
        params = {"seconds": seconds, "steps": steps or max(1, round(seconds))}
        return [self.api.submit("demo.sleep", params, queue=queue).id for _ in range(count)]

    def running(self) -> list[JobView]:
        return list(self.api.list(state=State.RUNNING))

    def cancel_all(self) -> None:
        """Whatever waits or runs."""
        for job in self.api.list(state=(State.QUEUED, State.RUNNING)):
            self.api.cancel(job.id)
        wait_until(lambda: not self.running(), seconds=60, what="nothing runs")

    def wait_running(self, count: int, *, seconds: float = 120) -> list[JobView]:
        """Wait until so many jobs run at once."""

        def enough() -> list[JobView] | None:
            found = self.running()
            return found if len(found) >= count else None

        found: list[JobView] = wait_until(enough, seconds=seconds, what=f"{count} jobs run")
        return found

    def wait_event(self, id: UUID, type: str, *, count: int = 1) -> None:
        """Wait until a job's history holds so many events of a type."""
        seen = 0
        for event in self.api.events(id):
            seen += event.type == type
            if seen == count:
                return
        raise AssertionError(f"job {id} ended with {seen} events of type {type}")

    def worker_of(self, id: UUID) -> str:
        """The pod of the newest attempt."""
        name = self.api.attempts(id)[-1].worker
        assert name is not None
        return name

    def wait_done(self, ids: list[UUID], *, seconds: float = 180) -> list[JobView]:
        """Wait until all have succeeded."""
        deadline = time.monotonic() + seconds
        jobs = [self.api.wait(id, timeout=max(1.0, deadline - time.monotonic())) for id in ids]
        assert [job.state for job in jobs] == ["succeeded"] * len(ids), jobs
        return jobs

    def steps_done(self, id: UUID) -> tuple[int, int]:
        """Of a job that slept: by all attempts as far as checkpoints kept them, and by the last one."""
        result = self.api.result(id)
        assert isinstance(result, dict)
        steps = result["steps_done"], result["steps_done_here"]
        assert isinstance(steps[0], int)
        assert isinstance(steps[1], int)
        return steps[0], steps[1]

    def attempts(self, ids: list[UUID]) -> list[list[AttemptView]]:
        return [self.api.attempts(id) for id in ids]

    def _deploy(self, verb: str, values: Mapping[str, Any] | None, timeout: str) -> float:
        sets = [f"image.tag={self._settings.tag}", *filter(None, self._settings.helm_set.split(","))]
        began = time.monotonic()
        self.helm(
            *(verb, self.name, str(CHART), "--values", str(VALUES), "--values", "-"),
            *(part for one in sets for part in ("--set", one)),
            *("--wait", "--timeout", timeout),
            text=cluster.as_json(values or {}),
        )
        return time.monotonic() - began


def is_ready(pod: Pod) -> bool:
    conditions = pod.raw["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def restarts(pod: Pod) -> int:
    return sum(one["restartCount"] for one in pod.raw["status"].get("containerStatuses", []))
