"""How far two curves of replicas lie apart. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Replicas at each second, of the real control plane and of the simulator."""

    real: Sequence[int]
    simulated: Sequence[int]

    @property
    def mean_absolute_error(self) -> float:
        """The mean distance, as a share of the real curve's mean."""
        seconds = min(len(self.real), len(self.simulated))
        apart = fmean(abs(a - b) for a, b in zip(self.real[:seconds], self.simulated[:seconds], strict=True))
        return apart / fmean(self.real[:seconds])

    @property
    def most(self) -> tuple[int, int]:
        return max(self.real), max(self.simulated)

    def seconds_to(self, replicas: int) -> tuple[int | None, int | None]:
        """The first second with so many, in each."""
        return seconds_to(self.real, replicas), seconds_to(self.simulated, replicas)


def seconds_to(curve: Sequence[int], replicas: int) -> int | None:
    """None where it never comes there."""
    return next((second for second, count in enumerate(curve) if count >= replicas), None)
