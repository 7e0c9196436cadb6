"""The keeper's side of the session: a child says what its state allows, about the attempt that it runs, or nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest
from tests.unit.worker import session_ends as ends

from longhaul.ids import new_job_id
from longhaul.ledger.claims import Claim
from longhaul.states import Ending
from longhaul_worker.attempt import Attempt
from longhaul_worker.session import frames
from longhaul_worker.session.frames import BrokenFrame
from longhaul_worker.session.server import KeeperSession, State
from longhaul_worker.slots import PoolChild

pytestmark = pytest.mark.anyio

PID = 4711
CLAIM = replace(ends.CLAIM, epoch=2)
CLAIMED = frames.Claimed(
    number=1,
    job_id=CLAIM.job_id,
    epoch=CLAIM.epoch,
    tenant=CLAIM.tenant,
    task=CLAIM.task,
    queue=CLAIM.queue,
    params={},
    checkpoint=None,
    trace_context=None,
    limits=ends.LIMITS,
    start_by=1e12,
)


class Process(ends.PoolProcess):
    """Counts how often it is killed."""

    kills = 0

    def kill(self) -> None:
        self.kills += 1


@dataclass
class Owner:
    """Notes what the session asks of the slots."""

    asked: list[str] = field(default_factory=list)

    def claim(self, _session: KeeperSession, _request: frames.ClaimRequest) -> None:
        self.asked.append("claim")

    def checkpoint(
        self, _session: KeeperSession, _attempt: Attempt, _frame: frames.Checkpoint, _state: bytes | None
    ) -> None:
        self.asked.append("checkpoint")

    def finish(self, _session: KeeperSession, _attempt: Attempt, _frame: frames.Finish, _result: bytes | None) -> None:
        self.asked.append("finish")


class Kept:
    """The session of a pool child, and what it was answered."""

    def __init__(self) -> None:
        self.owner, self.process = Owner(), Process()
        self.answers: list[dict[str, Any]] = []
        self.session = KeeperSession(PID, self._sent, self.owner)
        self.child = PoolChild(self.session, self.process, slot=0)

    def _sent(self, frame: bytes) -> None:
        self.answers.append(orjson.loads(frame[frames.HEADER.size :]))

    def attempt(self, claim: Claim = CLAIM) -> Attempt:
        """An attempt of this child."""
        return Attempt(
            claim,
            self.child,
            cancel_grace_seconds=0.01,
            progress_interval_seconds=0.5,
            on_dirty=lambda: None,
            on_end=lambda _attempt, _end: None,
            random=lambda: 0.5,
        )

    async def run(self) -> Attempt:
        """The child asks for a job and gets one."""
        await self.session.receive(frames.ClaimRequest(number=1, queue="work"), None)
        self.session.assign(attempt := self.attempt(), CLAIMED)
        return attempt


@pytest.fixture
async def kept() -> Kept:
    return Kept()


NAMES: dict[str, Any] = {"job_id": CLAIM.job_id, "epoch": CLAIM.epoch, "pid": PID}
OTHERS = {
    "another job": {"job_id": new_job_id()},
    "another epoch": {"epoch": CLAIM.epoch - 1},
    "another pid": {"pid": 1},
}


def reports(**other: Any) -> list[frames.FromChild]:
    """A frame of each kind that an attempt may send."""
    names = NAMES | other
    return [
        frames.Progress(fraction=0.5, message="half", **names),
        frames.LogLine(level="info", message="line", **names),
        frames.Checkpoint(number=7, **names),
        frames.Finish(number=8, ending=Ending.SUCCEEDED, **names),
    ]


async def test_what_an_attempt_says_is_heard(kept: Kept) -> None:
    attempt = await kept.run()
    for frame in reports():
        await kept.session.receive(frame, b"{}")
    assert [note.type for note in attempt.take().notes] == ["progress", "log"]
    assert kept.owner.asked == ["claim", "checkpoint", "finish"]
    assert kept.session.state is State.FINISHING


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
async def test_what_is_said_about_another_attempt_is_refused_and_books_nothing(
    kept: Kept, other: dict[str, Any]
) -> None:
    attempt = await kept.run()
    for frame in reports(**other):
        await kept.session.receive(frame, b"{}")
    assert not attempt.has_notes
    assert kept.owner.asked == ["claim"]
    assert kept.session.state is State.RUNNING
    assert [(answer["op"], answer.get("code"), answer["number"]) for answer in kept.answers[1:]] == [
        ("refused", "attempt_over", 7),
        ("refused", "attempt_over", 8),
    ]


async def test_nothing_is_heard_of_an_attempt_once_it_has_said_how_it_ended(kept: Kept) -> None:
    attempt = await kept.run()
    *said, finish = reports()
    await kept.session.receive(finish, b"{}")
    for frame in [*said, finish]:
        await kept.session.receive(frame, b"{}")
    assert not attempt.has_notes
    assert kept.owner.asked == ["claim", "finish"]


@pytest.mark.parametrize("state", [state for state in State if state is not State.IDLE])
async def test_a_child_that_is_not_idle_may_not_ask_for_a_job(kept: Kept, state: State) -> None:
    await kept.session.receive(frames.ClaimRequest(number=1, queue="work"), None)
    if state is not State.CLAIMING:
        kept.session.assign(kept.attempt(), CLAIMED)
    if state is State.FINISHING:
        await kept.session.receive(frames.Finish(number=2, ending=Ending.SUCCEEDED, **NAMES), b"{}")
    with pytest.raises(BrokenFrame, match="asked for a job while it was"):
        await kept.session.receive(frames.ClaimRequest(number=3, queue="work"), None)
    assert kept.owner.asked.count("claim") == 1


async def test_a_kill_names_the_attempt_and_spares_the_next_one_in_the_same_slot(kept: Kept) -> None:
    late = kept.attempt(replace(CLAIM, job_id=new_job_id()))
    attempt = await kept.run()
    kept.child.kill(late)
    assert kept.process.kills == 0
    kept.child.kill(attempt)
    assert kept.process.kills == 1
