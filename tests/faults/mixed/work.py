"""What the client asks for: jobs drawn from the run's seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any


@dataclass(frozen=True)
class Order:
    """One job that the client wants done, whatever it takes."""

    key: str
    """Its idempotency key."""
    task: str
    seconds: float
    fails: int = 0
    cancel: bool = False
    """The client cancels it as soon as it is accepted."""

    @property
    def params(self) -> dict[str, Any]:
        return {"key": self.key, "seconds": round(self.seconds, 3), "fails": self.fails}


def orders(seed: int) -> Iterator[Order]:
    """Without end. A job takes 0.3 s on average: most some milliseconds, some several seconds."""
    random = Random(f"orders {seed}")
    number = 0
    while True:
        number += 1
        yield _order(f"{seed}-{number}", random)


def _order(key: str, random: Random) -> Order:
    share = random.random()
    if share < 0.80:
        return Order(key, "mixed.plain", random.expovariate(1 / 0.02))
    if share < 0.92:
        return Order(key, "mixed.plain", random.uniform(0.05, 1.0))
    if share < 0.98:
        return Order(key, "mixed.steps", random.uniform(0.5, 5.0))
    if share < 0.987:
        return Order(key, "mixed.steps", random.uniform(5.0, 12.0))
    if share < 0.994:
        return Order(key, "mixed.plain", 0.01, fails=1)
    if share < 0.9995:
        return Order(key, "mixed.steps", random.uniform(0.0, 2.0), cancel=True)
    return Order(key, "mixed.stubborn", 14.0, cancel=True)
