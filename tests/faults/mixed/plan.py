"""Which fault comes when: drawn from one seed, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Planned:
    at_seconds: float
    """After the start of the run."""
    kind: str
    pick: float
    """From 0 to 1: chooses the process, where there are several."""


def draw(seed: int, kinds: Sequence[str], *, seconds: float, count: int) -> list[Planned]:
    """`count` faults spread over a run, each kind as often as the others: dealt from decks that are shuffled anew."""
    random = Random(seed)
    dealt: list[str] = []
    while len(dealt) < count:
        deck = sorted(kinds)
        random.shuffle(deck)
        dealt += deck
    gap = seconds / count
    return [
        Planned(at_seconds=(number + random.random()) * gap, kind=kind, pick=random.random())
        for number, kind in enumerate(dealt[:count])
    ]
