"""Both ends of a session without a socket: what a pool child sends, and what its keeper makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from longhaul.ids import new_job_id
from longhaul.ledger.claims import Claim
from longhaul.states import Budget
from longhaul_worker.attempt import Attempt
from longhaul_worker.session import frames
from longhaul_worker.session.child import AttemptChannel
from longhaul_worker.session.frames import FromChild, FromMain
from longhaul_worker.session.server import KeeperSession

CLAIM = Claim(
    job_id=new_job_id(),
    epoch=1,
    tenant="default",
    task="sample.task",
    queue="work",
    params={},
    checkpoint=None,
    budget=Budget(
        retries=0, retries_max=1, interruptions=0, max_interruptions=1, backoff_seconds=1, backoff_max_seconds=8
    ),
    timeout_seconds=3600,
    soft_timeout_seconds=None,
    interruptible=True,
    trace_context=None,
    waited_seconds=0,
    event_seq=2,
    claimed_at=datetime.now(UTC),
)
LIMITS = frames.Limits(checkpoint_bytes=1000, result_bytes=1000)


class Alarm(Exception):
    """What a signal handler of the task's own raises, in the middle of a call."""


class Wire:
    """The bytes that left the child. A signal can hit the call before a frame has left or after it, and never inside it."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.alarm: str | None = None

    def send(self, frame: bytes) -> None:
        alarm, self.alarm = self.alarm, None
        if alarm == "before":
            raise Alarm
        self.sent += frame
        if alarm == "after":
            raise Alarm

    send_latest = send


@dataclass
class Facts:
    """What is known of one attempt from outside of the code that is tested."""

    attempt: Attempt
    channel: AttemptChannel | None = None
    lines: list[str] = field(default_factory=list)
    """Log lines that left the process as frames of this attempt, in order."""
    progress: set[str] = field(default_factory=set)
    states: set[bytes] = field(default_factory=set)
    ends: list[bytes] = field(default_factory=list)
    booked_states: list[bytes] = field(default_factory=list)
    booked_ends: list[bytes | None] = field(default_factory=list)
    stops: set[str] = field(default_factory=set)
    """That the keeper sent."""

    @property
    def logged(self) -> list[str]:
        return self.noted("log")

    def noted(self, kind: str) -> list[str]:
        """What the attempt booked of a kind."""
        return [note.data["message"] for note in self.attempt._backlog.notes if note.type == kind]

    @property
    def names(self) -> tuple[UUID, int]:
        return self.attempt.claim.job_id, self.attempt.claim.epoch


class Keeper:
    """What a session asks of the slots. It answers when the test wants it to."""

    def __init__(self) -> None:
        self.questions: list[tuple[KeeperSession, Any]] = []
        self.session: KeeperSession | None = None
        self.is_broken = self.has_left = False
        self.of: dict[Attempt, Facts] = {}
        self.to_child = bytearray()

    def may_join(self, _pid: int) -> bool:
        return self.session is None

    def is_main(self, _pid: int) -> bool:
        return False

    def join(self, pid: int, send: Callable[[bytes], None]) -> KeeperSession:
        self.session = KeeperSession(pid, send, self)
        return self.session

    def hear_main(self, frame: FromMain, _send: Callable[[bytes], None]) -> None:
        raise AssertionError(f"{frame} is of Celery's main process")

    def main_left(self) -> None:
        raise AssertionError("Celery's main process never connects here.")

    def kill_broken(self, _session: KeeperSession, _reason: str) -> None:
        self.is_broken = True

    def left(self, _session: KeeperSession) -> None:
        self.has_left = True

    def payload_limit(self, _frame: FromChild | FromMain) -> int:
        return 2000

    def claim(self, session: KeeperSession, request: frames.ClaimRequest) -> None:
        self.questions.append((session, request))

    def checkpoint(
        self, session: KeeperSession, attempt: Attempt, frame: frames.Checkpoint, state: bytes | None
    ) -> None:
        assert state is not None
        self.of[attempt].booked_states.append(state)
        self.questions.append((session, frame))

    def finish(self, session: KeeperSession, attempt: Attempt, frame: frames.Finish, result: bytes | None) -> None:
        self.of[attempt].booked_ends.append(result)
        self.questions.append((session, frame))


class PoolProcess:
    """Of a child that ends when the test says so."""

    def kill(self) -> None:
        """Whoever loses its attempt is killed; here only at the end of a test."""

    async def wait_dead(self) -> None:
        raise AssertionError("nobody asked for that")

    def read_peak_memory_bytes(self) -> None:
        return None


def read_head(frame: bytes | bytearray) -> bytes:
    """Of the first frame in these bytes."""
    head_bytes, _ = frames.HEADER.unpack(frame[: frames.HEADER.size])
    return bytes(frame[frames.HEADER.size : frames.HEADER.size + head_bytes])


async def new_reader() -> asyncio.StreamReader:
    """Of the loop that runs."""
    return asyncio.StreamReader()


async def settle() -> None:
    """Let the loop do all that it can do now."""
    for _ in range(20):
        await asyncio.sleep(0)
