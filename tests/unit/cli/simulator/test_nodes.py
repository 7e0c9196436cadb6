"""The scheduler and the node autoscaler's arithmetic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from longhaul.sizing.packing import Pods, Room, nodes_for
from longhaul_cli.simulator import Cluster, Job, Pool, simulate
from longhaul_cli.simulator.nodes import Node, Nodes, choose_node, nodes_to_add, unneeded
from longhaul_cli.simulator.pods import Pod

GUIDE = Cluster()
WORKER = Room.of(0.5, 0.5)


def node(number: int, *pods: Room) -> Node:
    made = Node(number, Room.of(4, 8), asked_at=0, ready_at=0)
    for size in pods:
        made.pods[Pod(size, len(made.pods))] = None
        made.free = made.free.less(size)
    return made


def test_a_pod_goes_where_most_is_free() -> None:
    nodes = [node(0, WORKER), node(1), node(2, WORKER, WORKER)]
    assert choose_node(nodes, WORKER) is nodes[1]
    assert choose_node([nodes[0], nodes[2]], Room.of(3.5, 1)) is nodes[0]
    assert choose_node(nodes, Room.of(4.5, 1)) is None
    assert choose_node(nodes, Room.of(1, 9)) is None


def test_memory_counts_as_well_as_cpu() -> None:
    much_memory, much_cpu = node(0, Room.of(0.1, 6)), node(1, Room.of(2, 0.1))
    assert choose_node([much_memory, much_cpu], Room.of(0.1, 3)) is much_cpu
    assert choose_node([much_memory, much_cpu], Room.of(3, 0.1)) is much_memory


@given(
    sizes=st.lists(st.sampled_from([WORKER, Room.of(2, 1), Room.of(0.25, 3), Room.of(3, 6)]), max_size=40),
    count=st.integers(1, 6),
)
def test_no_node_holds_more_than_it_has_and_no_pod_is_lost(sizes: list[Room], count: int) -> None:
    nodes = Nodes(Room.of(3.55, 13.5))
    for _ in range(count):
        nodes.add(0, ready_at=0)
    pods = [Pod(size, number) for number, size in enumerate(sizes)]
    for pod in pods:
        nodes.want(pod)
    placed = nodes.schedule(0)
    assert {*placed, *nodes.pending} == {*pods}
    for one in nodes.all:
        assert one.free.millicores >= 0
        assert one.free.mib >= 0
        assert one.free.millicores + sum(pod.room.millicores for pod in one.pods) == nodes.empty.millicores
    for pod in nodes.pending:
        assert choose_node(nodes.all, pod.room) is None
    for pod in placed:
        nodes.release(pod)
    assert all(one.free == nodes.empty for one in nodes.all)


def test_as_many_nodes_are_added_as_whole_pods_need() -> None:
    # A node of the guide has room for seven workers beside its DaemonSets.
    assert nodes_to_add([WORKER] * 186, [], GUIDE.empty_node) == 27
    assert nodes_to_add([WORKER] * 7, [], GUIDE.empty_node) == 1
    assert nodes_to_add([WORKER] * 8, [], GUIDE.empty_node) == 2
    # One that is coming anyway is counted; a pod that fits no node asks for none.
    assert nodes_to_add([WORKER] * 8, [GUIDE.empty_node], GUIDE.empty_node) == 1
    assert nodes_to_add([Room.of(8, 1)], [], GUIDE.empty_node) == 0


def test_a_node_is_unneeded_while_it_is_half_empty_and_its_pods_fit_elsewhere() -> None:
    def found(*nodes: Node, holds: set[Node] | None = None) -> list[int]:
        return [one.number for one in unneeded(nodes, threshold=0.5, holds=holds or set())]

    light = Room.of(1, 1)
    assert found(node(0), node(1, light)) == [0]  # and then the other's pod has no place to go
    assert found(node(0, light), node(1, light)) == [0]  # one takes the other's pod
    assert found(node(0, light), node(1, Room.of(3.5, 1))) == []  # no room there
    assert found(node(0, light), node(1, Room.of(2.5, 1))) == [0]
    held = node(0, light)
    assert found(held, node(1, light), holds={held}) == [1]


def test_the_simulated_cluster_needs_the_nodes_that_packing_says() -> None:
    others = (Pods(8, Room.of(0.25, 0.25)), Pods(2, Room.of(0.1, 0.125)))
    needed = nodes_for([Pods(200, WORKER), *others], GUIDE.node, daemons=GUIDE.daemons)
    outcome = simulate(
        [Job(due_seconds=1, run_seconds=3000) for _ in range(1000)],
        [Pool(min_replicas=1, max_replicas=200)],
        Cluster(others=others),
    )
    assert outcome.max_replicas == 200
    # The scheduler spreads: what packing leaves in one gap may lie in several.
    assert needed <= outcome.max_nodes <= needed + 1
