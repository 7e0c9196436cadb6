"""What is simulated of a cluster: its nodes, what else lies on them, and how long things take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from longhaul.sizing import fleet
from longhaul.sizing.assumptions import PRESETS
from longhaul.sizing.assumptions import parse as parse_assumptions
from longhaul.sizing.lines import AKS_GRACEFUL_TERMINATION_SECONDS
from longhaul.sizing.packing import Pods, Room
from longhaul.sizing.reaction import HPA_SYNC_SECONDS
from longhaul_cli.documents import read_mapping
from longhaul_cli.simulator.description import Described, Mib, Millicores, parse

_GUIDE = parse_assumptions(PRESETS["aks-guide"])


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One pool of equal nodes, and the clocks of the control plane. The defaults are the sizing guide's."""

    node: Room = field(default_factory=lambda: fleet.node(_GUIDE))
    """What pods may request of a node, DaemonSets included."""
    daemons: Room = field(default_factory=lambda: fleet.daemons(_GUIDE))
    """What DaemonSets request on each node."""
    min_nodes: int = _GUIDE.node_min
    max_nodes: int = fleet.by_guide(_GUIDE).nodes_max
    """As many as `min_nodes` where nothing scales them."""
    others: tuple[Pods, ...] = ()
    """Pods that are always there: the API's, the controllers'."""
    headroom: Pods | None = None
    """Pods that do nothing, and give way to all others."""

    pod_start_seconds: float = _GUIDE.pod_start_seconds
    """From a place on a node to readiness: image, start, tasks."""
    pods_created_per_second: float = 20.0
    """`--kube-api-qps` of the controller manager."""
    pods_created_at_once: int = 30
    """`--kube-api-burst`."""
    hpa_sync_seconds: float = HPA_SYNC_SECONDS
    node_start_seconds: float = _GUIDE.node_start_seconds
    """From the autoscaler's decision to a node that is ready."""
    node_scan_seconds: float = 10.0
    node_unneeded_seconds: float = 600.0
    """`scale-down-unneeded-time`."""
    node_delay_after_add_seconds: float = 600.0
    """`scale-down-delay-after-add`."""
    node_utilization_threshold: float = 0.5
    """`scale-down-utilization-threshold`: a node that is fuller stays."""
    max_graceful_termination_seconds: float = AKS_GRACEFUL_TERMINATION_SECONDS
    """For so long the autoscaler waits for the pods of a node that it takes away."""
    lease_seconds: float = 15.0

    node_hour_price: float = 0.0
    currency: str = ""

    @property
    def beside(self) -> list[tuple[Pods, bool]]:
        """The pods that are no workers, each kind with whether it gives way."""
        kinds = [(kind, False) for kind in self.others]
        return [*kinds, (self.headroom, True)] if self.headroom else kinds

    @property
    def empty_node(self) -> Room:
        """What is free on a node that holds DaemonSets only."""
        return self.node.less(self.daemons)


class _Size(Described):
    cpu: Annotated[Millicores, Field(ge=0)]
    memory: Annotated[Mib, Field(ge=0)]

    @property
    def room(self) -> Room:
        return Room(self.cpu, self.memory)


class _Others(_Size):
    count: PositiveInt


class ClusterFile(Described):
    """What `--cluster` says. What it leaves out is the sizing guide's."""

    node: _Size | None = None
    daemons: _Size | None = None
    min_nodes: NonNegativeInt = Cluster.min_nodes
    max_nodes: PositiveInt = Cluster.max_nodes
    pod_start_seconds: NonNegativeFloat = Cluster.pod_start_seconds
    pods_created_per_second: PositiveFloat = Cluster.pods_created_per_second
    pods_created_at_once: PositiveInt = Cluster.pods_created_at_once
    hpa_sync_seconds: PositiveFloat = Cluster.hpa_sync_seconds
    node_start_seconds: NonNegativeFloat = Cluster.node_start_seconds
    node_scan_seconds: PositiveFloat = Cluster.node_scan_seconds
    node_unneeded_seconds: NonNegativeFloat = Cluster.node_unneeded_seconds
    node_delay_after_add_seconds: NonNegativeFloat = Cluster.node_delay_after_add_seconds
    node_utilization_threshold: Annotated[float, Field(ge=0, le=1)] = Cluster.node_utilization_threshold
    max_graceful_termination_seconds: NonNegativeFloat = Cluster.max_graceful_termination_seconds
    node_hour_price: NonNegativeFloat = 0.0
    currency: str = ""
    other_pods: tuple[_Others, ...] = ()
    """Beside the API's and the controllers', which follow from the values."""

    @model_validator(mode="after")
    def _has_nodes(self) -> Self:
        if self.min_nodes > self.max_nodes:
            raise ValueError(f"min_nodes is {self.min_nodes}, more than max_nodes, which is {self.max_nodes}")
        return self

    def cluster(self, beside: Sequence[Pods], *, headroom: Pods | None = None) -> Cluster:
        """The cluster, with these pods and the file's own on it."""
        facts: dict[str, Any] = self.model_dump(exclude={"node", "daemons", "other_pods"})
        facts |= {name: size.room for name, size in (("node", self.node), ("daemons", self.daemons)) if size}
        others = (*beside, *(Pods(one.count, one.room) for one in self.other_pods))
        return Cluster(**facts, others=others, headroom=headroom)


def read_cluster(path: Path | None) -> ClusterFile:
    """A cluster from a YAML file; the sizing guide's without one. Raises ConfigurationError."""
    return parse(ClusterFile, read_mapping(path), source=str(path)) if path else ClusterFile()
