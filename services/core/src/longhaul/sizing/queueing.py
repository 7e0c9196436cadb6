"""What queueing theory says about jobs that wait for slots.

Sources: A. K. Erlang, "Solution of some problems in the theory of probabilities" (1917), for the M/M/c queue; A. O.
Allen, "Probability, Statistics and Queueing Theory" (1990), 5.3, for the factor (1 + Cs²) / 2 of other service times,
which is exact with one slot (Pollaczek and Khinchine) and an approximation with more.

Arrivals are Poisson and jobs are taken in turn. Times are in seconds, rates a second. `offered` is the offered load in
erlangs: arrival rate x service time, the mean number of slots that are busy where nobody waits.
"""

from __future__ import annotations

from math import ceil, exp, inf, sqrt
from statistics import NormalDist


def erlang_b(offered: float, slots: int) -> float:
    """The share of jobs that an M/M/c/c system turns away. By recursion, which neither overflows nor loses digits."""
    blocked = 1.0
    for count in range(1, slots + 1):
        blocked = offered * blocked / (count + offered * blocked)
    return blocked


def erlang_c(offered: float, slots: int) -> float:
    """The probability that a job must wait, in M/M/c; 1 where the slots can't carry the load."""
    if offered <= 0:
        return 0.0
    if slots <= offered:
        return 1.0
    blocked = erlang_b(offered, slots)
    return slots * blocked / (slots - offered * (1 - blocked))


def mean_wait_seconds(
    arrivals_per_second: float, service_seconds: float, slots: int, *, service_cv: float = 1.0
) -> float:
    """The mean wait of all jobs, in M/G/c; infinite where the slots can't carry the load.

    `service_cv` is the coefficient of variation of the service time (standard deviation / mean): 1 for M/M/c, where
    this is exact, and 0 for M/D/c.
    """
    offered = arrivals_per_second * service_seconds
    if slots <= offered:
        return inf
    exponential = erlang_c(offered, slots) * service_seconds / (slots - offered)
    return exponential * (1 + service_cv**2) / 2


def wait_exceeds(
    seconds: float, arrivals_per_second: float, service_seconds: float, slots: int, *, service_cv: float = 1.0
) -> float:
    """The probability that a job waits for longer than `seconds`: exact for M/M/c.

    For other service times the waits of those that wait at all are taken as exponential with M/G/c's mean.
    """
    offered = arrivals_per_second * service_seconds
    if slots <= offered:
        return 1.0
    waits = erlang_c(offered, slots)
    mean_of_waiting = service_seconds / (slots - offered) * (1 + service_cv**2) / 2
    if mean_of_waiting == 0:
        return waits if seconds <= 0 else 0.0
    return waits * exp(-seconds / mean_of_waiting)


def slots_for_wait(
    seconds: float,
    probability: float,
    arrivals_per_second: float,
    service_seconds: float,
    *,
    service_cv: float = 1.0,
) -> int:
    """The fewest slots with which at most this share of all jobs waits for longer than `seconds`.

    Raises ValueError unless 0 < probability < 1.
    """
    if not 0 < probability < 1:
        raise ValueError("a probability lies between 0 and 1")
    few = int(arrivals_per_second * service_seconds)  # can't carry the load
    many = few + 1

    def waits_too_long(slots: int) -> bool:
        return wait_exceeds(seconds, arrivals_per_second, service_seconds, slots, service_cv=service_cv) > probability

    while waits_too_long(many):
        few, many = many, many + max(1, many - few) * 2
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (middle, many) if waits_too_long(middle) else (few, middle)
    return many


def square_root_staffing(offered: float, beta: float) -> int:
    """a + beta x sqrt(a), rounded up: the slots that keep the probability of waiting at one level for any load.

    Source: S. Halfin and W. Whitt, "Heavy-traffic limits for queues with many exponential servers" (1981).
    """
    return ceil(offered + beta * sqrt(offered))


def beta_for_wait(probability: float) -> float:
    """The beta with which this share of jobs waits at all, in the limit of Halfin and Whitt."""
    low, high = 0.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _halfin_whitt(middle) > probability else (low, middle)
    return high


def _halfin_whitt(beta: float) -> float:
    """P(wait > 0) = 1 / (1 + beta x Phi(beta) / phi(beta))."""
    normal = NormalDist()
    return 1 / (1 + beta * normal.cdf(beta) / normal.pdf(beta))
