"""Which pods a ReplicaSet takes away."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from longhaul.sizing.packing import Room
from longhaul_cli.simulator import Job, Pool
from longhaul_cli.simulator.fleet import Fleet
from longhaul_cli.simulator.nodes import Node
from longhaul_cli.simulator.pods import Attempt, Phase, Work, WorkerPod, pods_to_delete

NOW = 10_000.0


class Still:
    """A cluster in which nothing happens."""

    now = NOW

    def __init__(self) -> None:
        self.rng = Random(1)

    def create(self, pod: WorkerPod) -> None: ...

    def terminate(self, pod: WorkerPod, *, within_seconds: float) -> None: ...

    def waiting(self, pool: Pool) -> int:
        return 0 * len(pool.queues)


def fleet(count: int, **facts: bool) -> Fleet:
    """Ready, idle pods of one age, each on a node of its own."""
    made = Fleet(replace(Pool(), **facts), Still())  # type: ignore[arg-type]  # the facts of a pool are of many types
    made.grow(count)
    for number, pod in enumerate(made.pods):
        made.enter(pod, Phase.READY)
        pod.ready_at = NOW - 1000
        pod.node = Node(number, Room.of(4, 8), asked_at=0, ready_at=0)
    return made


def run(pod: WorkerPod, *, seconds: float, checkpoint: float | None = None) -> None:
    """Let a job have run on a pod for so long."""
    job = Job(due_seconds=0, run_seconds=9000, checkpoint_seconds=checkpoint)
    pod.attempts.append(Attempt(Work(job, 0), pod, NOW - seconds))


def taken(made: Fleet, count: int) -> list[int]:
    return [pod.number for pod in pods_to_delete(made.active, count, NOW, Random(1))]


def test_pods_without_a_node_go_first_then_those_not_ready_then_idle_ones() -> None:
    made = fleet(5)
    pods = list(made.pods)
    run(pods[0], seconds=5)
    made.enter(pods[2], Phase.STARTING)
    made.enter(pods[3], Phase.PENDING)
    pods[3].node = None
    assert taken(made, 5)[:2] == [3, 2]
    assert taken(made, 5)[-1] == 0


def test_of_busy_pods_the_one_that_loses_least_goes_first() -> None:
    made = fleet(5)
    pods = list(made.pods)
    run(pods[0], seconds=500)
    run(pods[1], seconds=4000, checkpoint=60)
    run(pods[2], seconds=40)
    run(pods[3], seconds=4000, checkpoint=3000)
    # One that can't hand over costs more than any that can; the idle one costs nothing.
    assert taken(made, 5) == [4, 1, 3, 2, 0]


def test_without_deletion_costs_the_work_does_not_count() -> None:
    made = fleet(6, has_deletion_costs=False)
    pods = list(made.pods)
    for pod in pods[:5]:
        run(pod, seconds=500)
    firsts = {pods_to_delete(made.active, 1, NOW, Random(seed))[0].number for seed in range(100)}
    assert firsts == {0, 1, 2, 3, 4, 5}


def test_crowded_nodes_and_then_young_pods_come_first() -> None:
    made = fleet(5)
    pods = list(made.pods)
    pods[1].node = pods[0].node
    pods[3].ready_at = NOW - 10
    assert {*taken(made, 2)} == {0, 1}
    assert taken(made, 3)[2] == 3
