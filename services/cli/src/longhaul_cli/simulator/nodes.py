"""Nodes, what lies on them, and the scheduler."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from longhaul.sizing.packing import Room
from longhaul_cli.simulator.pods import Pod


class Node:
    """One node. `free` counts what pods that are going still hold."""

    __slots__ = ("asked_at", "empty", "free", "is_leaving", "number", "pods", "ready_at", "unneeded_since")

    def __init__(self, number: int, empty: Room, *, asked_at: float, ready_at: float) -> None:
        self.number = number
        self.empty = empty
        self.free = empty
        self.asked_at = asked_at
        self.ready_at = ready_at
        self.pods: dict[Pod, None] = {}
        """In the order in which they came: a set's order would differ from run to run."""
        self.unneeded_since: float | None = None
        self.is_leaving = False
        """Cordoned: it goes once its pods have."""

    @property
    def utilization(self) -> float:
        """The share of its room that is requested: of CPU or of memory, whichever is more."""
        cpu = 1 - self.free.millicores / self.empty.millicores
        memory = 1 - self.free.mib / self.empty.mib
        return max(cpu, memory)


def choose_node(nodes: Iterable[Node], size: Room) -> Node | None:
    """The node with room that would be the least allocated, as the scheduler's LeastAllocated scores; None without."""
    best, best_score = None, -1.0
    for node in nodes:
        free, empty = node.free, node.empty
        if not free.holds(size):
            continue
        score = (free.millicores - size.millicores) / empty.millicores + (free.mib - size.mib) / empty.mib
        if score > best_score:
            best, best_score = node, score
    return best


class Nodes:
    """All nodes, and the pods that wait for room."""

    def __init__(self, empty: Room) -> None:
        self.empty = empty
        self.all: list[Node] = []
        self.pending: dict[Pod, None] = {}
        """In the order in which they came."""
        self.node_seconds = 0.0
        """Of the nodes that have gone."""
        self._made = 0
        self._may_fit = False

    def add(self, now: float, *, ready_at: float) -> Node:
        """A node that was asked for now."""
        node = Node(self._made, self.empty, asked_at=now, ready_at=ready_at)
        self._made += 1
        self.all.append(node)
        return node

    def count_ready(self, now: float) -> int:
        """Those too that are being emptied."""
        return sum(node.ready_at <= now for node in self.all)

    def became_ready(self) -> None:
        """A node is ready: pods that wait may fit now."""
        self._may_fit = True

    def remove(self, node: Node, now: float) -> None:
        """Its pods must have gone."""
        assert not node.pods
        self.all.remove(node)
        self.node_seconds += now - node.asked_at

    def want(self, pod: Pod) -> None:
        """Let a pod wait for a node."""
        self.pending[pod] = None
        self._may_fit = True

    def forget(self, pod: Pod) -> None:
        """A pod that waits for a node is not wanted any more."""
        self.pending.pop(pod, None)

    def release(self, pod: Pod) -> None:
        """A pod has left its node."""
        node = pod.node
        assert node is not None
        del node.pods[pod]
        node.free = node.free.less(pod.room, -1)
        pod.node = None
        self._may_fit = bool(self.pending)

    def schedule(self, now: float) -> list[Pod]:
        """Place the pods that wait, first come first served, where there is room or a pod gives way.

        Returns those that were placed.
        """
        if not self._may_fit:
            return []
        self._may_fit = False
        open_nodes = [node for node in self.all if node.ready_at <= now and not node.is_leaving]
        placed: list[Pod] = []
        too_large = set[tuple[Room, bool]]()
        for pod in sorted(self.pending, key=lambda one: one.gives_way):
            kind = (pod.room, pod.gives_way)
            if kind in too_large:
                continue
            node = choose_node(open_nodes, pod.room)
            if node is None and not pod.gives_way:
                node = self._preempt(open_nodes, pod.room)
            if node is None:
                too_large.add(kind)
                continue
            node.free = node.free.less(pod.room)
            node.pods[pod] = None
            pod.node = node
            del self.pending[pod]
            placed.append(pod)
        return placed

    def _preempt(self, nodes: Sequence[Node], size: Room) -> Node | None:
        """Let pods give way where the fewest must; they wait for a place again. None where that is not enough."""
        best: tuple[int, Node, list[Pod]] | None = None
        for node in nodes:
            free, going = node.free, list[Pod]()
            for pod in sorted((one for one in node.pods if one.gives_way), key=lambda one: one.number):
                if not free.holds(size):
                    free = free.less(pod.room, -1)
                    going.append(pod)
            if going and free.holds(size) and (best is None or len(going) < best[0]):
                best = (len(going), node, going)
        if best is None:
            return None
        for pod in best[2]:
            self.release(pod)
            self.want(pod)
        return best[1]


def first_fit(sizes: Iterable[Room], free: list[Room]) -> list[Room]:
    """Lay pods into the rooms, which shrink; returns the sizes that did not fit."""
    left = []
    for size in sizes:
        index = next((index for index, room in enumerate(free) if room.holds(size)), None)
        if index is None:
            left.append(size)
        else:
            free[index] = free[index].less(size)
    return left


def nodes_to_add(waiting: Sequence[Room], coming: Sequence[Room], empty: Room) -> int:
    """The new nodes that the pods without room need, first-fit, beside the nodes that are coming anyway.

    `coming` is what is free on those. Pods that fit no empty node ask for none.
    """
    new: list[Room] = []
    for size in first_fit(waiting, list(coming)):
        if not empty.holds(size):
            continue
        if first_fit([size], new):
            new.append(empty.less(size))
    return len(new)


def unneeded(nodes: Sequence[Node], *, threshold: float, holds: set[Node]) -> list[Node]:
    """The nodes whose pods would all fit on others, so that the autoscaler counts them as unneeded.

    None of `holds` (a pod there must not be evicted), none that is fuller than `threshold`. What one candidate's pods
    would take elsewhere is gone for the next, and a node that takes pods stays.
    """
    free = {node: node.free for node in nodes}
    found: list[Node] = []
    for node in sorted(nodes, key=lambda one: one.utilization):
        if node in holds or (node.pods and node.utilization >= threshold):
            continue
        others = [one for one in nodes if one is not node and one not in found]
        moves = _moves([pod.room for pod in node.pods], others, free)
        if moves is None:
            continue
        free |= moves
        holds = holds | moves.keys()
        found.append(node)
    return found


def _moves(sizes: Sequence[Room], others: Sequence[Node], free: dict[Node, Room]) -> dict[Node, Room] | None:
    """What would be free on the nodes that take the pods; None where not all fit."""
    after: dict[Node, Room] = {}
    for size in sizes:
        for node in others:
            room = after.get(node, free[node])
            if room.holds(size):
                after[node] = room.less(size)
                break
        else:
            return None
    return after
