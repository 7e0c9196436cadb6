"""Both ends of the session, joined by bytes that arrive late and in pieces: any frame, signal, delay and death, at any moment.

Whatever happens, what is booked to an attempt was said by it, each answer reaches its own question, a stop reaches nobody but
the attempt that it names, and the two ends agree on what runs once all has arrived.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar
from uuid import UUID

import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.unit.worker.session_ends import (
    CLAIM,
    LIMITS,
    Alarm,
    Facts,
    Keeper,
    PoolProcess,
    Wire,
    new_reader,
    read_head,
    settle,
)

from longhaul.errors import AttemptOver, SoftTimeout
from longhaul.ids import new_job_id
from longhaul.states import Ending
from longhaul_worker.attempt import Attempt
from longhaul_worker.session import child, frames, server
from longhaul_worker.session.child import AttemptChannel, ChildSession
from longhaul_worker.session.frames import Answer
from longhaul_worker.session.server import KeeperSession, SessionServer
from longhaul_worker.slots import PoolChild

STOPS = ("cancel", "drain", "soft_timeout")


class Ended(BaseException):
    """Instead of the end of the child's process."""


class SessionMachine(RuleBasedStateMachine):
    """One pool child after another, each with a keeper's session."""

    pid: ClassVar[int] = 4711

    @initialize()
    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.epoch = 0
        self.words = 0
        self.dead_channels: list[AttemptChannel] = []
        self._start_child()

    def _start_child(self) -> None:
        self.wire, self.keeper, self.facts = Wire(), Keeper(), dict[tuple[UUID, int], Facts]()
        self.running: Facts | None = None
        self.injected = False
        """The task's own code wrote to the socket: from now on the child may break at any frame."""
        self.replies: list[tuple[queue.SimpleQueue[Answer | None], int]] = []
        self.claim_reply: queue.SimpleQueue[Answer | None] | None = None
        self.finish_reply: queue.SimpleQueue[Answer | None] | None = None
        self.session = ChildSession(self.wire, new_reply=self._new_reply, current_pid=lambda: self.pid, exit=self._exit)
        self.reader = self._run(new_reader())
        peers = SessionServer(self.keeper)
        self.conversation = self.loop.create_task(peers.converse(self.pid, self.reader, self.keeper.to_child.extend))

    def _new_reply(self) -> Any:
        reply: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        self.last_reply = reply
        return reply

    def _exit(self, code: int) -> None:
        raise Ended(code)

    def _run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def _channel(self) -> AttemptChannel:
        channel = self.session.channel
        assert channel is not None
        return channel

    def _word(self) -> str:
        self.words += 1
        return f"word {self.words}"

    def _names(self, facts: Facts) -> dict[str, Any]:
        return {"job_id": facts.names[0], "epoch": facts.names[1], "pid": self.pid}

    # The child.

    @precondition(lambda self: self.session.state is child.State.IDLE)
    @rule()
    def child_claims(self) -> None:
        self.claim_reply = self.session.ask_claim("work")  # type: ignore[assignment]

    def _call(self, alarm: str | None, call: Callable[[], object]) -> bool:
        """A call of the task, and whether its frame left the process."""
        before, self.wire.alarm = len(self.wire.sent), alarm
        with suppress(Alarm, SoftTimeout):
            call()
        self.wire.alarm = None
        return len(self.wire.sent) > before

    alarms = st.sampled_from((None, None, "before", "after"))

    @precondition(lambda self: self.running)
    @rule(alarm=alarms)
    def task_logs(self, alarm: str | None) -> None:
        facts, word = self.running, self._word()
        assert facts is not None
        channel = self._channel()
        if self._call(alarm, lambda: channel.log("info", word, {})):
            facts.lines.append(word)

    @precondition(lambda self: self.running)
    @rule(alarm=alarms)
    def task_reports_progress(self, alarm: str | None) -> None:
        facts, word = self.running, self._word()
        assert facts is not None
        channel = self._channel()
        facts.progress.add(word)
        self._call(alarm, lambda: channel.progress(0.5, word, {}))

    @precondition(lambda self: self.running)
    @rule(alarm=alarms)
    def task_saves_a_checkpoint(self, alarm: str | None) -> None:
        """A signal may take the task away from its question; the answer is nobody else's then."""
        facts, state = self.running, f'"{self._word()}"'.encode()
        assert facts is not None
        channel = self._channel()
        facts.states.add(state)

        def ask() -> None:
            with child._Call(channel) as session:
                channel.ask_checkpoint(session, state)

        start = len(self.wire.sent)
        if self._call(alarm, ask):
            question = orjson.loads(read_head(self.wire.sent[start:]))
            self.replies.append((self.last_reply, question["number"]))

    @precondition(lambda self: self.running)
    @rule()
    def signal_of_the_soft_limit(self) -> None:
        facts, channel = self.running, self._channel()
        assert facts is not None
        with suppress(SoftTimeout):
            channel.on_soft_limit_signal()
            return
        assert "soft_timeout" in facts.stops

    @precondition(lambda self: self.running)
    @rule(ending=st.sampled_from((Ending.SUCCEEDED, Ending.TRANSIENT, Ending.CRASHED)))
    def task_ends(self, ending: Ending) -> None:
        facts, result = self.running, f'"{self._word()}"'.encode()
        assert facts is not None
        channel = self.session.end_attempt()
        assert channel is facts.channel
        facts.ends.append(result)
        self.finish_reply = self.session.ask_finish(channel, ending, result=result)  # type: ignore[assignment]
        self.dead_channels.append(channel)
        self.running = None

    # What it must not do, and does.

    @precondition(lambda self: self.dead_channels)
    @rule(data=st.data())
    def thread_goes_on_after_its_attempt(self, data: st.DataObject) -> None:
        channel, before = data.draw(st.sampled_from(self.dead_channels)), bytes(self.wire.sent)
        with pytest.raises(AttemptOver):
            channel.log("info", "late", {})
        with pytest.raises(AttemptOver):
            channel.progress(0.9, "late", {})
        with pytest.raises(AttemptOver):
            channel.checkpoint(b'"late"')
        assert self.wire.sent == before

    @precondition(lambda self: self.running)
    @rule()
    def fork_speaks(self) -> None:
        channel, before = self._channel(), bytes(self.wire.sent)
        own, self.session.current_pid = self.session.current_pid, lambda: self.pid + 1
        with pytest.raises(AttemptOver):
            channel.log("info", "by a fork", {})
        self.session.current_pid = own
        assert self.wire.sent == before

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def task_writes_a_frame_of_another_attempt(self, data: st.DataObject) -> None:
        facts = self.running
        assert facts is not None
        own = self._names(facts)
        other: dict[str, Any] = data.draw(
            st.sampled_from(({"job_id": new_job_id()}, {"epoch": facts.names[1] - 1}, {"pid": self.pid + 1}))
        )
        names = own | other
        frame = data.draw(
            st.sampled_from(
                (
                    frames.LogLine(level="info", message="another's", **names),
                    frames.Progress(fraction=0.1, message="another's", **names),
                    frames.Checkpoint(number=10**6, **names),
                    frames.Finish(number=10**6, ending=Ending.SUCCEEDED, **names),
                )
            )
        )
        self.wire.sent += frames.encode(frame, b'"x"' if frame.has_payload else None)

    @precondition(lambda self: self.running)
    @rule(
        junk=st.one_of(
            st.binary(min_size=1, max_size=60),
            st.just(frames.encode(frames.ClaimRequest(number=10**6, queue="work"))),
            st.just(frames.encode(frames.Pulse())),
            st.just(frames.encode(frames.Hello(pid=1))),
        )
    )
    def task_writes_what_breaks_the_protocol(self, junk: bytes) -> None:
        self.injected = True
        self.wire.sent += junk

    # The keeper.

    @precondition(lambda self: self.keeper.questions)
    @rule(data=st.data(), grants=st.booleans())
    def keeper_answers(self, data: st.DataObject, grants: bool) -> None:
        """In any order."""
        session, frame = self.keeper.questions.pop(data.draw(st.integers(0, len(self.keeper.questions) - 1)))
        if isinstance(frame, frames.ClaimRequest):
            if grants:
                self._run(self._assign(session, frame))
            else:
                session.answer_nothing(frame)
        elif isinstance(frame, frames.Finish):
            session.answer_finished(frame)
        elif grants:
            session.send(frames.Saved(number=frame.number))
        else:
            session.send(frames.Refused(number=frame.number, code="unstorable", message="No."))

    async def _assign(self, session: KeeperSession, request: frames.ClaimRequest) -> None:
        self.epoch += 1
        claim = replace(CLAIM, epoch=self.epoch)
        attempt = Attempt(
            claim,
            PoolChild(session, PoolProcess(), slot=0),
            cancel_grace_seconds=3600,
            progress_interval_seconds=0.5,
            on_dirty=lambda: None,
            on_end=lambda _attempt, _end: None,
            random=lambda: 0.5,
        )
        facts = Facts(attempt)
        self.facts[facts.names] = self.keeper.of[attempt] = facts
        session.assign(
            attempt,
            frames.Claimed(
                number=request.number,
                job_id=claim.job_id,
                epoch=claim.epoch,
                tenant=claim.tenant,
                task=claim.task,
                queue=claim.queue,
                params={},
                checkpoint=None,
                trace_context=None,
                limits=LIMITS,
                start_by=1e12,
            ),
        )

    @precondition(lambda self: self.facts and self.keeper.session)
    @rule(data=st.data(), reason=st.sampled_from(STOPS))
    def keeper_stops(self, data: st.DataObject, reason: Any) -> None:
        """Also one that is over: the stop was on its way."""
        facts = data.draw(st.sampled_from(list(self.facts.values())))
        facts.stops.add(reason)
        job_id, epoch = facts.names
        assert self.keeper.session is not None
        self.keeper.session.send(frames.Stop(job_id=job_id, epoch=epoch, reason=reason))

    # What lies between them.

    @precondition(lambda self: self.wire.sent)
    @rule(count=st.integers(1, 600))
    def bytes_arrive_at_the_keeper(self, count: int) -> None:
        self._deliver(count)

    def _deliver(self, count: int) -> None:
        self.reader.feed_data(bytes(self.wire.sent[:count]))
        del self.wire.sent[:count]
        self._run(settle())
        if self.keeper.is_broken or self.conversation.done():
            assert self.injected, "an honest child was killed"
            self._die()

    @precondition(lambda self: self.keeper.to_child)
    @rule()
    def frame_arrives_at_the_child(self) -> None:
        head = read_head(self.keeper.to_child)
        del self.keeper.to_child[: frames.HEADER.size + len(head)]
        self.session.receive(frames.parse_from_keeper(head))
        self._go_on()

    def _go_on(self) -> None:
        """What the child's main thread does once the answer that it waits for is there."""
        if self.claim_reply is not None and not self.claim_reply.empty():
            claimed = self.session.claimed(self.claim_reply.get())
            self.claim_reply = None
            if claimed is not None:
                self.running = self.facts[claimed.job_id, claimed.epoch]
                self.running.channel = self.session.channel
                assert self.session.channel is not None
                self.session.channel.in_task = True
        elif self.finish_reply is not None and not self.finish_reply.empty():
            self.session.finished(self.finish_reply.get())
            self.finish_reply = None

    @rule(share=st.floats(0, 1))
    def child_dies(self, share: float) -> None:
        """What had left the process may still arrive, or a part of it."""
        self.reader.feed_data(bytes(self.wire.sent[: int(share * len(self.wire.sent))]))
        self._run(settle())
        self._die()

    def _die(self) -> None:
        self.dead_channels = []  # they died with the process
        if not self.conversation.done():
            self.reader.feed_eof()
        self._run(asyncio.wait_for(self.conversation, 1))
        assert self.keeper.has_left == (self.keeper.session is not None)
        self._check_books()
        self._start_child()

    # What must hold.

    @invariant()
    def nothing_is_booked_that_was_not_said(self) -> None:
        self._check_books()

    def _check_books(self) -> None:
        for facts in self.facts.values():
            assert facts.logged == facts.lines[: len(facts.logged)]
            assert set(facts.noted("progress")) <= facts.progress
            assert set(facts.booked_states) <= facts.states
            assert facts.booked_ends == facts.ends[: len(facts.booked_ends)]

    @invariant()
    def a_stop_reaches_its_own_attempt(self) -> None:
        if (channel := self.session.channel) is not None and self.running is not None:
            assert channel.is_cancelled <= ("cancel" in self.running.stops)
            assert channel.is_draining <= ("drain" in self.running.stops)

    @invariant()
    def an_answer_reaches_its_own_question(self) -> None:
        for reply, number in self.replies:
            while not reply.empty():
                answer = reply.get()
                assert answer is None or answer.number == number

    def teardown(self) -> None:
        """Once all has arrived, all that was said is booked, and both ends agree."""
        try:
            self._check_all_arrived()
        finally:
            for facts in self.facts.values():
                facts.attempt.lose()
            self.conversation.cancel()
            self._run(asyncio.gather(self.conversation, return_exceptions=True))
            self.loop.close()

    def _check_all_arrived(self) -> None:
        while self.wire.sent:
            self._deliver(len(self.wire.sent))
        if self.injected:
            return
        self._check_books()
        assert all(len(facts.logged) == len(facts.lines) for facts in self.facts.values())
        assert all(len(facts.booked_ends) == len(facts.ends) for facts in self.facts.values())
        while self.keeper.to_child:
            self.frame_arrives_at_the_child()
        assert self.keeper.session is not None
        is_running = self.keeper.session.state is server.State.RUNNING
        assert is_running == (self.session.state is child.State.RUNNING)
        if is_running:
            assert self.running is not None
            assert self.running.attempt is self.keeper.session.attempt


TestSession = SessionMachine.TestCase
TestSession.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
