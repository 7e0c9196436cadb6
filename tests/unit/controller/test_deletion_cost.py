"""What is written on which pods, and in which order: ledger and pods in, patches out."""

from __future__ import annotations

import pytest

from longhaul.ledger.workers import Work
from longhaul_controller.deletion_cost import COST, SAFE_TO_EVICT, UNINTERRUPTIBLE, Patch, plan
from longhaul_controller.pod_objects import Pod


def work(worker: str, lost_seconds: float = 0.0, *, is_interruptible: bool = True) -> Work:
    return Work(worker=worker, lost_seconds=lost_seconds, is_interruptible=is_interruptible)


def pod(name: str, cost: int | str | None = None, safe_to_evict: str | None = None) -> Pod:
    annotations = {COST: str(cost) if cost is not None else None, SAFE_TO_EVICT: safe_to_evict}
    return Pod(name=name, annotations={key: value for key, value in annotations.items() if value is not None})


def costs(*pods: Pod, running: list[Work]) -> dict[str, int]:
    """The costs of all pods once the plan is carried out, idle ones too."""
    after = {one.name: int(one.annotations.get(COST, 0)) for one in pods}
    for patch in plan(running, pods):
        if COST in patch.annotations:
            after[patch.pod] = int(patch.annotations[COST] or 0)
    return after


def test_what_is_as_it_should_be_is_left_alone() -> None:
    assert plan([work("busy", 20)], [pod("idle"), pod("busy", 16)]) == []


def test_a_busy_pod_costs_more_than_an_idle_one_from_its_first_moment() -> None:
    assert plan([work("busy", 0.0)], [pod("idle"), pod("busy")]) == [Patch(pod="busy", annotations={COST: "1"})]


def test_a_pod_that_became_idle_loses_what_was_written_on_it() -> None:
    patches = plan([], [pod("was-busy", 61), pod("was-held", UNINTERRUPTIBLE + 1, "false")])
    assert {patch.pod: patch.annotations for patch in patches} == {
        "was-busy": {COST: None},
        "was-held": {COST: None, SAFE_TO_EVICT: None},
    }


def test_more_lost_work_costs_more_and_what_can_not_be_handed_over_most() -> None:
    pods = [pod(name) for name in ("idle", "fresh", "old", "ancient", "held")]
    running = [
        work("fresh", 3),
        work("old", 700),
        work("ancient", 7 * 24 * 3600),
        work("held", 3, is_interruptible=False),
    ]
    after = costs(*pods, running=running)
    assert sorted(after, key=lambda name: after[name]) == ["idle", "fresh", "old", "ancient", "held"]
    assert after["held"] < 2**31


def test_the_most_urgent_comes_first() -> None:
    """An idle-looking pod that is busy may be taken at any moment; one that is idle and does not look it only costs."""
    pods = [pod("grew", 1), pod("idle-again", 16), pod("started"), pod("started-held")]
    running = [work("grew", 300), work("started"), work("started-held", is_interruptible=False)]
    assert [patch.pod for patch in plan(running, pods)] == ["started-held", "started", "idle-again", "grew"]


def test_work_that_goes_on_changes_its_pod_a_few_times_an_hour() -> None:
    present, patches = pod("busy"), 0
    for second in range(3600):
        for patch in plan([work("busy", second)], [present]):
            present, patches = pod("busy", patch.annotations[COST]), patches + 1
    assert patches == 5


@pytest.mark.parametrize(("every_seconds", "at_most"), [(30, 2), (60, 2), (200, 3), (300, 48)])
def test_checkpoints_do_not_change_it_each_time(every_seconds: int, at_most: int) -> None:
    """The work that would be lost falls to nothing with each checkpoint; an hour of them."""
    present, patches = pod("busy"), 0
    for second in range(3600):
        for patch in plan([work("busy", second % every_seconds)], [present]):
            present, patches = pod("busy", patch.annotations[COST]), patches + 1
    assert patches <= at_most


def test_a_cost_falls_where_far_less_would_be_lost() -> None:
    assert costs(pod("busy", 961), running=[work("busy", 2)]) == {"busy": 1}


def test_no_node_is_emptied_while_work_runs_that_can_not_be_handed_over() -> None:
    (patch,) = plan([work("busy", 2, is_interruptible=False)], [pod("busy", 1)])
    assert patch.annotations == {COST: str(UNINTERRUPTIBLE + 1), SAFE_TO_EVICT: "false"}
    (patch,) = plan([work("busy", 2)], [pod("busy", UNINTERRUPTIBLE + 1, "false")])
    assert patch.annotations == {COST: "1", SAFE_TO_EVICT: None}


@pytest.mark.parametrize("own", ["true", "false"])
def test_what_the_owner_of_an_idle_pod_says_of_evictions_stays(own: str) -> None:
    assert plan([], [pod("idle", safe_to_evict=own)]) == []


def test_a_cost_that_is_no_number_counts_as_none() -> None:
    assert plan([], [pod("idle", "much")]) == []
    assert costs(pod("busy", 0), running=[work("busy")]) == {"busy": 1}


def test_workers_that_are_no_pods_are_passed_by() -> None:
    assert plan([work("laptop", 100)], [pod("idle")]) == []
