"""What a simulation answers."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from statistics import fmean
from typing import NamedTuple


class PoolSample(NamedTuple):
    """A pool at one time. `desired` counts no pods that are going; the others are pods that are there."""

    desired: int
    ready: int
    pending: int
    """Not ready yet: without a node, or starting."""
    going: int
    running: int
    """Jobs, those on pods that are going too."""


class Sample(NamedTuple):
    """The cluster at one time."""

    at_seconds: float
    pools: Mapping[str, PoolSample]
    nodes: int
    """Ready, those too that are being emptied."""
    nodes_starting: int
    waiting: int
    """Due jobs that no pod runs."""
    running: int


@dataclass(frozen=True, kw_only=True)
class PoolOutcome:
    """What one pool came to."""

    pod_hours: float
    """Of pods on a node, from their place to their end."""
    busy_hours: float
    """Of slots that ran a job."""
    slot_hours: float
    max_replicas: int
    """Ready at once."""

    @property
    def utilization(self) -> float:
        """The share of the slots that ran a job."""
        return self.busy_hours / self.slot_hours if self.slot_hours else 0.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was simulated, summed up. Times are seconds, unless they say hours."""

    seconds: float
    """How long it took in the simulation, to its last job at least."""
    waits: Mapping[str, array[float]]
    """By queue: from being due to the first start, of each job that started, in the order of their starts."""
    jobs: int
    """That came."""
    done: int
    interrupted: int
    """Attempts that ended because their pod had to go: handed over, killed or cut."""
    handed_over: int
    """Of these: with a checkpoint saved at once, so that nothing was lost."""
    lost_seconds: float
    """Work that had to be done again."""
    pools: Mapping[str, PoolOutcome]
    node_hours: float
    """From the order of each node to its end."""
    max_nodes: int
    """Ready at once."""
    node_hour_price: float
    currency: str
    samples: tuple[Sample, ...] = field(repr=False)

    @property
    def unfinished(self) -> int:
        """Jobs that never ended: no pod could ever run them."""
        return self.jobs - self.done

    @property
    def all_waits(self) -> array[float]:
        return array("d", (wait for waits in self.waits.values() for wait in waits))

    @property
    def pod_hours(self) -> float:
        return sum(pool.pod_hours for pool in self.pools.values())

    @property
    def cost(self) -> float:
        return self.node_hours * self.node_hour_price

    @property
    def utilization(self) -> float:
        """The share of all slots that ran a job."""
        slots = sum(pool.slot_hours for pool in self.pools.values())
        return sum(pool.busy_hours for pool in self.pools.values()) / slots if slots else 0.0

    @property
    def max_replicas(self) -> int:
        """Ready at once, of all pools; each at its own time."""
        return sum(pool.max_replicas for pool in self.pools.values())


@dataclass(frozen=True, kw_only=True)
class Waits:
    """Waits, summed up."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    max: float
    share_over_target: float

    @classmethod
    def of(cls, waits: Iterable[float], target_seconds: float) -> Waits:
        """All zero where there are none."""
        ordered = sorted(waits)
        if not ordered:
            return cls(count=0, mean=0.0, p50=0.0, p95=0.0, p99=0.0, max=0.0, share_over_target=0.0)
        return cls(
            count=len(ordered),
            mean=fmean(ordered),
            p50=quantile(ordered, 0.5),
            p95=quantile(ordered, 0.95),
            p99=quantile(ordered, 0.99),
            max=ordered[-1],
            share_over_target=sum(wait > target_seconds for wait in ordered) / len(ordered),
        )


def quantile(ordered: list[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed (the nearest rank)."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)]
