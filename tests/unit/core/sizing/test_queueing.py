"""Closed forms, published values and the order that any such system has."""

from __future__ import annotations

from math import exp, factorial, inf, isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longhaul.sizing.queueing import (
    beta_for_wait,
    erlang_b,
    erlang_c,
    mean_wait_seconds,
    slots_for_wait,
    square_root_staffing,
    wait_exceeds,
)

LOADS = st.floats(min_value=0.01, max_value=500)


@pytest.mark.parametrize("offered", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("slots", [1, 3, 12])
def test_erlang_b_is_the_sum_that_defines_it(offered: float, slots: int) -> None:
    terms = [offered**count / factorial(count) for count in range(slots + 1)]
    assert isclose(erlang_b(offered, slots), terms[-1] / sum(terms))


def test_erlang_c_of_the_textbooks() -> None:
    assert isclose(erlang_c(2, 3), 4 / 9)
    assert isclose(erlang_c(0.7, 1), 0.7), "with one slot it is the load"
    assert erlang_c(0, 1) == 0
    assert erlang_c(3, 3) == 1


def test_one_slot_with_exponential_times_is_mm1() -> None:
    arrivals, service = 0.8, 1.0
    load = arrivals * service
    assert isclose(mean_wait_seconds(arrivals, service, 1), load * service / (1 - load))
    assert isclose(wait_exceeds(3, arrivals, service, 1), load * exp(-(1 - load) * 3))


def test_one_slot_with_equal_times_is_md1() -> None:
    arrivals, service = 0.8, 1.0
    load = arrivals * service
    assert isclose(mean_wait_seconds(arrivals, service, 1, service_cv=0), load * service / (2 * (1 - load)))


def test_too_few_slots_make_all_wait_for_ever() -> None:
    assert mean_wait_seconds(10, 1, 10) == inf
    assert wait_exceeds(1e9, 10, 1, 10) == 1


@given(offered=LOADS, slots=st.integers(min_value=1, max_value=600))
def test_a_probability_lies_between_0_and_1_and_falls_with_each_slot(offered: float, slots: int) -> None:
    assert 0 <= erlang_c(offered, slots + 1) <= erlang_c(offered, slots) <= 1


@given(
    arrivals=st.floats(min_value=0.01, max_value=50),
    more=st.floats(min_value=0, max_value=50),
    service=st.floats(min_value=0.1, max_value=10),
    seconds=st.floats(min_value=0, max_value=60),
    share=st.floats(min_value=0.001, max_value=0.5),
    cv=st.floats(min_value=0, max_value=3),
)
def test_more_load_never_needs_fewer_slots(
    arrivals: float, more: float, service: float, seconds: float, share: float, cv: float
) -> None:
    slots = slots_for_wait(seconds, share, arrivals, service, service_cv=cv)
    assert slots <= slots_for_wait(seconds, share, arrivals + more, service, service_cv=cv)
    assert wait_exceeds(seconds, arrivals, service, slots, service_cv=cv) <= share
    if slots - 1 > arrivals * service:
        assert wait_exceeds(seconds, arrivals, service, slots - 1, service_cv=cv) > share


@pytest.mark.parametrize("share", [0.0, 1.0, -0.2])
def test_a_share_that_is_none(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        slots_for_wait(1, share, 1, 1)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_square_root_staffing_comes_near_erlang_c_for_large_loads(share: float) -> None:
    beta = beta_for_wait(share)
    assert erlang_c(1000, square_root_staffing(1000, beta)) == pytest.approx(share, abs=0.03)
