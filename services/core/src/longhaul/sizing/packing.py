"""How many nodes whole pods need: a pod lies on one node, and a node's DaemonSets take their share of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor


@dataclass(frozen=True, slots=True)
class Room:
    """CPU and memory, of a pod or of a node. Whole millicores and MiB, as Kubernetes counts: sums are exact."""

    millicores: int
    mib: int

    @classmethod
    def of(cls, cpu: float, memory_gib: float) -> Room:
        """From vCPU and GiB, rounded."""
        return cls(floor(cpu * 1000 + 0.5), floor(memory_gib * 1024 + 0.5))

    @property
    def cpu(self) -> str:
        """As Kubernetes writes it: `250m`."""
        return f"{self.millicores}m"

    @property
    def memory(self) -> str:
        """As Kubernetes writes it: `256Mi`, or `1Gi` where it is whole."""
        return f"{self.mib}Mi" if self.mib % 1024 else f"{self.mib // 1024}Gi"

    def times(self, factor: int) -> Room:
        return Room(self.millicores * factor, self.mib * factor)

    def holds(self, other: Room) -> bool:
        """Whether the other fits in here."""
        return self.millicores >= other.millicores and self.mib >= other.mib

    def fits(self, other: Room) -> int:
        """How many of the other fit in here."""
        return max(0, min(self.millicores // max(1, other.millicores), self.mib // max(1, other.mib)))

    def less(self, other: Room, count: int = 1) -> Room:
        return Room(self.millicores - count * other.millicores, self.mib - count * other.mib)


@dataclass(frozen=True, slots=True)
class Pods:
    """So many pods of one size."""

    count: int
    size: Room


def nodes_for(pods: Sequence[Pods], node: Room, *, daemons: Room) -> int:
    """The nodes that hold all pods, placed first-fit in the given order: the largest pods belong first.

    A scheduler that spreads pods may leave gaps that this one fills. Raises ValueError for a pod that fits no node.
    """
    empty, free = node.less(daemons), list[Room]()
    for kind in pods:
        per_node, left = empty.fits(kind.size), kind.count
        if left and not per_node:
            raise ValueError(f"a pod of {kind.size} fits no node of {empty}")
        for index, room in enumerate(free):
            placed = min(left, room.fits(kind.size))
            free[index], left = room.less(kind.size, placed), left - placed
        while left:
            placed = min(left, per_node)
            free.append(empty.less(kind.size, placed))
            left -= placed
    return len(free)
