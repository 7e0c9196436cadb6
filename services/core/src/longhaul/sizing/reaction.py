"""How long a scaler takes from a burst to the pods that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

from longhaul.sizing.assumptions import Assumptions

HPA_SYNC_SECONDS: Final = 15.0
"""Between two looks of the HPA: the control plane's default, which AKS has."""
SCALE_UP_PERCENT, SCALE_UP_PODS = 900, 100
"""In each sync: the chart's `scaleUp`."""
DEFAULT_PERCENT, DEFAULT_PODS = 100, 4
"""In each sync: the HPA's own policies, where nothing is said."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """Seconds from a burst to its last pod's readiness, at the worst, and what they are made of."""

    sync_seconds: float
    steps: int
    """Syncs until all pods are ordered; the first of them is `sync_seconds`."""
    node_start_seconds: float
    pod_start_seconds: float

    @property
    def seconds(self) -> float:
        ordered = self.sync_seconds + (self.steps - 1) * HPA_SYNC_SECONDS
        return ordered + self.node_start_seconds + self.pod_start_seconds


def reaction(assumptions: Assumptions, *, before: int, after: int, nodes_are_there: bool = False) -> Reaction:
    """From so many pods to so many, as the chart scales them."""
    return Reaction(
        sync_seconds=HPA_SYNC_SECONDS,
        steps=steps(before, after),
        node_start_seconds=0.0 if nodes_are_there else assumptions.node_start_seconds,
        pod_start_seconds=assumptions.pod_start_seconds,
    )


def steps(before: int, after: int, *, percent: int = SCALE_UP_PERCENT, pods: int = SCALE_UP_PODS) -> int:
    """Syncs in which the HPA goes from so many pods to so many, each by its most generous policy."""
    count, current = 0, max(1, before)
    while current < after:
        current, count = current + max(pods, ceil(current * percent / 100)), count + 1
    return max(1, count)
