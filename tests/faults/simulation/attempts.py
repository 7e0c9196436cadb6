"""What really happened in an attempt, as its own process and the faults saw it: what the ledger is told must follow."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from tests.faults.simulation import tasks
from tests.faults.simulation.tasks import Fortune
from tests.reference_model import Job

from longhaul.ledger.leases import AttemptEnd, Lease, Note
from longhaul.states import Ending

_NOT_NORMAL = (Ending.CRASHED, Ending.LEASE_LOST)


@dataclass
class AttemptLog:
    """Of one attempt."""

    lease: Lease
    claimed_at: float = 0.0
    owner: UUID | None = None
    lines: list[str] = field(default_factory=list)
    """Log lines that left its process, in order."""
    written: int = 0
    """How many of them are written, or counted as dropped."""
    is_started: bool = False
    """A process began with it."""
    outcome: Ending | None = None
    """As its process reported it."""
    causes: set[str] = field(default_factory=set)
    """What was done to it, or what it did to itself."""
    is_refused: bool = False
    """It said something that can't be stored."""

    def check(self, note: Note, params: tasks.Params) -> str | None:
        """Whether this attempt said so, and this now. Returns what is wrong."""
        data, epoch = note.data, self.lease.epoch
        if note.type == "progress":
            step = data.get("data", {}).get("step")
            if not isinstance(step, int) or data["message"] != tasks.message(params, epoch, step):
                return "progress of another attempt"
            if data["fraction"] != round(step / params.steps, 6):
                return "progress that nobody reported"
        elif note.type == "log":
            return self._check_line(data, params)
        return None

    def _check_line(self, data: dict[str, object], params: tasks.Params) -> str | None:
        message = data["message"]
        if str(message).startswith("What the task reported can't be stored"):
            self.is_refused = True
            return None if params.fortune(self.lease.epoch) in tasks.UNSTORABLE else "refused, and nothing was wrong"
        if isinstance(dropped := data.get("dropped"), int):
            if "outage" not in self.causes:
                return "log lines were dropped while the ledger was there"
            self.written += dropped
            return None if self.written <= len(self.lines) else "more lines were dropped than there were"
        if self.is_refused:
            return None
        if self.written >= len(self.lines) or message != self.lines[self.written]:
            return f"a log line that is lost, doubled, out of order or another attempt's (line {self.written})"
        self.written += 1
        return None

    def check_end(self, one: AttemptEnd, before: Job, params: tasks.Params, *, now: float) -> str | None:
        """Whether this attempt ended so. Returns what is wrong."""
        problem = self._explain(one, before, params, now=now)
        if problem is not None:
            return problem
        is_lost = self.is_refused or "keeper_lost" in self.causes
        if one.ending is self.outcome and self.written != len(self.lines) and not is_lost:
            return f"I7: {len(self.lines)} log lines were said, and {self.written} written or counted as dropped"
        return None

    def _explain(self, one: AttemptEnd, before: Job, params: tasks.Params, *, now: float) -> str | None:
        fortune, code = params.fortune(self.lease.epoch), (one.error or {}).get("code")
        if one.ending is self.outcome:
            return None
        match one.ending:
            case Ending.SUCCEEDED:
                return "I7: it succeeded, and did not say so"
            case Ending.PERMANENT:
                known = {"unstorable": fortune in tasks.UNSTORABLE, "result_too_large": fortune is Fortune.IS_TOO_LARGE}
                return None if known.get(str(code)) else "I6: it failed, and nothing was wrong with it"
            case Ending.TRANSIENT:
                return None if "store_away" in self.causes else "I6: tried again, and nothing was wrong with it"
            case Ending.CRASHED:
                if not self.is_started:
                    return None  # its process was killed while the claim was under way
                return None if self.causes & {"killed", "exits", "broke"} else "I6: its process was well"
            case Ending.TIMED_OUT:
                in_time = now - self.claimed_at < params.timeout_seconds
                return "I6: it had time left" if in_time else None
            case Ending.CANCELLED:
                return None if before.cancel_requested else "I6: nobody cancelled it"
            case Ending.HANDED_OVER:
                if not self.is_started:
                    return None  # it was claimed for a process that died meanwhile
                return None if "drained" in self.causes else "I6: nothing asked it to hand over"
        return "I6: its owner ended it as lost"
