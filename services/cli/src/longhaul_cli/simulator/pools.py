"""What is simulated of a pool: its pods' size, how they scale, and how they go."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from longhaul.sizing.packing import Room
from longhaul_cli.simulator.hpa import DEFAULT_DOWN, DEFAULT_UP, Rules


class Mode(StrEnum):
    """What sets the number of pods."""

    KEDA = "keda"
    """A ScaledObject: KEDA from zero and to zero, an HPA in between."""
    FIXED = "fixed"
    JOB = "job"
    """A ScaledJob: a pod for each job."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A pool of worker pods."""

    name: str = "default"
    queues: tuple[str, ...] = ("default",)
    slots: int = 5
    room: Room = field(default_factory=lambda: Room.of(0.5, 0.5))
    """What a pod requests."""

    mode: Mode = Mode.KEDA
    min_replicas: int = 1
    """And the number of pods, where that is fixed."""
    max_replicas: int = 200
    target: int = 5
    """Jobs for each pod, waiting and running."""
    polling_seconds: float = 5.0
    cooldown_seconds: float = 300.0
    up: Rules = DEFAULT_UP
    down: Rules = DEFAULT_DOWN
    idle_seconds: float = 60.0
    """With `Mode.JOB`: a pod that gets no job for so long ends."""

    drain_seconds: float = 3600.0
    handover_seconds: float = 30.0
    grace_seconds: float = 3660.0
    """From SIGTERM to SIGKILL."""
    has_deletion_costs: bool = True
    """A scale-in takes idle pods first, and pods with a job that can't hand over keep their nodes."""
