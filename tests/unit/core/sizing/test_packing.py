"""Whole pods on nodes."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longhaul.sizing.packing import Pods, Room, nodes_for

NODE, DAEMONS = Room.of(3.8, 14), Room.of(0.25, 0.5)
NOTHING = Room(0, 0)
WORKER, API = Room.of(0.5, 0.5), Room.of(0.25, 0.25)


def test_the_guides_pods_need_more_nodes_than_their_sum_says() -> None:
    """28 nodes of 7 workers, one of 4 with 6 API pods beside them, and one for the other 2."""
    assert nodes_for([Pods(200, WORKER), Pods(8, API)], NODE, daemons=DAEMONS) == 30


def test_what_the_large_ones_leave_is_used() -> None:
    assert nodes_for([Pods(7, WORKER), Pods(1, API)], NODE, daemons=NOTHING) == 1
    assert nodes_for([Pods(7, WORKER), Pods(2, API)], NODE, daemons=NOTHING) == 2


def test_memory_may_be_what_decides() -> None:
    assert nodes_for([Pods(4, Room.of(0.1, 7))], NODE, daemons=NOTHING) == 2


def test_sums_are_exact() -> None:
    """0.1 + 0.2 is not 0.3 in floating point; three such pods fill this node."""
    assert nodes_for([Pods(3, Room.of(0.1, 0.25))], Room.of(0.3, 0.75), daemons=NOTHING) == 1


def test_a_pod_that_fits_no_node() -> None:
    with pytest.raises(ValueError, match="fits no node"):
        nodes_for([Pods(1, Room.of(4, 1))], NODE, daemons=DAEMONS)
    assert nodes_for([Pods(0, Room.of(4, 1))], NODE, daemons=DAEMONS) == 0


@given(
    kinds=st.lists(
        st.tuples(st.integers(0, 60), st.integers(100, 3500), st.integers(64, 13000)), min_size=1, max_size=3
    ),
    more=st.integers(0, 20),
)
def test_never_fewer_nodes_than_the_sum_needs_and_never_fewer_for_more_pods(
    kinds: list[tuple[int, int, int]], more: int
) -> None:
    pods = [Pods(count, Room(millicores, mib)) for count, millicores, mib in kinds]
    nodes, room = nodes_for(pods, NODE, daemons=DAEMONS), NODE.less(DAEMONS)
    assert nodes >= ceil(sum(kind.count * kind.size.millicores for kind in pods) / room.millicores)
    assert nodes >= ceil(sum(kind.count * kind.size.mib for kind in pods) / room.mib)
    assert nodes <= sum(kind.count for kind in pods)
    last = pods[-1]
    assert nodes <= nodes_for([*pods[:-1], Pods(last.count + more, last.size)], NODE, daemons=DAEMONS)
