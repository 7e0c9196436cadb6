"""Pods that can't start, for a bad image, a quota or a deletion, cost no job anything: it runs on others, or waits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from kr8s.objects import Pod
from tests.e2e.cluster import as_json, run, wait_until
from tests.e2e.conftest import Figure
from tests.e2e.release import Refused, Release, is_ready, restarts
from tests.waiting import wait_for

WORKERS = 2
QUEUE_THRESHOLD = 3
DELETIONS = 3


def values(**of_default_pool: Any) -> dict[str, Any]:
    """A pool of as many pods as there are, and one that has none yet."""
    default = {"autoscaling": {"minReplicas": WORKERS, "maxReplicas": WORKERS}}
    batch = {"queues": ["batch"], "autoscaling": {"minReplicas": 0}}
    pools = {"default": default | of_default_pool, "batch": batch}
    return {"api": {"queueThreshold": QUEUE_THRESHOLD}, "worker": {"pools": pools}}


VALUES = values()
BAD_IMAGES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "is nowhere": ({"image": {"tag": "nowhere"}}, {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"}),
    "ends at its start": ({"command": ["python", "-c", "raise SystemExit(1)"]}, {"CrashLoopBackOff"}),
}


@pytest.mark.fault("F38")
@pytest.mark.parametrize("what", BAD_IMAGES)
def test_a_bad_image_is_rolled_out(release: Release, figure: Figure, what: str) -> None:
    """Those that run are not interrupted, those that come are taken by the old pods, and there is a way back."""
    bad, reasons = BAD_IMAGES[what]
    old_pods = set(release.wait_workers(WORKERS))
    running = release.sleep(20, count=WORKERS)
    release.wait_running(WORKERS)
    with pytest.raises(Refused, match="not ready"):
        release.upgrade(values(**bad), timeout="10s")
    wait_new_pod(release, reasons)
    submitted_after = release.sleep(3, count=2 * WORKERS)
    release.wait_done(running + submitted_after)
    wait_new_pod(release, reasons)

    across_rollback = release.sleep(10, count=WORKERS)
    release.wait_running(WORKERS)
    release.helm("rollback", release.name, "1", "--wait", "--timeout", "2m")
    release.wait_done(across_rollback)

    jobs = running + submitted_after + across_rollback
    attempts = release.attempts(jobs)
    assert [[one.attempt for one in of_job] for of_job in attempts] == [[1]] * len(jobs), attempts
    assert {one.worker for (one,) in attempts} == old_pods
    assert {pod.name: restarts(pod) for pod in release.pods("worker")} == dict.fromkeys(old_pods, 0)
    figure(f"an image that {what}: jobs that old pods did meanwhile", f"{len(jobs)} of {len(jobs)}")
    figure(f"an image that {what}: attempts that it used up", f"{sum(map(len, attempts)) - len(jobs)}")


def wait_new_pod(release: Release, reasons: set[str]) -> None:
    """Wait until a worker pod that is not ready says one of these reasons."""

    def said() -> set[str]:
        not_ready = [pod for pod in release.pods("worker") if not is_ready(pod)]
        statuses = [status for pod in not_ready for status in pod.raw["status"].get("containerStatuses", [])]
        return reasons & {status["state"].get("waiting", {}).get("reason") for status in statuses}

    wait_until(said, seconds=60, what=f"a new pod waits for one of {reasons}")


def test_a_quota_stops_pods(release: Release, figure: Figure) -> None:
    """Of a pool that has none: its jobs are accepted and wait, the queue's health says so, and then they are done."""
    count = QUEUE_THRESHOLD + 1
    wait_until(lambda: not release.pods("worker", "batch"), seconds=60, what="the pool batch has no pods")
    assert health(release) == (True, 0, [])
    with no_room_for_pods(release):
        jobs = submit_to_batch(release, count=count)
        wait_until(lambda: "exceeded quota" in why_no_pods(release), seconds=60, what="a pod was refused")
        problems = ["jobs wait, and no worker is online", f"more than {QUEUE_THRESHOLD} jobs wait"]
        assert health(release) == (False, count, problems)
        assert {release.api.get(id).state for id in jobs} == {"queued"}
    ended_at = time.monotonic()
    release.wait_done(jobs)
    figure("a quota that stops all pods: the queue is unhealthy, since", "; ".join(problems))
    figure("from the quota's end to the end of the jobs that waited", f"{time.monotonic() - ended_at:.0f} s")
    assert [len(one) for one in release.attempts(jobs)] == [1] * count
    assert health(release) == (True, 0, [])


@contextmanager
def no_room_for_pods(release: Release) -> Iterator[None]:
    """Those that are there may stay."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"}, "spec": {"hard": {"pods": "0"}}}
    run("kubectl", "--namespace", release.namespace, "create", "--filename", "-", text=as_json(quota))
    try:
        yield
    finally:
        release.kubectl("delete", "resourcequota", "full")


def why_no_pods(release: Release) -> str:
    """What the Deployment of the pool `batch` says, as `kubectl describe` shows it."""
    message = '{.status.conditions[?(@.type=="ReplicaFailure")].message}'
    return release.kubectl("get", "deployment", f"{release.name}-worker-batch", "--output", f"jsonpath={message}")


def health(release: Release) -> tuple[bool, int, list[str]]:
    """Of the queue `batch`, as the API tells it: whether it is healthy, how many jobs wait, and what is wrong."""
    (queue,) = [one for one in release.api.queues() if one.name == "batch"]
    return queue.healthy, queue.waiting, queue.problems


def test_pods_are_deleted_while_they_start(release: Release, figure: Figure) -> None:
    """They go as soon as they can, and do not take jobs until their grace is over and they are killed."""
    wait_until(lambda: not release.pods("worker", "batch"), seconds=60, what="the pool batch has no pods")
    jobs = submit_to_batch(release, count=1)
    deleted: list[str] = []
    while len(deleted) < DELETIONS:
        pod = wait_for(lambda: started(release), timeout_seconds=60, what="a container of the pool batch has started")
        pod.delete()
        deleted.append(pod.name)
    deleted_at = time.monotonic()
    wait_until(lambda: not any(map(release.pod_exists, deleted)), seconds=90, what="the deleted pods are gone")
    figure(f"{DELETIONS} pods, deleted while they start, are gone after", f"{time.monotonic() - deleted_at:.0f} s")
    release.wait_done(jobs)
    assert [len(one) for one in release.attempts(jobs)] == [1]


def started(release: Release) -> Pod | None:
    """A pod of the pool `batch` whose container runs, and has not yet started all that it consists of."""
    for pod in release.pods("worker", "batch"):
        statuses = pod.raw["status"].get("containerStatuses", [])
        if any("running" in status["state"] and not status["started"] for status in statuses):
            return pod
    return None


def submit_to_batch(release: Release, *, count: int) -> list[UUID]:
    params = {"seconds": 1, "steps": 1}
    return [release.api.submit("demo.sleep", params, queue="batch").id for _ in range(count)]
