"""One running attempt, as the keeper holds it. Source: services/worker/src/longhaul_worker/attempt.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from tests.faults.simulation.database import Lease

from longhaul.machine import Job
from longhaul.states import Ending

if TYPE_CHECKING:
    from tests.faults.simulation.worker import Child

Said: TypeAlias = "tuple[tuple[str, ...], float | None, int | None]"
"""Notes, the newest progress, the newest checkpoint."""
INTERVAL_SECONDS = 0.5
NEVER = float("inf")


class Attempt:
    """Lives from the claim until its end is committed, or its lease is lost."""

    __slots__ = (
        "_notes",
        "_progress",
        "_waits",
        "_written_at",
        "checkpoint",
        "child",
        "is_over",
        "job",
        "killed_as",
        "lease",
        "stop_asked",
    )

    def __init__(self, job: Job, child: Child) -> None:
        self.job = job
        """As it was claimed."""
        self.child = child
        self.lease = Lease(job.id, job.epoch)
        self.is_over = False
        """Its outcome is known; it may still wait for its commit."""
        self.killed_as: Ending | None = None
        self.stop_asked = False
        self.checkpoint: int | None = None
        """The newest that is not committed yet."""
        self._progress: float | None = None
        self._notes: list[str] = []
        self._waits = False
        self._written_at = -1e9

    def say(self, type: str, value: int) -> None:
        """What the job says waits for the next write."""
        self._notes.append(type)
        if type == "checkpoint":
            self.checkpoint, self._waits = value, True
        else:
            self._progress = value / 100

    def due_in_seconds(self, now: float) -> float:
        """How long the next write may wait."""
        if not self._notes:
            return NEVER
        return 0.0 if self._waits or self.is_over else max(0.0, self._written_at + INTERVAL_SECONDS - now)

    def take(self) -> Said:
        """What waits, to be written."""
        return tuple(self._notes), self._progress, self.checkpoint

    def wrote(self, said: Said, now: float) -> None:
        """It is committed; what came meanwhile waits on."""
        notes, progress, checkpoint = said
        del self._notes[: len(notes)]
        self._written_at = now
        if self._progress == progress:
            self._progress = None
        if checkpoint is not None and self.checkpoint == checkpoint:
            self.checkpoint = None
            self.release()

    def release(self) -> None:
        """Let the job go on that waits for its checkpoint."""
        if self._waits:
            self._waits = False
            self.child.receive(self.child.go_on, self)

    def close(self) -> None:
        self.is_over = True
        self.release()
