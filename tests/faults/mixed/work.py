"""What the client asks for: jobs drawn from the run's seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from random import Random
from typing import Any

from tests.faults.mixed.hostile.kinds import KINDS

STEP_SECONDS = 1.0
"""Between two checkpoints of a job that saves any."""
VARIANTS = 256
"""Of a hostile kind."""


@dataclass(frozen=True)
class Order:
    """One job that the client wants done, whatever it takes."""

    key: str
    """Its idempotency key."""
    task: str
    token: str
    """Its own: whatever the job reports follows from this."""
    seconds: float = 0.0
    steps: int = 1
    fails: int = 0
    kind: str = ""
    """Of a hostile job: what it does. Honest jobs have none, but those that meet name their meeting here."""
    variant: int = 0
    cancel: bool = False
    """The client cancels it as soon as it is accepted."""

    @property
    def is_hostile(self) -> bool:
        return self.kind in KINDS

    @property
    def params(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "token": self.token,
            "seconds": round(self.seconds, 3),
            "steps": self.steps,
            "fails": self.fails,
            "kind": self.kind,
            "variant": self.variant,
        }


def orders(seed: int, *, hostile_share: float) -> Iterator[Order]:
    """Without end. An honest job takes 0.3 s on average: most some milliseconds, some several seconds."""
    # Streams of their own: both sides of a comparison are asked for the same honest jobs.
    honest, hostile, choice = Random(f"orders {seed}"), Random(f"hostile {seed}"), Random(f"choice {seed}")
    names, weights = list(KINDS), [kind.weight for kind in KINDS.values()]
    number = 0
    while True:
        number += 1
        key = f"{seed}-{number}"
        if choice.random() < hostile_share:
            yield hostile_order(key, hostile.choices(names, weights)[0], hostile)
        else:
            yield honest_order(key, honest)


def hostile_order(key: str, kind: str, random: Random) -> Order:
    return Order(key, KINDS[kind].task, token(random), kind=kind, variant=random.randrange(VARIANTS))


def meeting(name: str, count: int) -> list[Order]:
    """Jobs that end once all of them run at the same time."""
    random = Random(name)
    return [
        Order(f"{name}-{number}", "mixed.meeting", token(random), kind=name, variant=count) for number in range(count)
    ]


def plain_order(key: str, random: Random, *, seconds: float, fails: int = 0) -> Order:
    return Order(key, "mixed.plain", token(random), seconds, random.randint(1, 3), fails)


def token(random: Random) -> str:
    return f"tk-{random.getrandbits(64):016x}"


def honest_order(key: str, random: Random) -> Order:
    share = random.random()
    if share < 0.80:
        return plain_order(key, random, seconds=random.expovariate(1 / 0.02))
    if share < 0.92:
        return plain_order(key, random, seconds=random.uniform(0.05, 1.0))
    if share < 0.98:
        return _steps(key, random, seconds=random.uniform(0.5, 5.0))
    if share < 0.987:
        return _steps(key, random, seconds=random.uniform(5.0, 12.0))
    if share < 0.991:
        return plain_order(key, random, seconds=0.01, fails=1)
    if share < 0.994:
        return _steps(key, random, seconds=random.uniform(0.5, 3.0), fails=1)
    if share < 0.9995:
        return _steps(key, random, seconds=random.uniform(0.0, 2.0), cancel=True)
    return Order(key, "mixed.stubborn", token(random), 14.0, cancel=True)


def _steps(key: str, random: Random, *, seconds: float, fails: int = 0, cancel: bool = False) -> Order:
    steps = max(1, ceil(seconds / STEP_SECONDS))
    return Order(key, "mixed.steps", token(random), seconds, steps, fails, cancel=cancel)
