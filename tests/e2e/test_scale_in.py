"""Which pods a scale-in takes: 20 pods, 15 of them busy, ten times in a row; the same without deletion costs; and what
becomes of busy pods that must go."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from tests.e2e.cluster import objects, wait_until
from tests.e2e.conftest import Figure
from tests.e2e.release import Release

from longhaul.states import Ending

PODS, IDLE = 20, 5
ROUNDS, ROUNDS_WITHOUT_COSTS = 10, 4


FEW = 2
JOB_SECONDS = 60
HASTY = {"drainSeconds": 4, "handoverSeconds": 3, "autoscaling": {"maxReplicas": PODS}}
"""A busy pod that is taken hands its job over soon: that is the interruption which is counted."""
PATIENT = {"autoscaling": {"minReplicas": PODS, "maxReplicas": PODS}}


def values(*, costs: bool, pool: dict[str, Any] = HASTY) -> dict[str, Any]:
    return {
        "controller": {"deletionCost": {"enabled": costs}},
        # Its change makes new pods, that no cost of the old ones is left.
        "worker": {"pools": {"default": pool | {"podAnnotations": {"costs": str(costs)}}}},
    }


VALUES = values(costs=True)


@dataclass
class Taken:
    """What all rounds took."""

    idle: int = 0
    busy: int = 0


@pytest.mark.fault("F36")
def test_a_scale_in_takes_idle_pods(release: Release, figure: Figure) -> None:
    taken = scale_in_again_and_again(release, ROUNDS)
    interrupted = count_interrupted(release)
    figure(f"{ROUNDS} scale-ins of {IDLE} of {PODS} pods: busy pods taken", f"{taken.busy} of {ROUNDS * IDLE}")
    figure("running jobs interrupted by that", f"{interrupted} of {ROUNDS * (PODS - IDLE)}")
    assert taken == Taken(idle=ROUNDS * IDLE, busy=0)
    assert interrupted == 0


def test_without_deletion_costs_it_takes_busy_ones(release: Release, figure: Figure) -> None:
    """For comparison, and to see that the test above could fail."""
    release.cancel_all()
    release.upgrade(values(costs=False))
    before = count_interrupted(release)
    taken = scale_in_again_and_again(release, ROUNDS_WITHOUT_COSTS)
    interrupted = count_interrupted(release) - before
    figure("the same without deletion costs: busy pods taken", f"{taken.busy} of {ROUNDS_WITHOUT_COSTS * IDLE}")
    figure("running jobs interrupted by that", f"{interrupted} of {ROUNDS_WITHOUT_COSTS * (PODS - IDLE)}")
    assert taken.busy > 0


@pytest.mark.fault("F36")
def test_a_scale_in_below_what_is_busy_waits_for_the_jobs(release: Release, figure: Figure) -> None:
    """20 to 2 with 15 busy, as someone may order it: costs can't help 13 of them, their grace does."""
    release.cancel_all()
    release.upgrade(values(costs=True, pool=PATIENT), timeout="6m")
    release.wait_workers(PODS, seconds=300)
    jobs = release.sleep(JOB_SECONDS, count=PODS - IDLE)
    release.wait_running(PODS - IDLE)
    few = f'{{"spec": {{"minReplicaCount": {FEW}, "maxReplicaCount": {FEW}}}}}'
    release.kubectl("patch", "scaledobject", f"{release.name}-worker-default", "--type=merge", f"--patch={few}")
    wait_until(lambda: len(release.pods("worker")) == FEW, seconds=120, what=f"all but {FEW} pods must go")
    still_running = len(release.running())
    release.wait_done(jobs)
    attempts = release.attempts(jobs)
    assert [[one.ending for one in of_job] for of_job in attempts] == [[Ending.SUCCEEDED]] * len(jobs)
    assert still_running > FEW
    figure(
        f"a scale-in from {PODS} to {FEW} with {len(jobs)} busy: jobs on pods that must go", f"{still_running - FEW}"
    )
    figure("running jobs interrupted by that", f"0 of {len(jobs)}")


def scale_in_again_and_again(release: Release, rounds: int) -> Taken:
    """Each time five jobs of twenty end, drawn by lot, so that it is no question of age which pods are idle."""
    lots = random.Random(1)
    taken = Taken()
    for _ in range(rounds):
        release.sleep(3600, count=PODS - len(release.running()), steps=360)
        jobs = wait_until(lambda: settled(release, PODS), seconds=300, what=f"{PODS} pods run a job each")
        ended = lots.sample(sorted(jobs), IDLE)
        idle = {jobs[job] for job in ended}
        for job in ended:
            release.api.cancel(job)
        left = wait_until(lambda: settled(release, PODS - IDLE), seconds=180, what=f"{IDLE} pods were taken")
        gone = set(jobs.values()) - set(left.values())
        taken.idle += len(gone & idle)
        taken.busy += len(gone - idle)
    return taken


def settled(release: Release, count: int) -> dict[UUID, str] | None:
    """The pod of each running job, once so many pods run one each and no other pods are there.

    Those on their way out count as well: for the second until its kubelet tells it to stop, a pod that was taken may
    claim a job, and hand it over. That is no running job that the scale-in interrupted.
    """
    running = release.running()
    workers = objects("pods", release.namespace, instance=release.name, component="worker")
    pods = sorted(pod.name for pod in workers if pod.status.phase != "Failed")  # as one that its node had no room for
    if not len(running) == len(pods) == count:
        return None
    found = {job.id: release.worker_of(job.id) for job in running}
    return found if sorted(found.values()) == pods else None


def count_interrupted(release: Release) -> int:
    """Attempts of all jobs that were handed over."""
    return sum(
        attempt.ending == Ending.HANDED_OVER for job in release.api.list() for attempt in release.api.attempts(job.id)
    )
