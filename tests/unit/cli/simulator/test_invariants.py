"""What holds whatever comes: on small cases that chance makes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longhaul.sizing.packing import Room
from longhaul_cli.simulator import Cluster, Job, Mode, Outcome, Pool, simulate
from longhaul_cli.simulator.hpa import Policy, PolicyType, Rules

FAST_DOWN = Rules(
    policies=(Policy(type=PolicyType.PERCENT, value=100, period_seconds=15),), stabilization_seconds=0, tolerance=0.1
)
FAST_UP = Rules(
    policies=(Policy(type=PolicyType.PODS, value=10, period_seconds=15),), stabilization_seconds=0, tolerance=0.1
)
PATIENT = Pool(queues=("a", "b"), slots=2, target=2, max_replicas=12, up=FAST_UP, down=FAST_DOWN)
HASTY = replace(PATIENT, drain_seconds=20, handover_seconds=10, grace_seconds=80, has_deletion_costs=False)
STEADY = Cluster(min_nodes=2, max_nodes=2, node=Room.of(16, 64))
GROWING = Cluster(
    node=Room.of(1.25, 4),
    min_nodes=1,
    max_nodes=8,
    node_start_seconds=40,
    node_unneeded_seconds=30,
    node_delay_after_add_seconds=30,
    max_graceful_termination_seconds=50,
)

all_jobs = st.lists(
    st.builds(
        Job,
        due_seconds=st.floats(0, 900),
        run_seconds=st.floats(0.1, 400),
        queue=st.sampled_from(["a", "b"]),
        priority=st.integers(-2, 2),
        checkpoint_seconds=st.sampled_from([None, 0.0, 7.0, 60.0]),
    ),
    max_size=60,
).map(lambda jobs: sorted(jobs, key=lambda job: job.due_seconds))

pools = st.sampled_from(
    [
        (PATIENT,),
        (HASTY,),
        (replace(HASTY, min_replicas=0, cooldown_seconds=30),),
        (replace(HASTY, queues=("a",)), replace(PATIENT, name="other")),
        (replace(PATIENT, mode=Mode.JOB, slots=1, target=1, min_replicas=0),),
        (replace(PATIENT, mode=Mode.FIXED, min_replicas=3),),
    ]
)
clusters = st.sampled_from([STEADY, GROWING])


def run(jobs: list[Job], pools: tuple[Pool, ...], cluster: Cluster, seed: int) -> Outcome:
    return simulate(jobs, pools, cluster, seed=seed, sample_seconds=1)


@settings(max_examples=150, deadline=None)
@given(jobs=all_jobs, pools=pools, cluster=clusters, seed=st.integers(0, 5))
def test_each_job_runs_to_its_end_once_and_no_work_is_lost_unsaid(
    jobs: list[Job], pools: tuple[Pool, ...], cluster: Cluster, seed: int
) -> None:
    outcome = run(jobs, pools, cluster, seed)
    assert (outcome.jobs, outcome.done, outcome.unfinished) == (len(jobs), len(jobs), 0)
    assert len(outcome.all_waits) == len(jobs)
    assert all(wait >= 0 for wait in outcome.all_waits)
    # What slots did is what the jobs needed, and what had to be done again.
    busy = sum(pool.busy_hours for pool in outcome.pools.values()) * 3600
    assert busy == pytest.approx(sum(job.run_seconds for job in jobs) + outcome.lost_seconds, abs=1e-3)
    assert outcome.handed_over <= outcome.interrupted
    assert 0 <= outcome.utilization <= 1 + 1e-9


@settings(max_examples=100, deadline=None)
@given(jobs=all_jobs, pools=pools, cluster=clusters, seed=st.integers(0, 5))
def test_nothing_runs_without_a_slot_and_nothing_waits_beside_a_free_one(
    jobs: list[Job], pools: tuple[Pool, ...], cluster: Cluster, seed: int
) -> None:
    outcome = run(jobs, pools, cluster, seed)
    for sample in outcome.samples:
        assert sample.nodes + sample.nodes_starting <= cluster.max_nodes
        assert sample.running == sum(pool.running for pool in sample.pools.values())
        for pool in pools:
            there = sample.pools[pool.name]
            assert there.running <= pool.slots * (there.ready + there.going)
            assert there.ready <= pool.max_replicas
            if len(pools) == 1 and sample.waiting and pool.mode is not Mode.JOB:
                assert there.running >= pool.slots * there.ready


@settings(max_examples=40, deadline=None)
@given(jobs=all_jobs, pools=pools, cluster=clusters, seed=st.integers(0, 5))
def test_one_seed_has_one_outcome(jobs: list[Job], pools: tuple[Pool, ...], cluster: Cluster, seed: int) -> None:
    assert run(jobs, pools, cluster, seed) == run(jobs, pools, cluster, seed)


@settings(max_examples=100, deadline=None)
@given(jobs=all_jobs, seed=st.integers(0, 5))
def test_with_deletion_costs_and_a_patient_drain_nothing_is_interrupted(jobs: list[Job], seed: int) -> None:
    outcome = run(jobs, (PATIENT,), STEADY, seed)
    assert (outcome.interrupted, outcome.lost_seconds) == (0, 0)


@settings(max_examples=50, deadline=None)
@given(jobs=all_jobs, seed=st.integers(0, 5))
def test_more_slots_do_not_make_the_jobs_wait_longer_in_all(jobs: list[Job], seed: int) -> None:
    # With equal run times: otherwise the order of the ends may change who waits for whom.
    same = [replace(job, run_seconds=50, priority=0, queue="a") for job in jobs]
    few, many = (run(same, (replace(PATIENT, mode=Mode.FIXED, min_replicas=count),), STEADY, seed) for count in (2, 4))
    assert sum(many.all_waits) <= sum(few.all_waits) + 1e-6


def test_jobs_out_of_order_and_queues_of_nobody_are_refused() -> None:
    late, early = Job(due_seconds=9, run_seconds=1, queue="a"), Job(due_seconds=3, run_seconds=1, queue="a")
    with pytest.raises(ValueError, match="sort them"):
        run([late, early], (PATIENT,), STEADY, 0)
    with pytest.raises(ValueError, match="no pool serves"):
        run([replace(early, queue="c")], (PATIENT,), STEADY, 0)
