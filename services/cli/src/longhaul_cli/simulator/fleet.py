"""A pool's pods while the simulation runs, and what scales them: an HPA and KEDA, KEDA's jobs, or nothing."""

from __future__ import annotations

from math import ceil
from random import Random
from typing import Protocol

from longhaul_cli.simulator.hpa import Hpa
from longhaul_cli.simulator.pods import Phase, WorkerPod, pods_to_delete
from longhaul_cli.simulator.pools import Mode, Pool


class Platform(Protocol):
    """What a fleet asks of the cluster around it."""

    now: float
    rng: Random

    def create(self, pod: WorkerPod) -> None:
        """Let a new pod wait for a node."""

    def terminate(self, pod: WorkerPod, *, within_seconds: float) -> None:
        """Send SIGTERM, and SIGKILL after that."""

    def waiting(self, pool: Pool) -> int:
        """How many due jobs wait in the queues of a pool."""


class Fleet:
    """The pods of one pool."""

    def __init__(self, pool: Pool, platform: Platform) -> None:
        self.pool = pool
        self.platform = platform
        self.desired = pool.min_replicas
        """The Deployment's `spec.replicas`."""
        self.pods: dict[WorkerPod, None] = {}
        """All that are not gone, oldest first."""
        self.free: list[WorkerPod] = []
        """Ready pods with a free slot."""
        self.running = 0
        """Jobs on pods that are not going."""
        self.running_in_all = 0
        self.counts = [0] * len(Phase)
        self.pod_seconds = 0.0
        """On a node, of the pods that have gone."""
        self._active_at = 0.0
        self._made = 0
        self._hpa = Hpa(
            min_replicas=max(1, pool.min_replicas),
            max_replicas=pool.max_replicas,
            target=pool.target,
            up=pool.up,
            down=pool.down,
        )

    @property
    def demand(self) -> int:
        """What KEDA's formula gives: waiting + running."""
        return self.platform.waiting(self.pool) + self.running

    @property
    def active(self) -> list[WorkerPod]:
        """The pods that a ReplicaSet counts: those that are not going."""
        return [pod for pod in self.pods if pod.phase < Phase.GOING]

    @property
    def active_count(self) -> int:
        return self.counts[Phase.PENDING] + self.counts[Phase.STARTING] + self.counts[Phase.READY]

    def enter(self, pod: WorkerPod, phase: Phase) -> None:
        """Note that a pod is in another phase now."""
        self.counts[pod.phase] -= 1
        self.counts[phase] += 1
        pod.phase = phase
        if phase is Phase.GONE:
            del self.pods[pod]

    def offer(self, pod: WorkerPod) -> None:
        """A slot of a ready pod is free."""
        if pod.free_index < 0:
            pod.free_index = len(self.free)
            self.free.append(pod)

    def withdraw(self, pod: WorkerPod) -> None:
        """A pod has no free slot any more, or takes nothing new."""
        if pod.free_index >= 0:
            last = self.free.pop()
            if last is not pod:
                self.free[pod.free_index] = last
                last.free_index = pod.free_index
            pod.free_index = -1

    def has_slot(self, pod: WorkerPod) -> bool:
        """Whether a pod may begin another job now."""
        if self.pool.mode is Mode.JOB:
            return not pod.taken
        return len(pod.attempts) < self.pool.slots

    def settle(self) -> None:
        """What the Deployment does: as many pods as are desired."""
        if self.pool.mode is Mode.JOB:
            return
        surplus = self.active_count - self.desired
        if surplus > 0:
            chosen = pods_to_delete(self.active, surplus, self.platform.now, self.platform.rng)
            for pod in chosen:
                self.platform.terminate(pod, within_seconds=self.pool.grace_seconds)
        elif surplus < 0:
            self.grow(-surplus)

    def grow(self, count: int) -> None:
        """Make so many pods."""
        for _ in range(count):
            pod = WorkerPod(self, self._made)
            self._made += 1
            self.pods[pod] = None
            self.counts[Phase.PENDING] += 1
            self.platform.create(pod)

    def sync(self) -> None:
        """The HPA looks."""
        self.desired = self._hpa.sync(
            self.platform.now, self.demand, spec_replicas=self.desired, status_replicas=self.active_count
        )
        self.settle()

    def poll(self) -> None:
        """KEDA looks: from zero, to zero, or how many Jobs to make."""
        demand = self.demand
        now = self.platform.now
        if self.pool.mode is Mode.JOB:
            self._make_jobs()
            return
        if demand:
            self._active_at = now
            if not self.desired:
                self.desired = max(1, self.pool.min_replicas)
                self.settle()
        elif self.desired and not self.pool.min_replicas and now - self._active_at > self.pool.cooldown_seconds:
            self.desired = 0
            self.settle()

    def _make_jobs(self) -> None:
        """KEDA's `accurate` strategy; a pod that is not ready yet counts as pending. A minimum is kept idle."""
        jobs = len(self.pods)
        pending = self.counts[Phase.PENDING] + self.counts[Phase.STARTING]
        wanted = min(ceil(self.platform.waiting(self.pool) / self.pool.target), self.pool.max_replicas)
        room = self.pool.max_replicas - jobs
        new = max(room if wanted > room else wanted - pending, self.pool.min_replicas - jobs, 0)
        self.desired = jobs + new
        self.grow(new)
