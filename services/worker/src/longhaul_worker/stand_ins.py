"""What is written in place of a value that the ledger can't store, and what tells such a value from a ledger that refuses
everybody. Pure.
"""

from __future__ import annotations

from dataclasses import replace

from longhaul.ledger.leases import AttemptEnd, Note, Record
from longhaul.states import Ending, State, Transition
from longhaul.values import clean_text


def harmless_record(record: Record) -> Record:
    """The same report with values that any ledger can store: one that refuses this too refuses everybody. Not to be
    committed, since it says nothing of what the task said."""
    return replace(
        record,
        notes=[Note(type=note.type, data={}) for note in record.notes],
        progress=None if record.progress is None else 0.0,
        progress_message=None if record.progress_message is None else "",
        checkpoint=None if record.checkpoint is None else "null",
    )


def harmless_end(end: AttemptEnd) -> AttemptEnd:
    """The same for an end."""
    has_result = end.transition.state is State.SUCCEEDED
    return replace(
        end,
        transition=Transition(state=end.transition.state, event=end.transition.event),
        result="null" if has_result else None,
        stored=None,
        error=None if has_result else unstorable(""),
        evidence={},
        checkpoint=None,
    )


def note_of(record: Record, reason: str) -> Record:
    """A line in the job's log instead of what the task reported."""
    return Record(lease=record.lease, notes=[Note(type="log", data={"level": "error", "message": reason})])


def failure_of(end: AttemptEnd, reason: str) -> AttemptEnd:
    """A failure instead of an outcome, with nothing of what that brought."""
    return AttemptEnd(
        lease=end.lease,
        ending=Ending.PERMANENT,
        transition=Transition(state=State.FAILED, event="failed"),
        error=unstorable(reason),
    )


def unstorable(reason: str) -> dict[str, str]:
    """The error of an attempt that brought something that can't be stored."""
    return {"code": "unstorable", "message": reason}


def reason_for(what: str, error_text: str) -> str:
    """A sentence about a refusal, short enough for a log line."""
    return f"{what} can't be stored: {clean_text(error_text, max_bytes=300)}."
