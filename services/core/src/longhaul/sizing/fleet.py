"""How many pods and nodes: as the guide counts them, as they pack onto nodes, and as the load really needs them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Final

from longhaul.sizing import footprint, queueing
from longhaul.sizing.assumptions import Assumptions
from longhaul.sizing.packing import Pods, Room, nodes_for

LIMIT_FACTOR: Final = 2
"""What a pod may take, for what it requests: the guide's."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Pods and nodes at the peak. CPU in vCPU, memory in GiB."""

    api_min_replicas: int
    api_max_replicas: int
    worker_max_replicas: int
    tasks_per_worker: int
    worker_cpu: float
    worker_memory_gib: float
    peak_cpu: float
    """What all pods request."""
    peak_memory_gib: float
    workers_per_node: int
    nodes: int
    nodes_max: int
    """For the node autoscaler."""
    oversubscription: float
    """CPU that a busy pod's tasks want, for each that it requests: above 1 they share, or go slower."""

    @property
    def keda_target(self) -> int:
        """Jobs for each pod: as many as it has slots. Less would keep idle pods, more would take busy ones away."""
        return self.tasks_per_worker

    @property
    def slots(self) -> int:
        return self.worker_max_replicas * self.tasks_per_worker


def by_guide(assumptions: Assumptions) -> Fleet:
    """The guide's arithmetic: CPU and memory of all pods, divided by a node's."""
    rate = assumptions.request_rate_per_second / assumptions.api_requests_per_second_per_pod
    return _divided(
        assumptions,
        api_min_replicas=assumptions.api_min_replicas,
        api_max_replicas=max(assumptions.api_min_replicas, round_up(rate * assumptions.api_headroom)),
        workers=round_up(assumptions.offered / assumptions.tasks_per_worker),
        slots=assumptions.tasks_per_worker,
        size=(assumptions.worker_cpu, assumptions.worker_memory_gib),
    )


def packed(assumptions: Assumptions, fleet: Fleet) -> Fleet:
    """The same pods on the nodes that they need as whole pods, beside each node's DaemonSets."""
    pods = [
        Pods(fleet.worker_max_replicas, Room.of(fleet.worker_cpu, fleet.worker_memory_gib)),
        Pods(fleet.api_max_replicas, Room.of(assumptions.api_cpu, assumptions.api_memory_gib)),
    ]
    nodes = max(assumptions.node_min, nodes_for(pods, node(assumptions), daemons=daemons(assumptions)))
    return replace(fleet, nodes=nodes, nodes_max=round_up(nodes * assumptions.node_headroom))


def needed(assumptions: Assumptions) -> Fleet:
    """Slots for the wait target, CPU for each task, an API that loses a zone at its peak, and whole pods on nodes."""
    slots = dense_slots(assumptions)
    api_max = api_replicas_at_peak(assumptions)
    if assumptions.zones > 1:
        api_max = ceil(api_max / (assumptions.zones - 1)) * assumptions.zones
    divided = _divided(
        assumptions,
        api_min_replicas=max(assumptions.api_min_replicas, assumptions.zones),
        api_max_replicas=api_max,
        workers=round_up(slots_for_target(assumptions) / slots),
        slots=slots,
        size=worker_size(assumptions, slots),
    )
    return packed(assumptions, divided)


def slots_for_target(assumptions: Assumptions) -> int:
    """The fewest slots that keep the wait target at the peak: M/G/c."""
    return queueing.slots_for_wait(
        assumptions.wait_target_seconds,
        1 - assumptions.wait_target_share,
        assumptions.arrivals_per_second,
        assumptions.task_seconds,
        service_cv=assumptions.task_seconds_cv,
    )


def api_replicas_at_peak(assumptions: Assumptions) -> int:
    """Where the HPA holds the API's CPU at its target, and so all zones must be there."""
    per_pod = assumptions.api_requests_per_second_per_pod * assumptions.api_cpu_target
    return max(assumptions.api_min_replicas, round_up(assumptions.request_rate_per_second / per_pod))


def dense_slots(assumptions: Assumptions) -> int:
    """Slots of a pod, up to `tasks_per_worker`, with which a node holds most tasks; of equal ones the most: fewer pods."""
    room = _free(assumptions)
    sizes = range(1, assumptions.tasks_per_worker + 1)
    return max(sizes, key=lambda slots: (slots * room.fits(Room.of(*worker_size(assumptions, slots))), slots))


def worker_size(assumptions: Assumptions, slots: int) -> tuple[float, float]:
    """vCPU and GiB of a pod whose tasks share nothing, with Longhaul's own processes beside them."""
    return slots * assumptions.task_cpu, slots * assumptions.task_memory_gib + footprint.WORKER_MEMORY_GIB


def round_up(value: float) -> int:
    """As `ceil`, but 0.1 + 0.2 is 0.3: what differs from a whole number in the tenth digit is one."""
    return ceil(round(value, 9))


def _divided(
    assumptions: Assumptions,
    *,
    api_min_replicas: int,
    api_max_replicas: int,
    workers: int,
    slots: int,
    size: tuple[float, float],
) -> Fleet:
    """What follows from the pods, `slots` and `size` being a worker's: nodes by division."""
    worker_cpu, worker_memory_gib = size
    cpu = api_max_replicas * assumptions.api_cpu + workers * worker_cpu
    memory = api_max_replicas * assumptions.api_memory_gib + workers * worker_memory_gib
    nodes = max(
        assumptions.node_min, round_up(cpu / assumptions.node_cpu), round_up(memory / assumptions.node_memory_gib)
    )
    return Fleet(
        api_min_replicas=api_min_replicas,
        api_max_replicas=api_max_replicas,
        worker_max_replicas=workers,
        tasks_per_worker=slots,
        worker_cpu=worker_cpu,
        worker_memory_gib=worker_memory_gib,
        peak_cpu=cpu,
        peak_memory_gib=memory,
        workers_per_node=_free(assumptions).fits(Room.of(*size)),
        nodes=nodes,
        nodes_max=round_up(nodes * assumptions.node_headroom),
        oversubscription=slots * assumptions.task_cpu / worker_cpu,
    )


def node(assumptions: Assumptions) -> Room:
    """What pods may request of a node, DaemonSets included."""
    return Room.of(assumptions.node_cpu, assumptions.node_memory_gib)


def daemons(assumptions: Assumptions) -> Room:
    """What DaemonSets request on each node."""
    return Room.of(assumptions.node_daemons_cpu, assumptions.node_daemons_memory_gib)


def _free(assumptions: Assumptions) -> Room:
    return node(assumptions).less(daemons(assumptions))
