"""The HorizontalPodAutoscaler, as Kubernetes computes it: how many replicas an external metric asks for.

Follows `pkg/controller/podautoscaler` of Kubernetes 1.33 function by function: `GetExternalPerPodMetricReplicas`,
`stabilizeRecommendationWithBehaviors`, `convertDesiredReplicasWithBehaviorRate`, and the two limits by policies. Times
are seconds of any one clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil, inf
from typing import NamedTuple

TOLERANCE = 0.1
"""`--horizontal-pod-autoscaler-tolerance`."""


class PolicyType(StrEnum):
    PERCENT = "Percent"
    PODS = "Pods"


class Select(StrEnum):
    """Which of several policies counts."""

    MAX = "Max"
    """The one that changes most."""
    MIN = "Min"
    DISABLED = "Disabled"


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How much may change within a period."""

    type: PolicyType
    value: int
    period_seconds: float


@dataclass(frozen=True, kw_only=True)
class Rules:
    """One direction of an HPA's `behavior`."""

    policies: Sequence[Policy]
    stabilization_seconds: float
    select: Select = Select.MAX
    tolerance: float = TOLERANCE


# What Kubernetes takes where `behavior` says nothing.
DEFAULT_UP = Rules(
    policies=(
        Policy(type=PolicyType.PODS, value=4, period_seconds=15),
        Policy(type=PolicyType.PERCENT, value=100, period_seconds=15),
    ),
    stabilization_seconds=0,
)
DEFAULT_DOWN = Rules(
    policies=(Policy(type=PolicyType.PERCENT, value=100, period_seconds=15),), stabilization_seconds=300
)


class Recommendation(NamedTuple):
    at: float
    replicas: int


class Change(NamedTuple):
    """A scale event: replicas added or taken, as a positive number."""

    at: float
    replicas: int


def wanted_replicas(total: float, target: float, status_replicas: int, *, up: float, down: float) -> int:
    """What an `AverageValue` of `target` asks for: the pods as they are while the average is within the tolerances.

    `status_replicas` counts no pod that is terminating.
    """
    usage_ratio = total / (target * status_replicas) if status_replicas else inf
    if 1.0 - down <= usage_ratio <= 1.0 + up:
        return status_replicas
    return ceil(total / target)


def up_limit(replicas: int, added: Sequence[Change], taken: Sequence[Change], rules: Rules, now: float) -> int:
    """The most replicas that the policies allow now."""
    if rules.select is Select.DISABLED:
        return replicas
    proposals = []
    for policy in rules.policies:
        at_start = _at_period_start(replicas, added, taken, policy, now)
        if policy.type is PolicyType.PODS:
            proposals.append(at_start + policy.value)
        else:  # rounded up: one replica could else never become two
            proposals.append(ceil(at_start * (1 + policy.value / 100)))
    return min(proposals) if rules.select is Select.MIN else max(proposals)


def down_limit(replicas: int, added: Sequence[Change], taken: Sequence[Change], rules: Rules, now: float) -> int:
    """The fewest replicas that the policies allow now."""
    if rules.select is Select.DISABLED:
        return replicas
    proposals = []
    for policy in rules.policies:
        at_start = _at_period_start(replicas, added, taken, policy, now)
        if policy.type is PolicyType.PODS:
            proposals.append(at_start - policy.value)
        else:
            proposals.append(int(at_start * (1 - policy.value / 100)))
    return max(proposals) if rules.select is Select.MIN else min(proposals)


def _at_period_start(
    replicas: int, added: Sequence[Change], taken: Sequence[Change], policy: Policy, now: float
) -> int:
    since = now - policy.period_seconds
    return (
        replicas
        - sum(change.replicas for change in added if change.at > since)
        + sum(change.replicas for change in taken if change.at > since)
    )


@dataclass(kw_only=True)
class Hpa:
    """One HPA with its memory: past recommendations, and what it changed."""

    min_replicas: int
    """At least 1: KEDA alone goes to zero."""
    max_replicas: int
    target: float
    up: Rules = DEFAULT_UP
    down: Rules = DEFAULT_DOWN
    recommendations: list[Recommendation] = field(default_factory=list)
    added: list[Change] = field(default_factory=list)
    taken: list[Change] = field(default_factory=list)

    def sync(self, now: float, total: float, *, spec_replicas: int, status_replicas: int) -> int:
        """The replicas to set now, for a metric of `total`. An HPA leaves a workload at zero alone."""
        if not self.recommendations:
            self.recommendations.append(Recommendation(now, spec_replicas))
        if spec_replicas == 0:
            return 0
        if spec_replicas > self.max_replicas:
            replicas = self.max_replicas
        elif spec_replicas < self.min_replicas:
            replicas = self.min_replicas
        else:
            wanted = wanted_replicas(
                total, self.target, status_replicas, up=self.up.tolerance, down=self.down.tolerance
            )
            replicas = self.limit(now, self.stabilize(now, wanted, spec_replicas), spec_replicas)
        self._remember_change(now, spec_replicas, replicas)
        return replicas

    def stabilize(self, now: float, wanted: int, replicas: int) -> int:
        """Not above the least that was wanted in the window for up, nor below the most in that for down."""
        up_since, down_since = now - self.up.stabilization_seconds, now - self.down.stabilization_seconds
        lowest = highest = wanted
        old: int | None = None
        for index, past in enumerate(self.recommendations):
            if past.at > up_since:
                lowest = min(past.replicas, lowest)
            if past.at > down_since:
                highest = max(past.replicas, highest)
            if past.at < up_since and past.at < down_since:
                old = index
        if old is None:
            self.recommendations.append(Recommendation(now, wanted))
        else:
            self.recommendations[old] = Recommendation(now, wanted)
        return min(max(replicas, lowest), highest)

    def limit(self, now: float, wanted: int, replicas: int) -> int:
        """As far towards what is wanted as the policies, the minimum and the maximum let it go."""
        if wanted > replicas:
            allowed = max(replicas, up_limit(replicas, self.added, self.taken, self.up, now))
            return min(wanted, allowed, self.max_replicas)
        if wanted < replicas:
            allowed = min(replicas, down_limit(replicas, self.added, self.taken, self.down, now))
            return max(wanted, allowed, self.min_replicas)
        return wanted

    def _remember_change(self, now: float, before: int, after: int) -> None:
        if after > before:
            self.added = [*_recent(self.added, self.up, now), Change(now, after - before)]
        elif after < before:
            self.taken = [*_recent(self.taken, self.down, now), Change(now, before - after)]


def _recent(changes: Sequence[Change], rules: Rules, now: float) -> list[Change]:
    longest = max((policy.period_seconds for policy in rules.policies), default=0.0)
    return [change for change in changes if change.at >= now - longest]
