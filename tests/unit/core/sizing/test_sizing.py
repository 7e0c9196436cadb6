"""The guide's case, and how a size follows its assumptions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longhaul.errors import ConfigurationError
from longhaul.sizing.assumptions import PRESETS, Assumptions, parse
from longhaul.sizing.emit import helm_values, terraform_variables
from longhaul.sizing.lines import lines
from longhaul.sizing.prices import parse_prices
from longhaul.sizing.queueing import wait_exceeds
from longhaul.sizing.reaction import reaction, steps
from longhaul.sizing.sizing import size

GUIDE = PRESETS["aks-guide"]
PRICES = {"currency": "EUR", "node_hour": 0.2, "system_nodes_month": 100}


def case(**changes: float) -> Assumptions:
    return parse({**GUIDE, **changes})


def test_the_guides_numbers() -> None:
    guide = size(case()).guide
    assert (guide.api_min_replicas, guide.api_max_replicas) == (3, 8)
    assert (guide.worker_max_replicas, guide.keda_target, guide.slots) == (200, 5, 1000)
    assert (guide.peak_cpu, guide.peak_memory_gib) == (102, 102)
    assert (guide.nodes, guide.nodes_max) == (27, 30)


def test_the_same_pods_packed_need_30_nodes_and_so_more_at_most() -> None:
    sizing = size(case())
    assert sizing.packed == replace(sizing.guide, nodes=30, nodes_max=33)


def test_what_is_needed_keeps_the_wait_target_and_gives_each_task_its_cpu() -> None:
    a = case()
    needed = size(a).needed
    assert needed.oversubscription == 1
    assert wait_exceeds(10, a.arrivals_per_second, 30, needed.slots) <= 0.05
    assert wait_exceeds(10, a.arrivals_per_second, 30, needed.slots - 1) > 0.05
    assert needed.workers_per_node * needed.nodes >= needed.worker_max_replicas


def test_the_api_loses_a_zone_and_still_holds_its_cpu() -> None:
    api = size(case()).needed.api_max_replicas
    left = api - api // 3
    assert 100 / (left * 20) <= 0.7
    assert size(case(zones=1)).needed.api_max_replicas == 8


def test_every_line_of_the_guide_has_its_derivation() -> None:
    found = {(line.component, line.setting): line for line in lines(size(case()))}
    assert found["API", "max"].how == "100 / 20 x 1.5 = 7.5, rounded up"
    assert found["worker", "max"].how == "1,000 / 5, rounded up"
    assert "102 / 3.8 = 26.8" in found["user nodes", "at peak"].how
    assert "5 times oversubscribed" in found["worker", "KEDA target"].why
    assert "all jobs wait, ever longer" in found["worker", "slots"].why
    assert found["AKS", "max-graceful-termination-sec"].needed == "3660"
    assert all(line.why for line in found.values() if line.needed not in {line.guide, "the same"})


def test_long_jobs_move_what_aks_must_wait() -> None:
    sizing = size(case(max_job_seconds=7200))
    assert (sizing.max_graceful_termination_seconds, sizing.drain_timeout_minutes) == (7260, 121)


def test_a_higher_availability_asks_for_a_standby() -> None:
    assert not size(case()).postgres.is_zone_redundant
    assert size(case(availability=0.9995)).postgres.is_zone_redundant


def test_more_waiting_jobs_need_a_larger_redis_and_too_many_are_refused() -> None:
    assert size(case(waiting_jobs=1_000_000)).redis.tier_gb > size(case()).redis.tier_gb
    with pytest.raises(ConfigurationError, match="limit what may wait"):
        size(case(waiting_jobs=10**9))


def test_more_pods_than_one_database_serves_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="more slots"):
        size(case(concurrent_tasks=100_000))


def test_from_one_pod_to_many() -> None:
    assert steps(1, 200) == 2
    assert steps(1, 200, percent=100, pods=4) == 7
    assert reaction(case(), before=1, after=200).seconds == 15 + 15 + 348 + 15
    assert reaction(case(node_start_seconds=83), before=1, after=100).seconds == 15 + 83 + 15
    assert reaction(case(), before=1, after=100, nodes_are_there=True).seconds == 15 + 15


def test_what_it_costs() -> None:
    found = size(case(), parse_prices(PRICES))
    assert found.cost
    assert found.cost.least_month == pytest.approx(100 + 2 * 0.2 * 730)
    assert found.cost.peak_month == pytest.approx(100 + found.needed.nodes * 0.2 * 730)


def test_a_standby_costs_as_much_again() -> None:
    prices = parse_prices({**PRICES, "postgres_month": {"Standard_D4ds_v5": 300.0}})
    one, two = size(case(), prices).cost, size(case(availability=0.9995), prices).cost
    assert one
    assert two
    assert two.least_month - one.least_month == pytest.approx(300)


@pytest.mark.parametrize(
    ("prices", "sentence"),
    [
        ({"currency": "EUR"}, "node_hour: field required"),
        ({**PRICES, "node_hour": -1}, "node_hour: input should be greater"),
        ({**PRICES, "nodes": 1}, "nodes: extra inputs"),
    ],
)
def test_wrong_prices_get_a_sentence(prices: dict[str, float], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        parse_prices(prices)


def test_a_tier_without_a_price_gets_a_sentence() -> None:
    with pytest.raises(ConfigurationError, match="name no B0 in redis_month"):
        size(case(), parse_prices({**PRICES, "redis_month": {"B1": 10}}))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"task_seconds": None}, "task_seconds is missing: say how long an average task runs."),
        ({"concurrent_tasks": None}, "Say concurrent_tasks or jobs_per_second"),
        ({"concurrent_tasks": -1}, "concurrent_tasks .* is -1: input should be greater than 0"),
        ({"task_seconds": "long"}, "task_seconds .* is 'long': input should be a valid number"),
        ({"jobs_per_second": 3}, "90 tasks at once, and concurrent_tasks says 1000: leave one of them out"),
        ({"tasks": 3}, "tasks is no assumption: they are request_rate_per_second"),
        ({"task_cpu": 4}, "A task of 4 vCPU and 0.5 GiB fits no node, which has 3.55"),
        ({"wait_target_share": 1}, "wait_target_share .* is 1: input should be less than 1"),
        ({"task_seconds": float("inf")}, "task_seconds .* finite number"),
    ],
)
def test_wrong_and_missing_assumptions_get_a_sentence(changes: dict[str, object], sentence: str) -> None:
    values = {name: value for name, value in {**GUIDE, **changes}.items() if value is not None}
    with pytest.raises(ConfigurationError, match=sentence):
        parse(values)


def test_a_rate_says_the_same_as_the_concurrency_that_follows_from_it() -> None:
    by_rate = size(parse({**GUIDE, "jobs_per_second": 1000 / 30}))
    assert by_rate.needed == size(case()).needed


def test_terraforms_variables_lead_to_the_same_fleet() -> None:
    for fleet in (size(case()).packed, size(case()).needed):
        variables = terraform_variables(case(), fleet)["assumptions"]
        again = size(case(**{name: value for name, value in variables.items() if name != "api_min_replicas"})).packed
        assert again == fleet


def test_helm_values_are_the_fleets() -> None:
    sizing = size(case())
    values = helm_values(sizing.assumptions, sizing.guide)
    assert values["api"]["autoscaling"] == {
        "minReplicas": 3,
        "maxReplicas": 8,
        "targetCPUUtilizationPercentage": 70,
    }
    assert values["worker"]["poolDefaults"]["resources"] == {
        "requests": {"cpu": "500m", "memory": "512Mi"},
        "limits": {"cpu": "1000m", "memory": "1Gi"},
    }


@given(
    tasks=st.integers(1, 3000),
    more=st.integers(0, 500),
    seconds=st.floats(1, 3600),
    cpu=st.sampled_from([0.1, 0.5, 1.0, 3.0]),
    slots=st.integers(1, 8),
)
def test_more_load_never_needs_less(tasks: int, more: int, seconds: float, cpu: float, slots: int) -> None:
    changes = {"task_seconds": seconds, "task_cpu": cpu, "tasks_per_worker": slots}
    less, most = (size(case(concurrent_tasks=load, **changes)) for load in (tasks, tasks + more))
    for small, large in ((less.guide, most.guide), (less.packed, most.packed), (less.needed, most.needed)):
        assert small.worker_max_replicas <= large.worker_max_replicas
        assert small.slots <= large.slots
        assert small.nodes <= large.nodes
    assert less.guide.nodes <= less.packed.nodes, "whole pods never need fewer nodes than their sum"
