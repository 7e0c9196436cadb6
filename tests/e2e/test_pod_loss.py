"""Pods that are deleted, evicted and killed under running jobs, and what that costs the jobs."""

from __future__ import annotations

import json
import re
import time
from functools import partial

import pytest
from kr8s.objects import Pod
from tests.e2e.cluster import ROOT, wait_until
from tests.e2e.conftest import Figure
from tests.e2e.release import Release

from longhaul.contract import AttemptView
from longhaul.states import Ending

LEASE_SECONDS = 15
VALUES = {
    "lease": {"seconds": LEASE_SECONDS},
    "api": {"replicas": 2},
    "controller": {"replicas": 2},
    "worker": {
        "pools": {
            "default": {"autoscaling": {"mode": "none"}, "replicas": 3},
            # Its jobs can't end within the grace: they hand over.
            "hasty": {"queues": ["hasty"], "autoscaling": {"mode": "none"}, "replicas": 2, "drainSeconds": 8},
        }
    },
}


@pytest.mark.fault("F8")
def test_a_pod_deleted_mid_job_ends_it_within_its_grace(release: Release, figure: Figure) -> None:
    (job,) = release.sleep(20)
    release.wait_event(job, "checkpoint", count=3)
    pod = release.worker_of(job)
    release.pod(pod).delete()
    release.wait_done([job])
    (attempt,) = release.api.attempts(job)
    assert (attempt.worker, attempt.ending) == (pod, Ending.SUCCEEDED)
    ended = time.monotonic()
    wait_until(lambda: not release.pod_exists(pod), seconds=30, what="the pod goes once its job has ended")
    figure("a deleted pod goes after its last job's end", f"{time.monotonic() - ended:.1f} s")


@pytest.mark.fault("F9", "F37")
def test_too_short_a_grace_hands_the_job_over_with_its_checkpoint(release: Release, figure: Figure) -> None:
    (job,) = release.sleep(30, queue="hasty")
    release.wait_event(job, "checkpoint", count=5)
    pod = release.worker_of(job)
    release.pod(pod).delete()
    release.wait_done([job])
    first, second = release.api.attempts(job)
    assert (first.worker, first.ending, second.ending) == (pod, Ending.HANDED_OVER, Ending.SUCCEEDED)
    assert second.worker != pod
    done, done_here = release.steps_done(job)
    assert done == 30
    assert done - done_here >= 5
    figure("too short a grace: steps kept by the checkpoint, of 30", str(done - done_here))
    figure("too short a grace: from the hand-over to the next attempt", f"{pause_seconds(first, second):.1f} s")


@pytest.mark.fault("F1", "F37")
def test_a_killed_pod_costs_its_job_a_lease(release: Release, figure: Figure) -> None:
    """Killed with its node, as far as the job can tell: nobody writes its end."""
    (job,) = release.sleep(40)
    release.wait_event(job, "checkpoint", count=3)
    killed = time.monotonic()
    kill(release.pod(release.worker_of(job)))
    release.wait_event(job, "started", count=2)
    seconds = time.monotonic() - killed
    first = release.api.attempts(job)[0]
    assert first.ending == Ending.LEASE_LOST
    # The kubelet lets a pod that is deleted with no grace live for one second or two.
    assert seconds < LEASE_SECONDS + 2 + 3
    release.wait_done([job])
    figure(f"a killed pod: its job runs elsewhere (lease {LEASE_SECONDS} s)", f"{seconds:.1f} s")


@pytest.mark.fault("F37")
def test_all_workers_evicted_with_jobs_running(release: Release, figure: Figure) -> None:
    """As `kubectl drain` does it: asked again until the budget lets each go."""
    jobs = release.sleep(25, count=3)
    release.wait_running(3)
    before = {pod.name for pod in release.ready("worker", pool="default")}
    assert {release.worker_of(job) for job in jobs} == before
    left = set(before)
    began = time.monotonic()

    def evicted() -> bool:
        left.difference_update([name for name in left if release.evict(name)])
        return not left

    wait_until(evicted, seconds=120, what="all workers are evicted")
    seconds = time.monotonic() - began
    release.wait_done(jobs)
    wait_until(lambda: not before & set(release.workers()), seconds=30, what="others took their place")
    attempts = release.attempts(jobs)
    assert [len(one) for one in attempts] == [1, 1, 1], attempts
    figure("eviction of all 3 workers, one after another as their budget asks", f"{seconds:.0f} s")
    figure("jobs interrupted by it", f"0 of {len(jobs)}")


def test_the_leading_controller_is_killed(release: Release, figure: Figure) -> None:
    """Jobs run on meanwhile; another leads, and does what a leader does: it finds the lease of a lost worker."""
    leader = wait_until(lambda: find_leader(release), seconds=30, what="a controller leads")
    kill(leader)
    killed = time.monotonic()
    (job,) = release.sleep(1)
    release.wait_done([job])
    job_seconds = time.monotonic() - killed
    wait_until(
        lambda: (found := find_leader(release)) and found.name != leader.name,
        seconds=30,
        what="another controller leads",
    )
    figure("leader killed: another leads", f"{time.monotonic() - killed:.1f} s")
    figure("leader killed: a job of 1 s meanwhile took", f"{job_seconds:.1f} s")


@pytest.mark.fault("F41")
def test_api_pods_killed_under_open_streams(release: Release, figure: Figure) -> None:
    streams = 50
    (job,) = release.sleep(45, steps=300)
    script = ROOT / "tests" / "e2e" / "streams.py"
    with release.script(script, str(job), str(streams)) as pod:
        wait_until(lambda: sum(streams_by_pod(release).values()) == streams, seconds=30, what="all streams are open")
        moved = []
        for end in (Pod.delete, kill):
            name, held = max(streams_by_pod(release).items(), key=lambda one: one[1])
            end(release.pod(name))
            moved.append(held)
            wait_until(partial(went_on, release, name, streams), seconds=60, what="its streams went on at other pods")
        wait_until(lambda: phase(pod) == "Succeeded", seconds=90, what="all streams have ended")
        seen = json.loads(next(iter(pod.logs())))
    last = release.api.get(job).last_event_id
    assert len(seen) == streams
    assert all(ids == list(range(1, last + 1)) for ids in seen)
    figure("API pods deleted and killed under open streams", f"{moved[0]} and {moved[1]} of {streams} moved")
    figure("events lost or doubled by that", f"0 of {sum(map(len, seen))}")


def kill(pod: Pod) -> None:
    """With no grace: the kubelet kills it a second or two later, and its controller replaces it at once."""
    pod.delete(grace_period=0, force=True)


def find_leader(release: Release) -> Pod | None:
    for pod in release.ready("controller"):
        if figure_of(release, pod.name, 8082, "longhaul_controller_is_leader") == 1:
            return pod
    return None


def streams_by_pod(release: Release, without: str = "") -> dict[str, int]:
    names = [pod.name for pod in release.ready("api") if pod.name != without]
    return {name: int(figure_of(release, name, 8080, "longhaul_api_streams")) for name in names}


def went_on(release: Release, gone: str, streams: int) -> bool:
    return sum(streams_by_pod(release, without=gone).values()) == streams and len(release.ready("api")) == 2


def figure_of(release: Release, pod: str, port: int, name: str) -> float:
    """A number of a pod's metrics; 0 where it can't be asked."""
    text = release.metrics(pod, port)
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def phase(pod: Pod) -> str:
    pod.refresh()
    return str(pod.status.phase)


def pause_seconds(first: AttemptView, second: AttemptView) -> float:
    assert first.ended_at is not None
    return (second.started_at - first.ended_at).total_seconds()
