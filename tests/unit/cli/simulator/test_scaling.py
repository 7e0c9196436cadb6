"""Jobs, KEDA, HPA, scheduler and nodes together: what a burst, a night and a scale-in look like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from longhaul.sizing.assumptions import PRESETS, parse
from longhaul.sizing.packing import Pods, Room
from longhaul.sizing.reaction import reaction
from longhaul_cli.simulator import Cluster, Job, Mode, Outcome, Pool, Sample, simulate
from longhaul_cli.simulator.values import Release

(CHARTS,) = Release({}, source="defaults").pools
ROOMY = Cluster(min_nodes=40, max_nodes=40, pod_start_seconds=10)
"""Nodes for all pods."""


def burst(count: int, run_seconds: float, *, at: float = 100.0, checkpoint: float | None = None) -> list[Job]:
    return [Job(due_seconds=at, run_seconds=run_seconds, checkpoint_seconds=checkpoint) for _ in range(count)]


def run(jobs: Sequence[Job], pool: Pool, cluster: Cluster = ROOMY, *, until: float = 0.0, seed: int = 0) -> Outcome:
    return simulate(jobs, [pool], cluster, seed=seed, until_seconds=until, sample_seconds=1)


def first(outcome: Outcome, *, ready: int) -> Sample:
    """The first sample with so many pods ready."""
    return next(sample for sample in outcome.samples if sample.pools["default"].ready >= ready)


@pytest.mark.parametrize("seed", range(5))
def test_a_burst_has_all_its_pods_after_two_syncs_and_a_start(seed: int) -> None:
    outcome = run(burst(1000, 600), CHARTS, seed=seed)
    assert outcome.max_replicas == 200
    # Up to one sync until the HPA sees it, one more for the second step, and 10 s for pods to start.
    assert first(outcome, ready=101).at_seconds <= 100 + 15 + 10 + 1
    assert first(outcome, ready=200).at_seconds <= 100 + 30 + 10 + 1
    assert first(outcome, ready=200).at_seconds >= 100 + 15 + 10 - 1
    assert max(outcome.all_waits) <= 41


def test_pods_without_room_wait_for_nodes() -> None:
    cluster = Cluster(node_start_seconds=348)
    outcome = run(burst(1000, 600), CHARTS, cluster)
    assert outcome.max_nodes == 29  # seven workers a node, where the guide's division gives 27
    last = first(outcome, ready=200).at_seconds
    assert 100 + 348 + 15 <= last <= 100 + 30 + 10 + 348 + 15 + 1


def test_too_few_nodes_are_all_that_there_is() -> None:
    outcome = run(burst(1000, 600), CHARTS, Cluster(max_nodes=10, node_start_seconds=30))
    assert outcome.max_nodes == 10
    assert outcome.max_replicas == 70
    assert outcome.done == 1000


def test_other_pods_take_room() -> None:
    others = (Pods(8, Room.of(0.25, 0.25)), Pods(2, Room.of(0.1, 0.125)))
    assert run(burst(1000, 600), CHARTS, Cluster(others=others)).max_nodes >= 29


def test_pods_and_nodes_go_once_nothing_needs_them() -> None:
    outcome = run(burst(1000, 600), CHARTS, Cluster(), until=6000)
    last = outcome.samples[-1]
    assert last.pools["default"].ready == 1
    assert last.nodes == 2
    assert outcome.interrupted == 0
    # All are kept for five minutes after they were last needed, then a quarter goes each minute.
    needed = max(sample.at_seconds for sample in outcome.samples if sample.running > 900)
    fewer = [sample for sample in outcome.samples if sample.at_seconds > needed]
    assert next(one.at_seconds for one in fewer if one.pools["default"].ready < 200) - needed == pytest.approx(
        300, abs=16
    )
    assert next(one.at_seconds for one in fewer if one.pools["default"].ready < 100) - needed == pytest.approx(
        420, abs=16
    )


def test_a_pool_goes_to_zero_and_comes_back() -> None:
    pool = replace(CHARTS, min_replicas=0)
    outcome = run([*burst(1, 50), *burst(1, 50, at=2000)], pool, until=3000)
    counts = {sample.at_seconds: sample.pools["default"] for sample in outcome.samples}
    assert counts[50].ready == 0
    # A look of KEDA's, at most 5 s away, and the start of a pod.
    assert 10 <= outcome.all_waits[0] <= 16
    assert 10 <= outcome.all_waits[1] <= 16
    ended = 100 + outcome.all_waits[0] + 50
    gone = next(at for at, one in counts.items() if at > ended and not one.ready)
    assert gone - ended == pytest.approx(300, abs=11)
    assert counts[1999].desired == 0


def test_a_pod_that_goes_ends_its_jobs_beside_those_that_stay() -> None:
    # 20 pods with one job each; half of the jobs are short, and the pods with the long ones must stay.
    pool = replace(CHARTS, slots=1, target=1)
    jobs = [Job(due_seconds=100, run_seconds=100 if number % 2 else 3000) for number in range(20)]
    outcome = run(jobs, pool)
    assert outcome.interrupted == 0
    assert not any(sample.pools["default"].going for sample in outcome.samples)
    blind = run(jobs, replace(pool, has_deletion_costs=False))
    assert any(sample.pools["default"].going for sample in blind.samples)
    assert blind.interrupted == 0  # a patient drain


def test_a_hasty_drain_interrupts_and_loses_what_is_not_saved() -> None:
    pool = replace(
        CHARTS, slots=2, target=1, drain_seconds=20, grace_seconds=80, has_deletion_costs=False, handover_seconds=10
    )
    jobs = [Job(due_seconds=100, run_seconds=100 if number % 2 else 2000) for number in range(40)]
    lost = run(jobs, pool)
    assert lost.interrupted > 0
    assert lost.handed_over == 0
    assert lost.lost_seconds > 0
    saved = run([replace(job, checkpoint_seconds=0) for job in jobs], pool)
    assert saved.interrupted == saved.handed_over > 0
    assert saved.lost_seconds == pytest.approx(0, abs=1e-6)


def test_jobs_on_pods_that_go_need_no_pods_in_their_place() -> None:
    pool = replace(CHARTS, slots=1, target=1, has_deletion_costs=False)
    outcome = run([Job(due_seconds=100, run_seconds=60 + 40 * number) for number in range(40)], pool)
    for sample in outcome.samples[1000:]:
        counts = sample.pools["default"]
        assert counts.running <= counts.ready + counts.going


def test_a_node_with_a_job_that_can_not_hand_over_stays() -> None:
    cluster = Cluster(min_nodes=1, node_start_seconds=30)
    pool = replace(CHARTS, slots=1, target=1)
    jobs = [Job(due_seconds=100, run_seconds=100 if number % 4 else 5000) for number in range(28)]
    assert run(jobs, pool, cluster).interrupted == 0
    # Where nothing tells the autoscaler, it waits for 600 s and cuts them.
    cut = run(jobs, replace(pool, has_deletion_costs=False), cluster)
    assert cut.interrupted > 0
    assert cut.done == 28


def test_a_pod_for_each_job() -> None:
    pool = replace(CHARTS, mode=Mode.JOB, slots=1, target=1, min_replicas=0, max_replicas=10)
    outcome = run(burst(25, 100), pool, until=1000)
    assert outcome.done == 25
    assert max(sample.pools["default"].ready for sample in outcome.samples) == 10
    assert outcome.samples[-1].pools["default"].ready == 0
    assert sorted(outcome.all_waits)[9] <= 5 + 10  # KEDA's look, and the start


def test_a_pod_for_a_job_that_gets_none_ends() -> None:
    pools = [replace(CHARTS, mode=Mode.JOB, slots=1, target=1, min_replicas=0), replace(CHARTS, name="other")]
    outcome = simulate(burst(50, 30), pools, ROOMY, until_seconds=1000, sample_seconds=1)
    last = outcome.samples[-1].pools["default"]
    assert (last.ready, last.going, outcome.done) == (0, 0, 50)


def test_priority_goes_first_and_ages() -> None:
    pool = replace(CHARTS, mode=Mode.FIXED, min_replicas=1, slots=1)
    jobs = [
        Job(due_seconds=0, run_seconds=1000),
        Job(due_seconds=10, run_seconds=10, queue="default", task="old"),
        Job(due_seconds=300, run_seconds=10, task="younger, more important", priority=1),
        Job(due_seconds=400, run_seconds=10, task="too young, though important", priority=1),
    ]
    outcome = run(jobs, pool)
    # A step of priority is worth 300 s of waiting: 300 - 300 < 10 < 400 - 300.
    assert list(outcome.all_waits) == [0, 700, 1000, 620]


def test_a_pool_that_can_never_run_anything_ends_the_simulation() -> None:
    outcome = simulate(burst(3, 10), [replace(CHARTS, room=Room.of(100, 1))], ROOMY, sample_seconds=3600)
    assert (outcome.done, outcome.unfinished) == (0, 3)


def test_nodes_cost_what_they_cost() -> None:
    cluster = replace(ROOMY, min_nodes=4, max_nodes=4, node_hour_price=0.5, currency="EUR")
    outcome = run(burst(1, 60), CHARTS, cluster, until=7200)
    assert outcome.node_hours == pytest.approx(8)
    assert outcome.cost == pytest.approx(4)
    assert outcome.pod_hours == pytest.approx(2)


def test_headroom_gives_way_at_once_and_gets_a_node_again() -> None:
    # A full node, and a second one for four places that give way.
    cluster = Cluster(node=Room.of(2.25, 8), min_nodes=1, node_start_seconds=300, headroom=Pods(4, Room.of(0.5, 0.5)))
    pool = replace(CHARTS, min_replicas=4)
    with_room = run(burst(40, 600), pool, cluster)
    without = run(burst(40, 600), pool, replace(cluster, headroom=None))
    assert max(with_room.all_waits) <= 15 + 15 + 1
    assert max(without.all_waits) > 300
    assert with_room.samples[0].nodes == 2
    assert with_room.max_nodes == 3  # the places were needed anew


def test_pods_are_created_as_fast_as_the_control_plane_lets_them() -> None:
    slow = replace(ROOMY, pods_created_per_second=2, pods_created_at_once=10, pod_start_seconds=1)
    outcome = run(burst(1000, 600), CHARTS, slow)
    begun = first(outcome, ready=11).at_seconds
    # 190 more at two a second.
    assert first(outcome, ready=200).at_seconds - begun == pytest.approx(95, abs=3)


def test_one_seed_has_one_outcome_where_much_moves() -> None:
    others = (Pods(8, Room.of(0.25, 0.25)), Pods(6, Room.of(0.1, 1)))
    jobs = [
        Job(
            due_seconds=number // 150 * 2500,
            run_seconds=200 + number * 37 % 1700,
            checkpoint_seconds=60 if number % 3 else None,
        )
        for number in range(900)
    ]
    pool = replace(CHARTS, slots=2, target=2, drain_seconds=300, grace_seconds=360, has_deletion_costs=False)
    first, second = (simulate(jobs, [pool], Cluster(others=others), seed=3) for _ in range(2))
    assert first.max_nodes > 4
    assert first.interrupted > 0
    assert first == second


@pytest.mark.parametrize("seed", range(4))
def test_it_takes_no_longer_than_longhaul_size_says(seed: int) -> None:
    assumptions = parse(PRESETS["aks-guide"])
    predicted = reaction(assumptions, before=1, after=200)
    cluster = Cluster()
    outcome = run(burst(1000, 1800), CHARTS, cluster, seed=seed)
    took = first(outcome, ready=200).at_seconds - 100
    # What `size` leaves out: pods are created one after the other, and the autoscaler of nodes looks every 10 s.
    most = predicted.seconds + 200 / cluster.pods_created_per_second + cluster.node_scan_seconds + 1
    assert predicted.seconds - 2 * cluster.hpa_sync_seconds <= took <= most
