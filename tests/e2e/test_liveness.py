"""Liveness by queue depth: a worker that is alive and deaf is restarted, a busy one never."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import httpx2
from tests.e2e import redis_proxy
from tests.e2e.cluster import ROOT, wait_until
from tests.e2e.conftest import Figure
from tests.e2e.release import Release, restarts
from tests.e2e.settings import E2ESettings
from tests.waiting import wait_for

Problems = Callable[[], dict[str, str]]

DEAF_SECONDS = 15
"""Instead of 120."""
JOB_SECONDS = 4 * DEAF_SECONDS

PROXY = {
    "name": "redis-proxy",
    "image": f"longhaul-worker:{E2ESettings().tag}",
    "restartPolicy": "Always",
    "command": ["python", "-c", (ROOT / "tests" / "e2e" / "redis_proxy.py").read_text()],
    "env": [{"name": "REDIS_HOST", "value": "longhaul-backing-redis"}],
    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    },
}
PASSWORD = {"secretKeyRef": {"name": "longhaul-backing-redis", "key": "password"}}
VALUES = {
    "worker": {
        # One pod each: others would hear what a deaf one does not.
        "poolDefaults": {"deafSeconds": DEAF_SECONDS, "replicas": 1, "autoscaling": {"mode": "none"}},
        "pools": {
            "default": {
                "slots": 2,
                "extraInitContainers": [PROXY],
                "extraEnv": [
                    {"name": "REDIS_PASSWORD", "valueFrom": PASSWORD},
                    {
                        "name": "LONGHAUL_REDIS_URL",
                        "value": f"redis://:$(REDIS_PASSWORD)@127.0.0.1:{redis_proxy.PORT}/0",
                    },
                ],
            },
            "busy": {"queues": ["busy"], "slots": 1},
        },
    }
}


def test_a_dead_connection_is_replaced_without_a_restart(release: Release, figure: Figure) -> None:
    """Where a new connection helps, Celery makes one; the probe gives it the time."""
    pod = worker(release, "default")
    with deaf(release, pod):
        died_at = time.monotonic()
        job = release.api.submit("demo.echo")
    release.wait_done([job.id], seconds=60)
    assert restarts(release.pod(pod)) == 0
    figure("a connection to Redis dies silently, to the waiting job done", f"{time.monotonic() - died_at:.0f} s")


def test_a_deaf_worker_is_restarted_once_it_holds_no_job(release: Release, figure: Figure) -> None:
    """Two slots: one runs a job, the other one is free all the time."""
    pod = worker(release, "default")
    (long,) = release.sleep(JOB_SECONDS)
    release.wait_running(1)
    with deaf(release, pod):
        waiting = release.api.submit("demo.echo")
        with open_probe(release, pod) as problems:
            check_while_running(release, long, pod, problems)
            ended_at = time.monotonic()
            assert release.api.get(waiting.id).state == "queued"
            wait_until(lambda: "doorbells" in problems(), seconds=60, what="the worker says that it is deaf")
        wait_until(lambda: restarts(release.pod(pod)), seconds=90, what="the deaf worker is restarted")
        restart_seconds = time.monotonic() - ended_at
    release.wait_done([waiting.id], seconds=60)
    assert restarts(release.pod(pod)) == 1
    assert [len(one) for one in release.attempts([long, waiting.id])] == [1, 1]
    figure(
        f"a deaf worker with a free slot and no job is restarted (deafSeconds {DEAF_SECONDS})",
        f"{restart_seconds:.0f} s",
    )


def test_a_busy_worker_is_not_restarted(release: Release, figure: Figure) -> None:
    """Its queue is deep for several times `deafSeconds`."""
    pod = worker(release, "busy")
    long = release.api.submit("demo.sleep", {"seconds": JOB_SECONDS, "steps": JOB_SECONDS}, queue="busy").id
    release.wait_event(long, "started")
    waiting = [release.api.submit("demo.echo", queue="busy").id for _ in range(5)]
    with open_probe(release, pod) as problems:
        check_while_running(release, long, pod, problems)
    release.wait_done(waiting)
    assert restarts(release.pod(pod)) == 0
    assert [len(one) for one in release.attempts([long, *waiting])] == [1] * 6
    figure(f"restarts of a busy worker whose queue is deep for {JOB_SECONDS} s", "0")


def check_while_running(release: Release, job: UUID, pod: str, problems: Problems) -> None:
    """Until the job has succeeded, its pod is live at each look."""

    def has_succeeded() -> bool:
        assert problems() == {}
        assert restarts(release.pod(pod)) == 0
        return release.api.get(job).state == "succeeded"

    wait_for(has_succeeded, timeout_seconds=JOB_SECONDS + 30, poll_seconds=1, what="the job has ended")


def worker(release: Release, pool: str) -> str:
    """The name of a pool's one pod, once it is ready."""
    (pod,) = wait_until(lambda: release.ready("worker", pool), seconds=60, what=f"the worker of pool {pool} is ready")
    return str(pod.name)


@contextmanager
def deaf(release: Release, pod: str) -> Iterator[None]:
    """From when the pod's connection for doorbells has died, and as long as the context lasts all new ones do."""
    proxy = (pod, "--container", "redis-proxy")
    died_before = release.kubectl("logs", *proxy).count("died")
    release.kubectl("exec", *proxy, "--", "touch", str(redis_proxy.DEAF))
    wait_until(
        lambda: release.kubectl("logs", *proxy).count("died") > died_before,
        seconds=10,
        what="the connection for doorbells died",
    )
    yield
    release.kubectl("exec", *proxy, "--", "rm", str(redis_proxy.DEAF))


@contextmanager
def open_probe(release: Release, pod: str) -> Iterator[Problems]:
    """What the kubelet is told of the pod: why it is not live."""
    with (
        release.pod(pod).portforward(8081, local_port=None) as port,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client,
    ):
        yield lambda: client.get("/livez").json().get("problems", {})
