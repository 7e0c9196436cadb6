"""A size: the guide's numbers, the same pods packed, and what is really needed."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

from longhaul.sizing import fleet as fleets
from longhaul.sizing import tiers
from longhaul.sizing.assumptions import Assumptions
from longhaul.sizing.fleet import Fleet
from longhaul.sizing.prices import Cost, Prices, cost
from longhaul.sizing.reaction import Reaction, reaction

GRACE_SECONDS: Final = 60
"""What a pod needs beyond its longest job: the chart's grace period."""


@dataclass(frozen=True, slots=True)
class Sizing:
    """What `longhaul size` answers."""

    assumptions: Assumptions
    guide: Fleet
    packed: Fleet
    """The guide's pods as whole pods on nodes."""
    needed: Fleet
    redis: tiers.Redis
    postgres: tiers.Postgres
    reaction: Reaction
    """From the fewest pods to all of `needed`."""
    cost: Cost | None

    @property
    def max_graceful_termination_seconds(self) -> int:
        """For the cluster autoscaler."""
        return self.assumptions.max_job_seconds + GRACE_SECONDS

    @property
    def drain_timeout_minutes(self) -> int:
        """For node pools' upgrades."""
        return ceil(self.max_graceful_termination_seconds / 60)


def size(assumptions: Assumptions, prices: Prices | None = None) -> Sizing:
    """Raise ConfigurationError where no tier carries the load, or the price of one is missing."""
    guide = fleets.by_guide(assumptions)
    packed = fleets.packed(assumptions, guide)
    needed = fleets.needed(assumptions)
    pods = {"api_pods": needed.api_max_replicas, "worker_pods": needed.worker_max_replicas}
    burst = reaction(assumptions, before=1, after=needed.worker_max_replicas)
    waiting_jobs = assumptions.waiting_jobs
    if waiting_jobs is None:
        waiting_jobs = ceil(assumptions.arrivals_per_second * burst.seconds)
    redis = tiers.redis_for(assumptions, waiting_jobs=waiting_jobs, **pods)
    postgres = tiers.postgres_for(assumptions, **pods)
    return Sizing(
        assumptions=assumptions,
        guide=guide,
        packed=packed,
        needed=needed,
        redis=redis,
        postgres=postgres,
        reaction=burst,
        cost=cost(assumptions, needed, redis, postgres, prices) if prices else None,
    )
