"""The seam between a keeper and its tasks, without any other fault: rounds on one worker of four slots.

Each round is a task that meets its soft limit while it reports, honest neighbours, and one that leaves a timer, a thread, a
fork or a process behind. Whatever of them reached another job would be seen there.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import ClassVar

from tests.faults.mixed.hostile.kinds import KINDS
from tests.faults.mixed.longhaul_side import LonghaulSide
from tests.faults.mixed.work import Order, hostile_order, plain_order

NEIGHBOURS = 3
NEIGHBOUR_SECONDS = 0.05
SOFT = ("soft.saves", "soft.loops", "soft.swallowed", "soft.async", "soft.in_error")
LEAVING = (
    "alarm.caught",
    "alarm.uncaught",
    "alarm.reports",
    "alarm.left_on",
    "thread.reports",
    "fork.reports",
    "fork.returns",
    "fork.raises",
    "fork.exits",
    "process.left",
    "process.shell",
    "process.daemon",
    "process.deaf",
    "left.handlers",
    "left.mask",
)
JOBS_PER_ROUND = 1 + NEIGHBOURS + 1


class SeamSide(LonghaulSide):
    name: ClassVar[str] = "seam"
    api_count: ClassVar[int] = 1
    worker_count: ClassVar[int] = 1
    controller_count: ClassVar[int] = 1
    slots: ClassVar[int] = 4


def parade(fault: str, *, times: int) -> Iterator[Order]:
    """Every kind of hostile job that shows a fault, so many times, each between honest neighbours."""
    random = Random(f"parade {fault}")
    for number in range(times):
        for kind in [name for name, kind in KINDS.items() if kind.shows == fault]:
            key = f"{fault}-{kind}-{number}"
            yield plain_order(f"{key}-before", random, seconds=NEIGHBOUR_SECONDS)
            yield hostile_order(key, kind, random)
            yield plain_order(f"{key}-after", random, seconds=NEIGHBOUR_SECONDS)


def rounds(seed: int, count: int) -> Iterator[Order]:
    """The orders of so many rounds: every kind in turn, in another order each time."""
    random = Random(f"seam {seed}")
    for number in range(count):
        jobs = [
            hostile_order(f"{seed}-seam-{number}-soft", SOFT[number % len(SOFT)], random),
            hostile_order(f"{seed}-seam-{number}-leaving", LEAVING[number % len(LEAVING)], random),
            *(
                plain_order(f"{seed}-seam-{number}-{neighbour}", random, seconds=random.uniform(0.0, NEIGHBOUR_SECONDS))
                for neighbour in range(NEIGHBOURS)
            ),
        ]
        random.shuffle(jobs)
        yield from jobs
