"""Pods and what they run, while the simulation runs."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from math import log2
from random import Random
from typing import TYPE_CHECKING

from longhaul.sizing.packing import Room
from longhaul.states import PRIORITY_STEP_SECONDS
from longhaul_cli.simulator.jobs import Job, Way, kept_seconds

if TYPE_CHECKING:
    from longhaul_cli.simulator.fleet import Fleet
    from longhaul_cli.simulator.nodes import Node

UNINTERRUPTIBLE = 1_000_000
"""As the controller writes it: more than any work that can be handed over."""


class Phase(IntEnum):
    """In the order in which a ReplicaSet takes pods away."""

    PENDING = 0
    """No node has room for it."""
    STARTING = 1
    READY = 2
    GOING = 3
    """Got SIGTERM; takes nothing new."""
    GONE = 4


class Pod:
    """Anything that lies on a node."""

    __slots__ = ("gives_way", "node", "number", "room")

    def __init__(self, room: Room, number: int, *, gives_way: bool = False) -> None:
        self.room = room
        self.number = number
        self.gives_way = gives_way
        """Of the lowest priority: others take its place."""
        self.node: Node | None = None


class Work:
    """A job, with what was done of it so far."""

    __slots__ = ("done_seconds", "has_started", "job", "number", "rank")

    def __init__(self, job: Job, number: int) -> None:
        self.job = job
        self.number = number
        # The ledger's `rank_at`: an interruption keeps it.
        self.rank = job.due_seconds - job.priority * PRIORITY_STEP_SECONDS
        self.done_seconds = 0.0
        self.has_started = False


class Attempt:
    """Work on a slot of a pod."""

    __slots__ = ("ends_at", "kept_seconds", "pod", "started_at", "way", "work")

    def __init__(self, work: Work, pod: WorkerPod, started_at: float) -> None:
        self.work = work
        self.pod = pod
        self.started_at = started_at
        self.ends_at = started_at + max(0.0, work.job.run_seconds - work.done_seconds)
        self.way = Way.FINISHED
        self.kept_seconds = self.ends_at - started_at

    def lost_seconds(self, now: float) -> float:
        """What would be lost if its pod vanished now."""
        worked = now - self.started_at
        return worked - kept_seconds(worked, self.work.job.checkpoint_seconds)


class WorkerPod(Pod):
    """A pod of a pool."""

    __slots__ = ("attempts", "fleet", "free_index", "killed_at", "phase", "placed_at", "ready_at", "taken")

    def __init__(self, fleet: Fleet, number: int) -> None:
        super().__init__(fleet.pool.room, number)
        self.fleet = fleet
        self.phase = Phase.PENDING
        self.placed_at = 0.0
        self.ready_at = 0.0
        self.attempts: list[Attempt] = []
        self.free_index = -1
        """Its place in the fleet's list of pods with a free slot; -1 where it is not there."""
        self.taken = 0
        """Jobs that it began."""
        self.killed_at = float("inf")

    def deletion_cost(self, now: float) -> float:
        """What the controller writes on it: 0 while it is idle."""
        if not self.attempts:
            return 0.0
        return 1.0 + sum(one.lost_seconds(now) for one in self.attempts) + UNINTERRUPTIBLE * self.holds_node

    @property
    def holds_node(self) -> bool:
        """Whether it runs a job that can't hand over: `safe-to-evict: "false"`."""
        return any(one.work.job.checkpoint_seconds is None for one in self.attempts)


def pods_to_delete(pods: Sequence[WorkerPod], count: int, now: float, rng: Random) -> list[WorkerPod]:
    """The pods that a ReplicaSet takes to have `count` fewer, as `ActivePodsWithRanks` of Kubernetes orders them.

    Without a node first, then those not ready, by deletion cost, from the nodes that hold most of them, the youngest
    (by powers of two of their age in nanoseconds), and by lots.
    """
    on_node: dict[Node | None, int] = {}
    for pod in pods:
        on_node[pod.node] = on_node.get(pod.node, 0) + 1

    def order(pod: WorkerPod) -> tuple[float, ...]:
        cost = pod.deletion_cost(now) if pod.fleet.pool.has_deletion_costs else 0.0
        age = now - pod.ready_at if pod.phase is Phase.READY else 0.0
        return (pod.phase, cost, -on_node[pod.node], int(log2(age * 1e9)) if age > 1e-9 else -1, rng.random())

    return sorted(pods, key=order)[:count]
