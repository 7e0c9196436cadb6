"""Deletion costs: what would be lost with each worker's pod, written on it, so that a scale-in takes idle pods first.

Only a preference. What a pod runs when it is taken nevertheless ends within its grace, or is handed over.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from longhaul.ledger import workers
from longhaul.ledger.workers import Work
from longhaul_controller import metrics
from longhaul_controller.duty import Duty
from longhaul_controller.failures import FailureLog
from longhaul_controller.pod_objects import Pod
from longhaul_controller.pods import UNREACHABLE, KubernetesError, Pods
from longhaul_controller.ports import AcquireConnection
from longhaul_controller.settings import ControllerSettings

COST = "controller.kubernetes.io/pod-deletion-cost"
SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
LEVELS_SECONDS = (0, 15, 60, 240, 960, 3840, 15360, 61440)
"""Costs are rounded down to these: work that goes on changes its pod a few times an hour, not each second."""
_KEPT_LEVELS = 2
UNINTERRUPTIBLE = 1_000_000
"""More than any interruptible work: what can't be handed over is lost as a whole."""


@dataclass(frozen=True, kw_only=True)
class Patch:
    """Annotations of a pod to write; None removes one."""

    pod: str
    annotations: Mapping[str, str | None]


def plan(work: Iterable[Work], pods: Iterable[Pod]) -> list[Patch]:
    """What must be written on which pods, the most urgent first.

    A pod that became busy comes first: until that is written a scale-in may take it for idle. Then those that became
    idle, then other changes; the dearest of each first.
    """
    by_worker = {one.worker: one for one in work}
    found = []
    for pod in pods:
        present = _parse(pod.annotations.get(COST))
        cost = _cost(by_worker.get(pod.name), present)
        changes: dict[str, str | None] = {}
        if cost != present:
            changes[COST] = str(cost) if cost else None
        if cost >= UNINTERRUPTIBLE and pod.annotations.get(SAFE_TO_EVICT) != "false":
            changes[SAFE_TO_EVICT] = "false"
        elif cost < UNINTERRUPTIBLE <= present:  # written here, not by the pod's owner
            changes[SAFE_TO_EVICT] = None
        if changes:
            urgency = 0 if not present else 1 if not cost else 2
            found.append((urgency, -cost, pod.name, changes))
    return [Patch(pod=name, annotations=changes) for _, _, name, changes in sorted(found, key=lambda one: one[:3])]


def _cost(work: Work | None, present: int) -> int:
    """0 for an idle pod, and more than that for a busy one.

    A cost falls only by three levels at once: a job that checkpoints every few minutes would otherwise change it as
    often.
    """
    if work is None:
        return 0
    level = bisect_right(LEVELS_SECONDS, work.lost_seconds) - 1
    before = bisect_right(LEVELS_SECONDS, present % UNINTERRUPTIBLE - 1) - 1
    if before - _KEPT_LEVELS <= level < before:
        level = before
    return 1 + LEVELS_SECONDS[level] + (0 if work.is_interruptible else UNINTERRUPTIBLE)


def _parse(cost: str | None) -> int:
    try:
        return int(cost or 0)
    except ValueError:
        return 0  # as Kubernetes reads it


class DeletionCosts(Duty):
    """Compares the ledger with the pods. A Kubernetes API that is away or refuses disturbs nothing else."""

    name = "deletion_cost"

    def __init__(self, acquire: AcquireConnection, pods: Pods, settings: ControllerSettings) -> None:
        self.interval_seconds = settings.deletion_cost_interval_seconds
        self._acquire = acquire
        self._pods = pods
        self._max_patches = max(1, int(settings.deletion_cost_patches_per_second * self.interval_seconds))
        self._failures = FailureLog("deletion_costs_failed", "deletion_costs_recovered")

    async def run(self) -> None:
        """Compare once, and write the most urgent changes; the others wait for the next run. Raises LedgerUnavailable."""
        async with self._acquire() as connection:
            work = await workers.read_work(connection)
        failures = await self._write(work)
        for error in failures:
            metrics.KUBERNETES_FAILURES.labels(error.reason).inc()
        if failures:
            self._failures.failed(failures[0])
        else:
            self._failures.succeeded()

    async def close(self) -> None:
        await self._pods.close()

    async def _write(self, work: list[Work]) -> list[KubernetesError]:
        """What went wrong. A pod that can't be written does not hold up the others; an API that is away does."""
        failures: list[KubernetesError] = []
        try:
            pods = await self._pods.read()
        except KubernetesError as error:
            return [error]
        _count(work, pods)
        for patch in plan(work, pods)[: self._max_patches]:
            try:
                await self._pods.annotate(patch.pod, patch.annotations)
                metrics.POD_PATCHES.inc()
            except KubernetesError as error:
                failures.append(error)
                if error.reason == UNREACHABLE:
                    break
        return failures


def _count(work: Iterable[Work], pods: Iterable[Pod]) -> None:
    names = {pod.name for pod in pods}
    busy = [one for one in work if one.worker in names]
    interruptible = sum(one.is_interruptible for one in busy)
    metrics.WORKER_PODS.labels("idle").set(len(names) - len(busy))
    metrics.WORKER_PODS.labels("interruptible").set(interruptible)
    metrics.WORKER_PODS.labels("uninterruptible").set(len(busy) - interruptible)
