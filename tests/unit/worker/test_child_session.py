"""The pool child's side of the session: whose answer is whose, what can be said when, and no signal inside a frame."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable
from typing import Any

import pytest

from longhaul.errors import AttemptOver, SoftTimeout
from longhaul.ids import new_job_id
from longhaul.states import Ending
from longhaul_worker.session import frames
from longhaul_worker.session.child import EXIT_OUT_OF_STATE, AttemptChannel, ChildSession, State
from longhaul_worker.session.frames import Answer, FromChild, FromMain


class Exited(BaseException):
    """Instead of the end of this process."""

    def __init__(self, code: int) -> None:
        self.code = code


class Outbox:
    """The frames that left the process. `on_send` runs before one has."""

    def __init__(self) -> None:
        self.frames: list[FromChild | FromMain] = []
        self.on_send: Callable[[], None] = lambda: None

    def send(self, frame: bytes) -> None:
        self.on_send()
        head_bytes, payload_bytes = frames.parse_header(frame[: frames.HEADER.size])
        head = frame[frames.HEADER.size : frames.HEADER.size + head_bytes]
        self.frames.append(frames.parse_to_keeper(head, payload_bytes))

    def send_latest(self, frame: bytes) -> None:
        self.send(frame)


def exit(code: int) -> None:
    raise Exited(code)


def new_reply() -> Any:
    return queue.SimpleQueue[Answer | None]()


def idle(*, pid: int | None = None) -> tuple[ChildSession, Outbox]:
    """A child that runs nothing."""
    outbox = Outbox()
    session = ChildSession(outbox, new_reply=new_reply, current_pid=lambda: pid or os.getpid(), exit=exit)
    session.current_pid = os.getpid
    return session, outbox


def new_claimed() -> frames.Claimed:
    return frames.Claimed(
        number=1,
        job_id=new_job_id(),
        epoch=1,
        tenant="acme",
        task="test.work",
        queue="work",
        params={},
        checkpoint=None,
        trace_context=None,
        limits=frames.Limits(checkpoint_bytes=100, result_bytes=100),
        start_by=1e12,
    )


def running(*, pid: int | None = None) -> tuple[ChildSession, AttemptChannel, Outbox]:
    """A child that runs an attempt."""
    session, outbox = idle(pid=pid)
    session.state = State.CLAIMING
    session.claimed(new_claimed())
    channel = session.channel
    assert channel is not None
    channel.in_task = True
    outbox.frames.clear()
    return session, channel, outbox


def asked(outbox: Outbox) -> int:
    """The number of the question that was sent last."""
    question = outbox.frames[-1]
    assert isinstance(question, frames.Checkpoint | frames.Finish | frames.ClaimRequest)
    return question.number


def test_an_answer_reaches_its_own_question_in_whatever_order_they_come() -> None:
    session, channel, outbox = running()
    abandoned = channel.ask_checkpoint(session, b"1")  # a signal took the task away from this one
    first = asked(outbox)
    awaited = channel.ask_checkpoint(session, b"2")
    second = asked(outbox)
    session.receive(frames.Saved(number=second))
    session.receive(frames.Refused(number=first, code="unstorable", message="No."))
    assert awaited.get() == frames.Saved(number=second)
    assert abandoned.get() == frames.Refused(number=first, code="unstorable", message="No.")


def test_a_stop_that_follows_its_job_at_once_is_not_lost() -> None:
    """The thread that listens hears it before the main thread has taken the job."""
    session, _ = idle()
    session.state = State.CLAIMING
    job, earlier = new_claimed(), new_claimed()
    for stopped in (earlier, job):
        session.receive(frames.Stop(job_id=stopped.job_id, epoch=stopped.epoch, reason="cancel"))
    session.claimed(job)
    assert session.channel is not None
    assert session.channel.is_cancelled
    session.end_attempt()
    session.finished(None)
    session.state = State.CLAIMING
    session.claimed(new_claimed())
    assert session.channel is not None
    assert not session.channel.is_cancelled


def test_an_answer_to_no_question_is_dropped_and_counted() -> None:
    session, channel, outbox = running()
    waiting = channel.ask_checkpoint(session, b"1")
    session.receive(frames.Saved(number=asked(outbox) + 7))
    assert session.answers_dropped == 1
    session.receive(frames.Refused(number=asked(outbox), code="unstorable", message="No."))
    assert isinstance(waiting.get(), frames.Refused)


CALLS: dict[str, Callable[[AttemptChannel], object]] = {
    "progress": lambda channel: channel.progress(0.5, "", {}),
    "log": lambda channel: channel.log("info", "x", {}),
    "checkpoint": lambda channel: channel.checkpoint(b"1"),
    "cancelled": lambda channel: channel.cancelled,
    "draining": lambda channel: channel.draining,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_nothing_can_be_said_for_an_attempt_that_is_over(call: Callable[[AttemptChannel], object]) -> None:
    """By a thread that outlived it, while the next job runs or not."""
    session, channel, outbox = running()
    session.end_attempt()
    with pytest.raises(AttemptOver):
        call(channel)
    assert outbox.frames == []


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_process_that_the_task_forked_says_nothing(call: Callable[[AttemptChannel], object]) -> None:
    _, channel, outbox = running(pid=os.getpid() + 1)
    with pytest.raises(AttemptOver):
        call(channel)
    assert outbox.frames == []


def test_whoever_waits_for_an_answer_when_the_attempt_ends_waits_no_more() -> None:
    session, channel, outbox = running()
    waiting = channel.ask_checkpoint(session, b"1")
    number = asked(outbox)
    session.end_attempt()
    assert waiting.get() is None
    session.receive(frames.Saved(number=number))
    assert session.answers_dropped == 1


@pytest.mark.parametrize("call", [CALLS["progress"], CALLS["log"]], ids=["progress", "log"])
def test_a_soft_limit_that_finds_the_task_in_a_call_is_raised_after_it(
    call: Callable[[AttemptChannel], object],
) -> None:
    """Its signal comes while the frame is on its way, which must leave as a whole."""
    _, channel, outbox = running()
    channel.interrupt = channel.on_soft_limit_signal
    outbox.on_send = lambda: channel.stop("soft_timeout")
    with pytest.raises(SoftTimeout):
        call(channel)
    assert len(outbox.frames) == 1
    outbox.on_send = lambda: None
    call(channel)  # it is raised once


def test_a_soft_limit_outside_of_the_tasks_own_code_is_not_raised() -> None:
    _, channel, _ = running()
    channel.interrupt = channel.on_soft_limit_signal
    channel.in_task = False
    channel.stop("soft_timeout")


def test_a_stop_for_another_attempt_is_not_heard() -> None:
    session, channel, _ = running()
    for job_id, epoch in ((new_job_id(), channel.epoch), (channel.job_id, channel.epoch + 1)):
        session.receive(frames.Stop(job_id=job_id, epoch=epoch, reason="cancel"))
    assert not channel.cancelled
    session.receive(frames.Stop(job_id=channel.job_id, epoch=channel.epoch, reason="cancel"))
    assert channel.cancelled


def test_a_child_that_asks_out_of_its_state_ends() -> None:
    session, channel, _ = running()
    with pytest.raises(Exited) as claims:
        session.claim("work")
    assert claims.value.code == EXIT_OUT_OF_STATE
    with pytest.raises(Exited):
        session.finished(None)
    session.end_attempt()
    with pytest.raises(Exited):
        session.end_attempt()
    assert channel.is_over
    outside, _ = idle()
    with pytest.raises(Exited):
        outside.end_attempt()


def test_an_end_names_its_attempt_and_frees_the_child() -> None:
    session, channel, outbox = running()
    outbox.on_send = lambda: session.receive(frames.Finished(number=1))  # to its first question
    session.finish(session.end_attempt(), Ending.SUCCEEDED, result=b"{}")
    (finish,) = outbox.frames
    assert isinstance(finish, frames.Finish)
    assert (finish.job_id, finish.epoch, finish.pid) == (channel.job_id, channel.epoch, os.getpid())
    assert session.state is State.IDLE
