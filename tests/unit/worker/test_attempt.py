"""One attempt as the keeper holds it: what is written when, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.unit.worker.session_ends import CLAIM

from longhaul.ledger.claims import Claim
from longhaul.ledger.leases import AttemptEnd, Note
from longhaul.states import Ending, State
from longhaul_worker.attempt import Attempt
from longhaul_worker.backlog import MAX_BACKLOG_BYTES, MAX_RECORD_BYTES

pytestmark = pytest.mark.anyio


@dataclass
class Recorded:
    """A child process that only notes what it is told."""

    pid: int = 1
    told: list[str] = field(default_factory=list)
    is_killed: asyncio.Event = field(default_factory=asyncio.Event)
    killed_for: Attempt | None = None

    def tell(self, reason: str, claim: Claim) -> None:
        assert claim.epoch == 1
        self.told.append(reason)

    def kill(self, attempt: Attempt) -> None:
        self.killed_for = attempt
        self.is_killed.set()


@pytest.fixture
def start() -> Callable[..., tuple[Attempt, Recorded, list[AttemptEnd]]]:
    def make(interval_seconds: float = 0.5, **claim: Any) -> tuple[Attempt, Recorded, list[AttemptEnd]]:
        child, ends = Recorded(), list[AttemptEnd]()
        attempt = Attempt(
            replace(CLAIM, **claim),
            child,
            cancel_grace_seconds=0.01,
            progress_interval_seconds=interval_seconds,
            on_dirty=lambda: None,
            on_end=lambda _attempt, end: ends.append(end),
            random=lambda: 0.5,
        )
        return attempt, child, ends

    return make


Start = Callable[..., tuple[Attempt, Recorded, list[AttemptEnd]]]


async def test_the_first_progress_is_due_at_once_and_the_next_after_the_interval(start: Start) -> None:
    attempt, _, _ = start(interval_seconds=60)
    assert attempt.due_in_seconds() is None
    attempt.progress(0.1, "a", {})
    assert attempt.due_in_seconds() == 0
    attempt.wrote(attempt.take())
    attempt.progress(0.2, "b", {})
    due = attempt.due_in_seconds()
    assert due is not None
    assert 50 < due <= 60


async def test_newer_progress_replaces_what_waits_but_not_what_is_being_written(start: Start) -> None:
    attempt, _, _ = start()
    attempt.progress(0.1, "a", {})
    record = attempt.take()
    attempt.progress(0.2, "b", {})
    attempt.progress(0.3, "c", {"rows": 3})
    attempt.wrote(record)
    (note,) = attempt.take().notes
    assert note.data == {"fraction": 0.3, "message": "c", "data": {"rows": 3}}


async def test_a_write_that_failed_is_written_again(start: Start) -> None:
    attempt, _, _ = start()
    attempt.log("info", "first", {})
    attempt.take()
    attempt.keep()
    attempt.log("info", "second", {})
    assert [note.data["message"] for note in attempt.take().notes] == ["first", "second"]


def write_all(attempt: Attempt) -> list[Note]:
    written: list[Note] = []
    while attempt.has_notes:
        record = attempt.take()
        assert sum(len(str(note.data)) for note in record.notes) <= 1.1 * MAX_RECORD_BYTES
        attempt.wrote(record)
        written += record.notes
    return written


async def test_while_the_ledger_is_up_no_line_is_dropped_and_the_task_waits_for_room(start: Start) -> None:
    attempt, _, _ = start()
    lines = [f"{number} {'x' * 5000}" for number in range(200)]
    for line in lines:
        attempt.log("info", line, {})
    waiting = asyncio.ensure_future(attempt.wait_for_room())
    await asyncio.sleep(0)
    assert not waiting.done()
    assert attempt.due_in_seconds() == 0
    assert [note.data["message"] for note in write_all(attempt)] == lines
    await waiting


async def test_the_rest_of_a_dead_process_waits_for_no_room(start: Start) -> None:
    """In a database that hangs nothing makes room, and what is not heard soon after its death is lost."""
    attempt, _, _ = start()
    lines = [f"{number} {'x' * 5000}" for number in range(60)]
    attempt.hear_the_rest()
    for line in lines:
        attempt.log("info", line, {})
        await asyncio.wait_for(attempt.wait_for_room(), 1)
    assert [note.data["message"] for note in write_all(attempt)] == lines


async def test_while_the_ledger_is_away_the_oldest_lines_go_and_a_mark_counts_them(start: Start) -> None:
    attempt, _, _ = start()
    attempt.log("info", "in flight", {})
    in_flight = attempt.take()
    attempt.set_ledger_up(False)
    lines = [f"{number} {'x' * 5000}" for number in range(200)]
    for line in lines:
        attempt.log("info", line, {})
        await asyncio.wait_for(attempt.wait_for_room(), 1)
    attempt.checkpoint(b"1")
    attempt.set_ledger_up(True)
    attempt.wrote(in_flight)
    mark, *kept, checkpoint = write_all(attempt)
    assert checkpoint.type == "checkpoint"
    assert [note.data["message"] for note in kept] == lines[-len(kept) :]
    assert mark.data["dropped"] == len(lines) - len(kept)
    assert len(kept) * 5000 <= MAX_BACKLOG_BYTES


async def test_a_checkpoint_loop_without_a_ledger_keeps_one_note(start: Start) -> None:
    attempt, _, _ = start()
    attempt.set_ledger_up(False)
    for number in range(1000):
        assert attempt.checkpoint(str(number).encode()).done()
    record = attempt.take()
    assert (len(record.notes), record.checkpoint) == (1, "999")


async def test_a_checkpoint_is_due_at_once_and_answers_once_it_is_written(start: Start) -> None:
    attempt, _, _ = start(interval_seconds=60)
    attempt.log("info", "x", {})
    attempt.wrote(attempt.take())
    saved = attempt.checkpoint(b'{"step":1}')
    assert attempt.due_in_seconds() == 0
    record = attempt.take()
    assert record.checkpoint == '{"step":1}'
    assert not saved.done()
    attempt.wrote(record)
    assert saved.done()
    assert attempt.take().checkpoint is None


async def test_a_checkpoint_that_waits_goes_with_the_end(start: Start) -> None:
    attempt, _, ends = start()
    attempt.checkpoint(b'{"step":1}')
    attempt.set_ledger_up(False)  # the database is away: the job goes on
    attempt.finish(Ending.HANDED_OVER)
    assert (ends[0].checkpoint, ends[0].transition.state) == ('{"step":1}', State.QUEUED)


async def test_an_attempt_ends_once(start: Start) -> None:
    attempt, _, ends = start()
    attempt.finish(Ending.SUCCEEDED, result=b"{}")
    attempt.finish(Ending.PERMANENT)
    attempt.died({"signal": "SIGKILL"})
    assert [end.ending for end in ends] == [Ending.SUCCEEDED]


async def test_while_its_result_is_stored_only_the_platform_ends_it(start: Start) -> None:
    attempt, child, ends = start(timeout_seconds=0.01)
    attempt.settle()
    attempt.died({"signal": "SIGKILL"})
    await asyncio.sleep(0.05)  # past its time limit
    assert not ends
    attempt.kill(Ending.HANDED_OVER)
    attempt.finish(Ending.SUCCEEDED, result=b"{}")
    assert [end.ending for end in ends] == [Ending.HANDED_OVER]
    assert not child.is_killed.is_set()


async def test_a_cancelled_job_is_told_once_and_then_killed(start: Start) -> None:
    attempt, child, ends = start()
    attempt.ask_to_cancel()
    attempt.ask_to_cancel()
    assert child.told == ["cancel"]
    await child.is_killed.wait()
    attempt.died({"signal": "SIGKILL"})
    assert ends[0].ending is Ending.CANCELLED


async def test_only_a_job_that_can_resume_is_asked_to_hand_over(start: Start) -> None:
    attempt, child, _ = start(interruptible=False)
    attempt.ask_to_hand_over()
    assert child.told == []
    attempt, child, _ = start(interruptible=True)
    attempt.ask_to_hand_over()
    assert child.told == ["drain"]


async def test_the_hard_limit_kills(start: Start) -> None:
    attempt, child, ends = start(timeout_seconds=0.01)
    await child.is_killed.wait()
    attempt.died({"signal": "SIGKILL"})
    assert (ends[0].ending, (ends[0].error or {})["code"]) == (Ending.TIMED_OUT, "timeout")


@pytest.mark.parametrize(
    ("evidence", "code"),
    [
        ({"signal": "SIGSEGV"}, "crash"),
        ({"exit_code": 3}, "crash"),
        ({"signal": "SIGKILL", "oom_killed": True}, "out_of_memory"),
    ],
)
async def test_a_death_of_its_own_is_a_crash_with_its_cause(start: Start, evidence: dict[str, Any], code: str) -> None:
    attempt, _, ends = start()
    attempt.died(evidence)
    assert ends[0].ending is Ending.CRASHED
    assert ends[0].evidence == evidence
    assert (ends[0].error or {})["code"] == code


async def test_a_lost_lease_stops_the_process_and_writes_nothing(start: Start) -> None:
    attempt, child, ends = start()
    saved = attempt.checkpoint(b"1")
    attempt.lose()
    assert child.killed_for is attempt
    assert saved.done()
    attempt.finish(Ending.SUCCEEDED, result=b"{}")
    assert ends == []


async def test_text_that_postgresql_can_not_hold_is_escaped_and_a_tiny_fraction_rounded(start: Start) -> None:
    attempt, _, _ = start()
    attempt.progress(1e-60, "a\0b", {})
    record = attempt.take()
    assert (record.progress, record.progress_message) == (0.0, r"a\x00b")


@pytest.mark.parametrize("result", [b"NaN", b'{"x":1e400}', b"[" * 2000 + b"]" * 2000, b"\xff", b"", b"{"])
async def test_a_result_that_nobody_could_read_ends_the_attempt_as_unstorable(start: Start, result: bytes) -> None:
    attempt, _, ends = start()
    attempt.finish(Ending.SUCCEEDED, result=result)
    assert (ends[0].ending, (ends[0].error or {})["code"], ends[0].result) == (Ending.PERMANENT, "unstorable", None)
