"""One running attempt, as the keeper holds it: what it said, its deadlines, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from longhaul.ledger.claims import Claim
from longhaul.ledger.leases import AttemptEnd, Lease, Note, Record
from longhaul.results import StoredResult
from longhaul.states import Ending, State, decide

_log = structlog.get_logger(__name__)

NOTES_AT_MOST = 1000
"""Notes that wait for the database; past that the oldest log lines go."""


class Child(Protocol):
    """The process that runs the attempt."""

    pid: int

    def tell(self, op: str, claim: Claim) -> None: ...
    def kill(self) -> None: ...


class Attempt:
    """Lives from the claim until its end is committed, or its lease is lost. Used by the keeper's loop only."""

    def __init__(
        self,
        claim: Claim,
        child: Child,
        *,
        cancel_grace_seconds: float,
        progress_interval_seconds: float,
        on_dirty: Callable[[], None],
        on_end: Callable[[Attempt, AttemptEnd], None],
        random: Callable[[], float],
    ) -> None:
        self.claim = claim
        self.child: Child | None = child
        self.lease = Lease(job_id=claim.job_id, epoch=claim.epoch)
        self.peak_memory_bytes: int | None = None
        self.is_over = False
        """Its outcome is known; it may still wait for its commit."""
        self._is_settled = False
        self._loop = asyncio.get_running_loop()
        self.started = self._loop.time()
        self._cancel_grace_seconds = cancel_grace_seconds
        self._interval_seconds = progress_interval_seconds
        self._on_dirty = on_dirty
        self._on_end = on_end
        self._random = random
        self._notes: list[Note] = []
        self._in_flight = 0
        self._written_at = -1e9
        self._progress: tuple[float, str] | None = None
        self._checkpoint: str | None = None
        self._checkpoint_saved: list[asyncio.Future[None]] = []
        self._killed_as: tuple[Ending, dict[str, Any] | None] | None = None
        self._stop_asked = False
        self._timers = [self._loop.call_later(claim.timeout_seconds, self._time_out)]
        if claim.soft_timeout_seconds is not None and claim.soft_timeout_seconds < claim.timeout_seconds:
            self._timers.append(self._loop.call_later(claim.soft_timeout_seconds, self._tell, "soft_timeout"))

    # What the job says.

    def progress(self, fraction: float, message: str, data: dict[str, Any]) -> None:
        """The newest progress replaces what still waits."""
        message = message.replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL's text can't hold it
        note = Note(
            type="progress", data={"fraction": fraction, "message": message, **({"data": data} if data else {})}
        )
        self._progress = (fraction, message)
        waiting = range(self._in_flight, len(self._notes))
        position = next((i for i in reversed(waiting) if self._notes[i].type == "progress"), None)
        if position is not None:
            del self._notes[position]
        self._notes.append(note)
        self._on_dirty()

    def log(self, level: str, message: str, fields: dict[str, Any]) -> None:
        """Log lines are kept in order; only where the database is away for long the oldest go."""
        if len(self._notes) - self._in_flight >= NOTES_AT_MOST:
            del self._notes[self._in_flight]
        self._notes.append(
            Note(type="log", data={"level": level, "message": message, **({"fields": fields} if fields else {})})
        )
        self._on_dirty()

    def checkpoint(self, state: str) -> asyncio.Future[None]:
        """Keep a checkpoint (JSON text); the future is done once it is committed."""
        self._checkpoint = state
        self._notes.append(Note(type="checkpoint", data={"size_bytes": len(state)}))
        saved: asyncio.Future[None] = self._loop.create_future()
        self._checkpoint_saved.append(saved)
        self._on_dirty()
        return saved

    # What goes to the ledger.

    def due_in_seconds(self) -> float | None:
        """How long the next write may wait: at once after a quiet time or for a checkpoint; None without one."""
        if not self._notes:
            return None
        if self._checkpoint_saved or self.is_over:
            return 0.0
        return max(0.0, self._written_at + self._interval_seconds - self._loop.time())

    def take(self) -> Record:
        """What waits, to be written. `wrote` or `keep` must follow."""
        self._in_flight = len(self._notes)
        fraction, message = self._progress or (None, None)
        return Record(
            lease=self.lease,
            notes=self._notes[: self._in_flight],
            progress=fraction,
            progress_message=message,
            checkpoint=self._checkpoint,
        )

    def wrote(self, record: Record) -> None:
        """A record that `take` gave is committed."""
        del self._notes[: self._in_flight]
        self._in_flight = 0
        self._written_at = self._loop.time()
        if self._progress == (record.progress, record.progress_message):
            self._progress = None
        if record.checkpoint is not None and self._checkpoint == record.checkpoint:
            self._checkpoint = None
            self.release_checkpoints()

    def keep(self) -> None:
        """The write did not happen: what was taken waits again."""
        self._in_flight = 0

    def release_checkpoints(self) -> None:
        """Let a job go on whose checkpoint waits: it is committed, or kept here while the database is away."""
        for saved in self._checkpoint_saved:
            if not saved.done():
                saved.set_result(None)
        self._checkpoint_saved.clear()

    # How it ends.

    def ask_to_cancel(self) -> None:
        """Someone cancelled the job: the task is told, and killed where it does not stop within the grace."""
        if not self._stop_asked and not self.is_over:
            self._stop_asked = True
            self._tell("cancel")
            self._timers.append(self._loop.call_later(self._cancel_grace_seconds, self.kill, Ending.CANCELLED))

    def ask_to_hand_over(self) -> None:
        """This pod must go: a job that can resume is asked to checkpoint."""
        if self.claim.interruptible and not self.is_over:
            self._tell("drain")

    def settle(self) -> None:
        """The task has returned, and its result waits to be stored: no deadline and no death of its process ends it now."""
        self._is_settled = True
        for timer in self._timers:
            timer.cancel()

    def kill(self, ending: Ending, error: dict[str, Any] | None = None) -> None:
        """End the process; the attempt ends as `ending` once it is dead. At once where the task has returned."""
        if self._is_settled:
            self.finish(ending, error=error)
        elif self.child is not None and not self.is_over:
            self._killed_as = self._killed_as or (ending, error)
            self.child.kill()

    def finish(
        self,
        ending: Ending,
        *,
        result: str | None = None,
        stored: StoredResult | None = None,
        error: dict[str, Any] | None = None,
        delay_seconds: float | None = None,
        evidence: dict[str, Any] | None = None,
    ) -> None:
        """The attempt is over: decide what becomes of the job, and hand it to be committed."""
        if self.is_over:
            return
        self._over()
        transition = decide(ending, self.claim.budget, jitter=self._random(), delay_seconds=delay_seconds)
        if transition.state in (State.FAILED, State.DEAD) and error is None:
            error = {"code": str(ending), "message": f"The attempt ended as {ending}."}
        end = AttemptEnd(
            lease=self.lease,
            ending=ending,
            transition=transition,
            result=result,
            stored=stored,
            error=error,
            evidence=evidence or {},
            checkpoint=self._checkpoint,
        )
        self._on_end(self, end)

    def died(self, evidence: dict[str, Any]) -> None:
        """The process is dead: by this keeper's hand, or by its own."""
        if self.is_over or self._is_settled:
            return
        if self._killed_as is not None:
            ending, error = self._killed_as
            self.finish(ending, error=error, evidence=evidence)
            return
        how = evidence.get("signal") or f"exit code {evidence.get('exit_code', 'unknown')}"
        cause = "it was killed for memory" if evidence.get("oom_killed") else f"it ended with {how}"
        code = "out_of_memory" if evidence.get("oom_killed") else "crash"
        error = {"code": code, "message": f"The process that ran this job died: {cause}."}
        self.finish(Ending.CRASHED, error=error, evidence=evidence)

    def lose(self) -> None:
        """The lease is lost: another attempt may run. This one is stopped, and nothing of it is written."""
        _log.warning("lease_lost", job_id=str(self.claim.job_id), epoch=self.claim.epoch)
        if self.child is not None and not self.is_over:
            self.child.kill()
        self._over()

    def _over(self) -> None:
        self.is_over = True
        for timer in self._timers:
            timer.cancel()
        self.release_checkpoints()

    def _time_out(self) -> None:
        limit = self.claim.timeout_seconds
        self.kill(Ending.TIMED_OUT, {"code": "timeout", "message": f"The attempt ran past its limit of {limit:g} s."})

    def _tell(self, op: str) -> None:
        if self.child is not None and not self.is_over:
            self.child.tell(op, self.claim)
