"""A burst from zero, the way back as jobs end, and the same burst with the autoscalers' own defaults."""

from __future__ import annotations

import time
from typing import Any

from tests.e2e.cluster import wait_until
from tests.e2e.conftest import Figure
from tests.e2e.release import Release
from tests.waiting import wait_for

from longhaul.states import Ending

BURST = 40
PATIENCE_SECONDS = 150
SLOTS = 4
# Scale-up, polling and target are the chart's own.
SCALED: dict[str, Any] = {"slots": SLOTS, "autoscaling": {"minReplicas": 0}}
FIXED: dict[str, Any] = {"slots": SLOTS, "autoscaling": {"mode": "none"}, "replicas": 0}
SINGLE: dict[str, Any] = {"queues": ["single"], "slots": 1, "autoscaling": {"minReplicas": 0}}
PER_JOB: dict[str, Any] = {"mode": "job", "queues": ["per-job"]}
VALUES = {"worker": {"pools": {"default": SCALED, "single": SINGLE, "per-job": PER_JOB}}}

# KEDA's trigger on the length of a queue, for the same slots, and not a word more: it looks each 30 s.
DEFAULTS: dict[str, Any] = {
    "apiVersion": "keda.sh/v1alpha1",
    "kind": "ScaledObject",
    "metadata": {"name": "plain"},
    "spec": {
        "scaleTargetRef": {"name": "longhaul-worker-default"},
        "minReplicaCount": 0,
        "maxReplicaCount": 40,
        "triggers": [
            {
                "type": "redis",
                "metadata": {"listName": "doorbell:default", "listLength": str(SLOTS)},
                "authenticationRef": {"name": "plain"},
            }
        ],
    },
}
ITS_SECRET: dict[str, Any] = {
    "apiVersion": "keda.sh/v1alpha1",
    "kind": "TriggerAuthentication",
    "metadata": {"name": "plain"},
    "spec": {
        "secretTargetRef": [
            {"parameter": key, "name": "longhaul-backing-redis", "key": key} for key in ("address", "password")
        ]
    },
}


def test_from_zero_to_n_and_back_only_as_jobs_end(release: Release, figure: Figure) -> None:
    release.wait_workers(0)
    jobs = [job for seconds in range(60, 120, 10) for job in release.sleep(seconds, queue="single")]
    release.wait_running(len(jobs))
    pods_at_work: list[tuple[int, int]] = []

    def all_ended() -> bool:
        running = len(release.running())
        pods_at_work.append((len(release.pods("worker")), running))
        return running == 0

    wait_until(all_ended, seconds=300, what="all jobs have ended")
    release.wait_workers(0, seconds=180)
    assert all(pods >= running for pods, running in pods_at_work), pods_at_work
    attempts = release.attempts(jobs)
    assert all([one.ending for one in each] == [Ending.SUCCEEDED] for each in attempts), attempts
    steps_down = sorted({pods for pods, _ in pods_at_work}, reverse=True)
    figure("0 to N and back: pods, as jobs of 60 to 110 s ended", " > ".join(map(str, [*steps_down, 0])))
    figure("jobs interrupted on the way", f"0 of {len(jobs)}")


def test_a_pod_for_each_job(release: Release, figure: Figure) -> None:
    """`mode: job`: as many pods as jobs, each ends with its own."""
    began = time.monotonic()
    jobs = release.sleep(5, count=3, queue="per-job")
    release.wait_done(jobs)
    figure("mode: job: 3 jobs of 5 s, a new pod for each, took", f"{time.monotonic() - began:.0f} s")
    workers = {release.worker_of(job) for job in jobs}
    assert len(workers) == len(jobs)
    wait_until(lambda: not release.pods("worker", pool="per-job"), seconds=90, what="their pods have ended")


def test_a_burst_from_zero(release: Release, figure: Figure) -> None:
    release.wait_workers(0)
    ours = burst_seconds(release)
    assert ours is not None
    figure(f"burst of {BURST} jobs from zero pods: until {BURST} run", f"{ours:.0f} s")

    fixed = {"worker": {"pools": {"default": FIXED}}}
    release.upgrade(fixed)
    release.wait_workers(0)
    release.upgrade(fixed | {"extraObjects": [ITS_SECRET, DEFAULTS]})
    theirs = burst_seconds(release)
    told = f"{theirs:.0f} s" if theirs else f"never: {len(release.running())} after {PATIENCE_SECONDS} s"
    figure("the same with KEDA's and HPA's defaults on queue length alone", told)
    release.cancel_all()


def burst_seconds(release: Release) -> float | None:
    """Seconds until all of a burst run at once; None where that takes more than PATIENCE_SECONDS."""
    began = time.monotonic()
    release.sleep(3600, count=BURST, steps=360)
    try:
        wait_for(
            lambda: len(release.running()) == BURST, timeout_seconds=PATIENCE_SECONDS, poll_seconds=0.5, what="all run"
        )
    except AssertionError:
        return None
    seconds = time.monotonic() - began
    release.cancel_all()
    return seconds
