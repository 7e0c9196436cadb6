"""Where queueing theory is exact, the simulator must agree: within a confidence interval by batch means.

With a fixed number of pods nothing scales, and what is left is a queue with that many slots. Waits follow each other,
so their mean's error is taken from the means of long batches, which hardly do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import sqrt
from random import Random
from statistics import fmean, stdev

import pytest

from longhaul.sizing.packing import Room
from longhaul.sizing.queueing import erlang_c, mean_wait_seconds, wait_exceeds
from longhaul_cli.simulator import Cluster, Job, Mode, Outcome, Pool, simulate

BATCHES = 20
STUDENT = 3.883
"""Two-sided 99.9 % quantile of Student's t with 19 degrees of freedom."""
WARM_UP = 2000
CLUSTER = Cluster(min_nodes=1, max_nodes=1, node=Room.of(64, 256))

Draw = Callable[[Random], float]


def exponential(mean: float) -> Draw:
    return lambda rng: rng.expovariate(1 / mean)


def fixed(seconds: float) -> Draw:
    return lambda _rng: seconds


def queue(jobs: int, arrivals_per_second: float, run_seconds: Draw, *, pods: int, slots: int, seed: int) -> Outcome:
    """Poisson arrivals at a fixed number of slots."""

    def drawn() -> Iterator[Job]:
        rng, at = Random(f"jobs {seed}"), 0.0
        for _ in range(jobs):
            at += rng.expovariate(arrivals_per_second)
            yield Job(due_seconds=at, run_seconds=run_seconds(rng))

    pool = Pool(mode=Mode.FIXED, min_replicas=pods, slots=slots)
    return simulate(drawn(), [pool], CLUSTER, seed=seed, sample_seconds=1e9)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the width of its confidence interval."""
    size = len(values) // BATCHES
    means = [fmean(values[at : at + size]) for at in range(0, size * BATCHES, size)]
    return fmean(means), STUDENT * stdev(means) / sqrt(BATCHES)


def agrees(values: Sequence[float], theory: float, *, at_most: float) -> None:
    """The theory lies in the interval, which is narrow enough to say something."""
    mean, half = interval(values)
    assert abs(mean - theory) <= half, f"{mean:.4f} ± {half:.4f} is not {theory:.4f}"
    assert half <= at_most * theory, f"± {half:.4f} is wide for {theory:.4f}: simulate more jobs"


@pytest.mark.parametrize(("pods", "slots", "load"), [(1, 1, 0.6), (4, 1, 0.75), (2, 5, 0.75), (4, 5, 0.85)])
def test_m_m_c_agrees_with_erlang_c(pods: int, slots: int, load: float) -> None:
    count, mean = pods * slots, 30.0
    rate = load * count / mean
    outcome = queue(60_000, rate, exponential(mean), pods=pods, slots=slots, seed=0)
    waits = outcome.all_waits[WARM_UP:]
    agrees([wait > 0 for wait in waits], erlang_c(rate * mean, count), at_most=0.3)
    agrees(waits, mean_wait_seconds(rate, mean, count), at_most=0.5)
    agrees([wait > mean / 4 for wait in waits], wait_exceeds(mean / 4, rate, mean, count), at_most=0.5)
    assert outcome.utilization == pytest.approx(load, rel=0.02)


def test_m_m_1_agrees_with_its_closed_form() -> None:
    mean, load = 10.0, 0.7
    waits = queue(50_000, load / mean, exponential(mean), pods=1, slots=1, seed=3).all_waits[WARM_UP:]
    agrees(waits, load * mean / (1 - load), at_most=0.25)
    agrees([wait > 0 for wait in waits], load, at_most=0.05)


def test_m_d_1_agrees_with_pollaczek_and_khinchine() -> None:
    mean, load = 10.0, 0.8
    waits = queue(50_000, load / mean, fixed(mean), pods=1, slots=1, seed=5).all_waits[WARM_UP:]
    agrees(waits, load * mean / (2 * (1 - load)), at_most=0.25)
    agrees([wait > 0 for wait in waits], load, at_most=0.05)


def test_slots_of_one_pod_and_of_many_pods_are_one_queue() -> None:
    one = queue(5000, 0.9, exponential(10), pods=1, slots=10, seed=2)
    many = queue(5000, 0.9, exponential(10), pods=10, slots=1, seed=2)
    assert one.all_waits == many.all_waits


def test_more_load_makes_longer_waits() -> None:
    means = [
        fmean(queue(10_000, rate, exponential(10), pods=10, slots=1, seed=4).all_waits) for rate in (0.6, 0.8, 0.9)
    ]
    assert means == sorted(means)
