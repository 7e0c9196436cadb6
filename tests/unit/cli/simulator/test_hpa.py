"""The HPA's arithmetic, against cases worked by hand from the source of Kubernetes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from longhaul_cli.simulator.hpa import (
    DEFAULT_DOWN,
    DEFAULT_UP,
    Change,
    Hpa,
    Policy,
    PolicyType,
    Rules,
    Select,
    down_limit,
    up_limit,
    wanted_replicas,
)
from longhaul_cli.simulator.values import Release

(CHARTS,) = Release({}, source="defaults").pools


def percent(value: int, period_seconds: float = 15) -> Policy:
    return Policy(type=PolicyType.PERCENT, value=value, period_seconds=period_seconds)


def pods(value: int, period_seconds: float = 15) -> Policy:
    return Policy(type=PolicyType.PODS, value=value, period_seconds=period_seconds)


def rules(*policies: Policy, select: Select = Select.MAX, seconds: float = 0) -> Rules:
    return Rules(policies=policies, stabilization_seconds=seconds, select=select)


def charts_hpa() -> Hpa:
    return Hpa(min_replicas=1, max_replicas=200, target=5, up=CHARTS.up, down=CHARTS.down)


@pytest.mark.parametrize(
    ("total", "status_replicas", "wanted"),
    [
        (50, 10, 10),
        (55, 10, 10),  # 1.1 times the target: within the tolerance
        (56, 10, 12),
        (45, 10, 10),
        (44, 10, 9),
        (51, 10, 10),
        (0, 10, 0),
        (1, 1, 1),  # 0.2 of the target, and still one pod
        (0, 0, 0),
        (12, 0, 3),  # without a pod there is no average, and the total alone counts
    ],
)
def test_an_average_value_asks_for_the_total_over_the_target(total: float, status_replicas: int, wanted: int) -> None:
    assert wanted_replicas(total, 5, status_replicas, up=0.1, down=0.1) == wanted


def test_terminating_pods_are_not_in_the_average() -> None:
    # 200 pods were there, 190 go: the ratio is that of the 10 that stay.
    assert wanted_replicas(50, 5, 10, up=0.1, down=0.1) == 10


def test_the_percentage_is_rounded_up_on_the_way_up() -> None:
    assert up_limit(1, [], [], rules(percent(50)), 100) == 2
    assert up_limit(3, [], [], rules(percent(10)), 100) == 4


def test_the_percentage_is_cut_off_on_the_way_down() -> None:
    assert down_limit(3, [], [], rules(percent(25)), 100) == 2  # 2.25
    assert down_limit(10, [], [], rules(percent(25)), 100) == 7  # 7.5
    assert down_limit(1, [], [], rules(percent(25)), 100) == 0


def test_the_chart_goes_up_by_ten_times_or_100_more() -> None:
    assert up_limit(1, [], [], CHARTS.up, 100) == 101
    assert up_limit(10, [], [], CHARTS.up, 100) == 110
    assert up_limit(20, [], [], CHARTS.up, 100) == 200


def test_what_changed_within_the_period_counts_from_its_start() -> None:
    added = [Change(90, 4)]
    # 4 were added to 2 ten seconds ago: from 2, the policy lets 4 more.
    assert up_limit(6, added, [], rules(pods(4)), 100) == 6
    assert up_limit(6, added, [], rules(percent(100)), 100) == 4
    # The period is over exactly 15 s after the change.
    assert up_limit(6, added, [], rules(pods(4)), 105) == 10
    # What went meanwhile was there at the period's start.
    assert up_limit(6, added, [Change(95, 3)], rules(pods(4)), 100) == 9
    assert down_limit(6, added, [Change(95, 3)], rules(pods(2)), 100) == 3


@pytest.mark.parametrize(
    ("select", "up", "down"), [(Select.MAX, 14, 5), (Select.MIN, 11, 9), (Select.DISABLED, 10, 10)]
)
def test_a_policy_is_selected(select: Select, up: int, down: int) -> None:
    assert up_limit(10, [], [], rules(percent(10), pods(4), select=select), 0) == up
    assert down_limit(10, [], [], rules(percent(50), pods(1), select=select), 0) == down


def test_by_default_it_doubles_or_adds_four() -> None:
    assert [up_limit(count, [], [], DEFAULT_UP, 0) for count in (1, 4, 5, 50)] == [5, 8, 10, 100]
    assert down_limit(50, [], [], DEFAULT_DOWN, 0) == 0


def test_the_window_for_down_keeps_the_most_that_was_wanted() -> None:
    hpa = charts_hpa()
    assert follow(hpa, [(0, 50)], spec=10) == [10]
    # 10 were wanted at 0 s, so that all stay for 300 s; then a quarter goes each minute.
    steps = follow(hpa, [(at, 5) for at in range(15, 376, 15)], spec=10)
    assert steps[:19] == [10] * 19
    assert steps[19:] == [7, 7, 7, 7, 5, 5]


def test_the_window_for_up_takes_the_least_that_was_wanted() -> None:
    up = rules(percent(900), seconds=60)
    hpa = Hpa(min_replicas=1, max_replicas=200, target=5, up=up, down=CHARTS.down)
    # The replicas at the first look count as a recommendation: nothing changes until it is 60 s old.
    looks = [(0, 5), (15, 50), (30, 100), (45, 100), (60, 100), (75, 100)]
    assert follow(hpa, looks, spec=1) == [1, 1, 1, 1, 10, 20]


def test_old_recommendations_give_their_place_to_new_ones() -> None:
    hpa = charts_hpa()
    follow(hpa, [(at, 50) for at in range(0, 100_000, 15)], spec=10)
    assert len(hpa.recommendations) <= 300 / 15 + 2


def test_a_burst_of_1000_jobs_has_its_200_pods_in_two_steps() -> None:
    assert follow(charts_hpa(), [(0, 1000), (15, 1000), (30, 1000)], spec=1) == [101, 200, 200]


def test_the_minimum_and_the_maximum_bind() -> None:
    hpa = Hpa(min_replicas=3, max_replicas=20, target=5, up=CHARTS.up, down=CHARTS.down)
    assert follow(hpa, [(0, 1000)], spec=5) == [20]
    assert hpa.sync(15, 1000, spec_replicas=50, status_replicas=50) == 20
    assert hpa.sync(30, 0, spec_replicas=1, status_replicas=1) == 3


def test_it_leaves_a_workload_at_zero_alone() -> None:
    assert charts_hpa().sync(0, 100, spec_replicas=0, status_replicas=0) == 0


def follow(hpa: Hpa, looks: Sequence[tuple[float, float]], *, spec: int) -> list[int]:
    """The replicas after each look at a metric, where pods come and go at once."""
    found = []
    for at, total in looks:
        spec = hpa.sync(at, total, spec_replicas=spec, status_replicas=spec)
        found.append(spec)
    return found
