"""One running attempt, as the keeper holds it: what it said, its deadlines, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

import orjson
import structlog

from longhaul.ledger.claims import Claim
from longhaul.ledger.leases import AttemptEnd, Lease, Note, Record
from longhaul.results import StoredResult
from longhaul.states import Ending, State, decide
from longhaul.values import clean_text
from longhaul_worker.backlog import Backlog

_log = structlog.get_logger(__name__)

FRACTION_DIGITS: Final = 6
"""Of progress: the ledger keeps it as a `real`, which can't hold 1e-60."""


class Child(Protocol):
    """The process that runs the attempt."""

    @property
    def pid(self) -> int: ...

    def tell(self, reason: str, claim: Claim) -> None:
        """Ask the task to stop: `cancel`, `drain` or `soft_timeout`."""

    def kill(self, attempt: Attempt) -> None:
        """End the process with all that it started, if it still runs this attempt."""


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
        self.in_flight: Record | None = None
        """A record that was sent, and whose answer is not there."""
        self.reports_written = 0
        """Events of what the job said, as far as the ledger has answered."""
        self.is_over = False
        """Its outcome is known; it may still wait for its commit."""
        self._is_settled = False
        self._loop = asyncio.get_running_loop()
        self.started = self._loop.time()
        self._cancel_grace_seconds = cancel_grace_seconds
        self._on_dirty = on_dirty
        self._on_end = on_end
        self._random = random
        self._backlog = Backlog(progress_interval_seconds, self._loop.time)
        self._room = asyncio.Event()
        self._room.set()
        self._is_process_dead = False
        self._is_ledger_up = True
        self._checkpoint: bytes | None = None
        self._checkpoint_saved: list[asyncio.Future[None]] = []
        self._killed_as: tuple[Ending, dict[str, Any] | None] | None = None
        self._stop_asked = False
        self._timers = [self._loop.call_later(claim.timeout_seconds, self._time_out)]
        if claim.soft_timeout_seconds is not None and claim.soft_timeout_seconds < claim.timeout_seconds:
            self._timers.append(self._loop.call_later(claim.soft_timeout_seconds, self._tell, "soft_timeout"))

    # What the job says.

    def progress(self, fraction: float, message: str, data: dict[str, Any]) -> None:
        """The newest progress replaces what still waits."""
        fraction, message = round(fraction, FRACTION_DIGITS), clean_text(message)
        self._backlog.replace(
            Note(type="progress", data={"fraction": fraction, "message": message, **({"data": data} if data else {})})
        )
        self._backlog.progress = (fraction, message)
        self._on_dirty()

    def log(self, level: str, message: str, fields: dict[str, Any]) -> None:
        """Every line is kept, in order. Only while the ledger is away the oldest go, and a mark says how many."""
        self._backlog.add(
            Note(type="log", data={"level": level, "message": message, **({"fields": fields} if fields else {})})
        )
        self._bound_backlog()
        self._on_dirty()

    async def wait_for_room(self) -> None:
        """Until the attempt may say more: what it said is written, or nobody can write it."""
        await self._room.wait()

    def hear_the_rest(self) -> None:
        """Its process is dead: no more is to come than its socket holds, and nobody is left to wait for room."""
        self._is_process_dead = True
        self._room.set()

    def checkpoint(self, state: bytes) -> asyncio.Future[None]:
        """Keep a checkpoint (JSON text). The future is done once it is committed, or kept here while the ledger is away."""
        self._checkpoint = state
        self._backlog.replace(Note(type="checkpoint", data={"size_bytes": len(state)}))
        saved: asyncio.Future[None] = self._loop.create_future()
        if self._is_ledger_up and not self.is_over:
            self._checkpoint_saved.append(saved)
        else:
            saved.set_result(None)
        self._on_dirty()
        return saved

    # What goes to the ledger.

    @property
    def has_notes(self) -> bool:
        """Something that the job said is not written yet."""
        return bool(self._backlog.notes)

    def due_in_seconds(self) -> float | None:
        """How long the next write may wait: not at all after a quiet time, for a checkpoint, or if the backlog is large;
        None if there is nothing to write."""
        if not self._backlog.notes:
            return None
        if self._checkpoint_saved or self.is_over or not self._room.is_set():
            return 0.0
        return self._backlog.due_in_seconds()

    def take(self) -> Record:
        """What waits, or its first bite. It is in flight until `wrote`, `refuse` or `keep` is called."""
        notes, is_all = self._backlog.take()
        fraction, message = self._backlog.progress or (None, None)
        self.in_flight = Record(
            lease=self.lease,
            notes=notes,
            progress=fraction,
            progress_message=message,
            checkpoint=self._checkpoint.decode() if is_all and self._checkpoint is not None else None,
        )
        return self.in_flight

    def wrote(self, record: Record) -> None:
        """A record that `take` gave is committed."""
        self.reports_written += len(record.notes)
        if self._backlog.progress == (record.progress, record.progress_message):
            self._backlog.progress = None
        self._landed(record)

    def refuse(self, record: Record) -> None:
        """The ledger refused a record that `take` gave, and took one note about that instead."""
        self.reports_written += 1
        self._backlog.progress = None
        self._landed(record)

    def keep(self) -> None:
        """A record that `take` gave was not written: it waits again."""
        self.in_flight = None
        self._backlog.keep()

    def _landed(self, record: Record) -> None:
        self.in_flight = None
        self._backlog.wrote()
        if record.checkpoint is not None and self._checkpoint == record.checkpoint.encode():
            self._checkpoint = None
            self._release_checkpoints()
        self._bound_backlog()

    def set_ledger_up(self, is_up: bool) -> None:
        """Whether what the job says is being written. While it is not, nobody waits for that."""
        self._is_ledger_up = is_up
        if not is_up:
            self._release_checkpoints()
        self._bound_backlog()

    def _bound_backlog(self) -> None:
        if self._is_ledger_up and not self.is_over and not self._is_process_dead:
            (self._room.clear if self._backlog.is_full else self._room.set)()
            return
        self._room.set()
        if not self._is_ledger_up:
            self._backlog.drop_oldest()

    def _release_checkpoints(self) -> None:
        for saved in self._checkpoint_saved:
            if not saved.done():
                saved.set_result(None)
        self._checkpoint_saved.clear()

    # How it ends.

    def ask_to_cancel(self) -> None:
        """Someone cancelled the job: the task is asked to stop, and killed if it does not within the grace."""
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
        """End the process; the attempt ends as `ending` once it is dead. At once if the task has returned."""
        if self._is_settled:
            self.finish(ending, error=error)
        elif self.child is not None and not self.is_over:
            self._killed_as = self._killed_as or (ending, error)
            self.child.kill(self)

    def finish(
        self,
        ending: Ending,
        *,
        result: bytes | None = None,
        stored: StoredResult | None = None,
        error: dict[str, Any] | None = None,
        delay_seconds: float | None = None,
        evidence: dict[str, Any] | None = None,
    ) -> None:
        """The attempt is over: decide what becomes of the job, and hand it to be committed."""
        if self.is_over:
            return
        if result is not None and (problem := _find_problem(result)) is not None:
            ending, result = Ending.PERMANENT, None
            error = {"code": "unstorable", "message": f"The result can't be stored as JSON: {problem}."}
        transition = decide(ending, self.claim.budget, jitter=self._random(), delay_seconds=delay_seconds)
        if transition.state in (State.FAILED, State.DEAD) and error is None:
            error = {"code": str(ending), "message": f"The attempt ended as {ending}."}
        end = AttemptEnd(
            lease=self.lease,
            ending=ending,
            transition=transition,
            result=result.decode() if result is not None else None,
            stored=stored,
            error=error,
            evidence=evidence or {},
            checkpoint=self._checkpoint.decode() if self._checkpoint is not None else None,
        )
        self._over()
        self._on_end(self, end)

    def died(self, evidence: dict[str, Any]) -> None:
        """The process is dead: by this keeper's hand, or by its own."""
        if self.is_over or self._is_settled:
            return
        if self._killed_as is not None:
            ending, error = self._killed_as
            self.finish(ending, error=error, evidence=evidence)
            return
        is_out_of_memory = bool(evidence.get("oom_killed"))
        cause = "it was killed for memory" if is_out_of_memory else f"it ended with {_how(evidence)}"
        error = {
            "code": "out_of_memory" if is_out_of_memory else "crash",
            "message": f"The process that ran this job died: {cause}.",
        }
        self.finish(Ending.CRASHED, error=error, evidence=evidence)

    def lose(self) -> None:
        """The lease is lost: another attempt may run. This one is stopped, and nothing of it is written."""
        _log.warning("lease_lost", job_id=str(self.claim.job_id), epoch=self.claim.epoch)
        if self.child is not None and not self.is_over:
            self.child.kill(self)
        self._over()

    def _over(self) -> None:
        self.is_over = True
        for timer in self._timers:
            timer.cancel()
        self._release_checkpoints()
        self._room.set()

    def _time_out(self) -> None:
        limit = self.claim.timeout_seconds
        self.kill(Ending.TIMED_OUT, {"code": "timeout", "message": f"The attempt ran past its limit of {limit:g} s."})

    def _tell(self, reason: str) -> None:
        if self.child is not None and not self.is_over:
            self.child.tell(reason, self.claim)


def _find_problem(result: bytes) -> str | None:
    """Why nobody could read this JSON text back; None if everybody can."""
    try:
        orjson.loads(result)
    except ValueError as error:
        return clean_text(error, max_bytes=300)
    return None


def _how(evidence: dict[str, Any]) -> str:
    if signal := evidence.get("signal"):
        return str(signal)
    if (code := evidence.get("exit_code")) is None:
        return "an exit code that nobody saw"
    name = evidence.get("exit_name")
    return f"exit code {code}" + (f" ({name})" if name else "")
