"""The node autoscaler: orders nodes for pods without room, and takes those away that nobody has needed for long."""

from __future__ import annotations

from typing import Protocol

from longhaul_cli.simulator.cluster import Cluster
from longhaul_cli.simulator.nodes import Node, Nodes, nodes_to_add, unneeded
from longhaul_cli.simulator.pods import Phase, WorkerPod

_EMPTY_AT_ONCE = 10
"""`max-empty-bulk-delete`. Of nodes with pods one goes at a time."""


class Platform(Protocol):
    """What the autoscaler asks of the cluster around it."""

    now: float

    def order_node(self) -> None:
        """A node that will be ready in `node_start_seconds`."""

    def empty_node(self, node: Node) -> None:
        """Evict what lies on a node, and take it away."""


class NodeAutoscaler:
    """Looks once in `node_scan_seconds`."""

    def __init__(self, cluster: Cluster, nodes: Nodes, platform: Platform) -> None:
        self._cluster = cluster
        self._nodes = nodes
        self._platform = platform
        self._added_at = float("-inf")

    def scan(self) -> None:
        """Look once."""
        now, nodes = self._platform.now, self._nodes
        if nodes.pending:
            coming = [node.free for node in nodes.all if node.ready_at > now]
            wanted = nodes_to_add([pod.room for pod in nodes.pending], coming, nodes.empty)
            for _ in range(min(wanted, self._cluster.max_nodes - len(nodes.all))):
                self._platform.order_node()
                self._added_at = now
        if len(nodes.all) > self._cluster.min_nodes:
            self._shrink(now)

    def _shrink(self, now: float) -> None:
        ready = [node for node in self._nodes.all if node.ready_at <= now and not node.is_leaving]
        holds = {node for node in ready if any(_holds_node(pod) for pod in node.pods if isinstance(pod, WorkerPod))}
        found = unneeded(ready, threshold=self._cluster.node_utilization_threshold, holds=holds)
        for node in ready:
            if node not in found:
                node.unneeded_since = None
            elif node.unneeded_since is None:
                node.unneeded_since = now
        if self._nodes.pending or now - self._added_at < self._cluster.node_delay_after_add_seconds:
            return
        ripe = [
            node
            for node in found
            if node.unneeded_since is not None and now - node.unneeded_since >= self._cluster.node_unneeded_seconds
        ]
        staying = sum(not node.is_leaving for node in self._nodes.all)
        spare = max(0, staying - self._cluster.min_nodes)
        if empty := [node for node in ripe if not node.pods][: min(spare, _EMPTY_AT_ONCE)]:
            for node in empty:
                self._platform.empty_node(node)
        elif ripe and spare and not any(node.is_leaving for node in self._nodes.all):
            self._platform.empty_node(ripe[0])


def _holds_node(pod: WorkerPod) -> bool:
    """The annotation stays while the job runs, on a pod that is going too."""
    return pod.fleet.pool.has_deletion_costs and pod.phase in (Phase.READY, Phase.GOING) and pod.holds_node
