"""The pool child's side of the session: which state the child is in, and the channel that a `Job` speaks through.

A child is idle, claiming, running or reporting. Nothing here does I/O by itself: `transport` moves the bytes.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Final, Protocol, TypeVar

import structlog
from pydantic import JsonValue

from longhaul.errors import AttemptOver, Cancelled, HandOver, SoftTimeout, Unstorable
from longhaul.states import Ending
from longhaul_worker.session import frames
from longhaul_worker.session.frames import Answer, AttemptError, Claimed, Refused, Stop

_log = structlog.get_logger(__name__)

EXIT_KEEPER_GONE: Final = 70
EXIT_UNREPORTED: Final = 71
"""This process could not say how its attempt ended, so that its death has to."""
EXIT_OUT_OF_STATE: Final = 76
"""`EX_PROTOCOL` of sysexits.h: this process asked for something that its state does not allow."""


class State(StrEnum):
    IDLE = "idle"
    CLAIMING = "claiming"
    RUNNING = "running"
    REPORTING = "reporting"


class Reply(Protocol):
    """Where the answer to one question arrives. Whoever asks and goes away leaves it behind, and nobody else reads it."""

    def put(self, answer: Answer | None, /) -> object: ...
    def get(self) -> Answer | None:
        """Wait for the answer; None if the attempt ended first."""


class Wire(Protocol):
    """What carries frames to the keeper."""

    def send(self, frame: bytes) -> None:
        """Return once the frame has left this process, as a whole."""

    def send_latest(self, frame: bytes) -> None:
        """Send soon, before whatever is sent next. A frame that still waits is replaced. Never waits."""


AnswerType = TypeVar("AnswerType", bound=Answer)


class ChildSession:
    """One a process, kept over all its jobs."""

    def __init__(
        self,
        wire: Wire,
        *,
        new_reply: Callable[[], Reply],
        current_pid: Callable[[], int] = os.getpid,
        exit: Callable[[int], object] = os._exit,
    ) -> None:
        self.state = State.IDLE
        self.channel: AttemptChannel | None = None
        """Of the attempt that runs."""
        self.pid = current_pid()
        self.current_pid = current_pid
        """Of whoever calls: another one in a process that the task forked."""
        self._wire = wire
        self._new_reply = new_reply
        self._exit = exit
        self._numbers = itertools.count(1)
        self._pending: dict[int, Reply] = {}
        self._stops: deque[Stop] = deque()
        """That were heard and not yet handed on: one can follow the job at once."""
        self.answers_dropped = 0
        """Answers to questions that nobody asked."""
        wire.send(frames.encode(frames.Hello(pid=self.pid)))

    def claim(self, queue: str) -> Claimed | None:
        """A job of this queue to run now, or None."""
        return self.claimed(self.ask_claim(queue).get())

    def ask_claim(self, queue: str) -> Reply:
        """Ask for a job of this queue; the reply is for `claimed`."""
        self._step(State.IDLE, State.CLAIMING)
        return self.ask(lambda number: frames.ClaimRequest(number=number, queue=queue))

    def claimed(self, answer: Answer | None) -> Claimed | None:
        """Take the answer to a claim."""
        if not isinstance(answer, Claimed):
            self._step(State.CLAIMING, State.IDLE)
            return None
        self.channel = AttemptChannel(self, answer)
        self._step(State.CLAIMING, State.RUNNING)
        self._hand_on_stops()
        return answer

    def end_attempt(self) -> AttemptChannel:
        """From now on nothing can be said for the attempt but how it ended: whoever waits for an answer gets an error."""
        channel = self.channel
        if channel is None:
            self._exit(EXIT_OUT_OF_STATE)
            raise AssertionError("unreachable: the process has ended")
        self._step(State.RUNNING, State.REPORTING)
        channel.is_over = True
        self.channel = None
        for number in list(self._pending):
            if (reply := self._pending.pop(number, None)) is not None:
                reply.put(None)
        return channel

    def finish(
        self,
        channel: AttemptChannel,
        ending: Ending,
        *,
        result: bytes | None = None,
        error: AttemptError | None = None,
        delay_seconds: float | None = None,
    ) -> None:
        """Say how the attempt ended, and return once the keeper has it. `result` is JSON text."""
        reply = self.ask_finish(channel, ending, result=result, error=error, delay_seconds=delay_seconds)
        self.finished(reply.get())

    def ask_finish(
        self,
        channel: AttemptChannel,
        ending: Ending,
        *,
        result: bytes | None = None,
        error: AttemptError | None = None,
        delay_seconds: float | None = None,
    ) -> Reply:
        """Say how the attempt ended; the reply is for `finished`."""
        return self.ask(
            lambda number: frames.Finish(
                number=number,
                job_id=channel.job_id,
                epoch=channel.epoch,
                pid=self.pid,
                ending=ending,
                error=error,
                delay_seconds=delay_seconds,
            ),
            result,
        )

    def finished(self, _answer: Answer | None) -> None:
        """The keeper has the outcome, or knows a newer one; either way this child is free."""
        self._step(State.REPORTING, State.IDLE)

    def ask(self, question: Callable[[int], frames.Frame], payload: bytes | None = None) -> Reply:
        """Send a question; its answer arrives in the reply. No other answer ever does."""
        number, reply = next(self._numbers), self._new_reply()
        self._pending[number] = reply
        self._wire.send(frames.encode(question(number), payload))
        return reply

    def say(self, frame: frames.Frame) -> None:
        """Send what has no answer."""
        self._wire.send(frames.encode(frame))

    def say_latest(self, frame: frames.Frame) -> None:
        """Send what replaces the one before."""
        self._wire.send_latest(frames.encode(frame))

    def receive(self, frame: Answer | Stop | frames.Reap) -> None:
        """What the keeper says. Raises nothing, whatever it says."""
        if isinstance(frame, Stop):
            self._stops.append(frame)
            self._hand_on_stops()
        elif not isinstance(frame, frames.Reap):
            if (reply := self._pending.pop(frame.number, None)) is not None:
                reply.put(frame)
            else:
                self.answers_dropped += 1

    def _hand_on_stops(self) -> None:
        """Called by the thread that hears one, and by the one that starts the attempt: whoever takes it hands it on."""
        while (channel := self.channel) is not None:
            try:
                stop = self._stops.popleft()
            except IndexError:
                return
            if (channel.job_id, channel.epoch) == (stop.job_id, stop.epoch):
                channel.stop(stop.reason)

    def _step(self, expected: State, state: State) -> None:
        if self.state is not expected:
            _log.error("child_out_of_state", state=self.state, expected=expected)
            self._exit(EXIT_OUT_OF_STATE)
        self.state = state


class AttemptChannel:
    """`longhaul.job.JobChannel` of one attempt, from any thread of the process that runs it. Dead once the attempt is over.

    The soft limit is raised in the task's own code only: a signal that finds the main thread in here raises once its call
    is done.
    """

    def __init__(self, session: ChildSession, claimed: Claimed) -> None:
        self.job_id = claimed.job_id
        self.epoch = claimed.epoch
        self.queue = claimed.queue
        self.limits = claimed.limits
        self.is_over = False
        """The task function has returned or raised: from then on nobody reports for it but the platform."""
        self.in_task = False
        """The main thread runs the task's own code, or a call that this code made."""
        self.interrupt: Callable[[], None] = _interrupt_nothing
        """Sends the main thread the signal whose handler calls `on_soft_limit_signal`."""
        self.interrupt_async: Callable[[], None] | None = None
        """Raises SoftTimeout in the event loop of an async task, while there is one."""
        self._session = session
        self.is_cancelled = False
        """Somebody cancelled the job."""
        self.is_draining = False
        """The pod must go, and asks for a hand-over."""
        self._soft_limit_passed = False
        self._main_is_inside = False

    def progress(self, fraction: float, message: str, data: dict[str, JsonValue]) -> None:
        with _Call(self) as session:
            session.say_latest(
                frames.Progress(
                    job_id=self.job_id,
                    epoch=self.epoch,
                    pid=session.pid,
                    fraction=fraction,
                    message=message,
                    data=data,
                )
            )

    def log(self, level: str, message: str, fields: dict[str, JsonValue]) -> None:
        with _Call(self):
            self.log_last(level, message, fields)

    def log_last(self, level: str, message: str, fields: dict[str, JsonValue]) -> None:
        """The platform's own way to the job's log, also after the task: why it failed, and what it had not flushed."""
        session = self._session
        session.say(
            frames.LogLine(
                job_id=self.job_id, epoch=self.epoch, pid=session.pid, level=level, message=message, fields=fields
            )
        )

    def checkpoint(self, state: bytes) -> None:
        limit = self.limits.checkpoint_bytes
        if len(state) > limit:
            raise Unstorable(
                f"The checkpoint has {len(state):,} bytes and the limit is {limit:,}: keep large state in files or object"
                " storage, and checkpoint where it is."
            )
        with _Call(self) as session:
            answer = self.ask_checkpoint(session, state).get()
        if answer is None:
            raise AttemptOver
        if isinstance(answer, Refused):
            raise AttemptOver if answer.code == "attempt_over" else Unstorable(answer.message)

    def ask_checkpoint(self, session: ChildSession, state: bytes) -> Reply:
        """Send a checkpoint; the reply gets `Saved` or `Refused`."""
        return session.ask(
            lambda number: frames.Checkpoint(number=number, job_id=self.job_id, epoch=self.epoch, pid=session.pid),
            state,
        )

    def raise_if_stopped(self) -> None:
        if self.is_cancelled:
            raise Cancelled
        if self.is_draining:
            raise HandOver

    @property
    def cancelled(self) -> bool:
        self._require_alive()
        return self.is_cancelled

    @property
    def draining(self) -> bool:
        self._require_alive()
        return self.is_draining

    # What the keeper and its signal want of the task.

    def stop(self, reason: str) -> None:
        """Called by the thread that hears the keeper."""
        if reason == "cancel":
            self.is_cancelled = True
        elif reason == "drain":
            self.is_draining = True
        elif (interrupt_async := self.interrupt_async) is not None:
            interrupt_async()
        else:
            self._soft_limit_passed = True
            self.interrupt()

    def on_soft_limit_signal(self) -> None:
        """The handler's part, in the main thread: raise now, or when the call that it found is done."""
        if not self._main_is_inside:
            self._raise_soft_limit()

    def _raise_soft_limit(self) -> None:
        if self._soft_limit_passed and self.in_task and not self.is_over:
            self._soft_limit_passed = False
            raise SoftTimeout

    def uninterrupted(self) -> AbstractContextManager[object]:
        """Around code that would swallow the soft limit: it is raised at the end."""
        return _Uninterrupted(self)

    def _require_alive(self) -> ChildSession:
        if self.is_over or self._session.current_pid() != self._session.pid:
            raise AttemptOver
        return self._session


def _interrupt_nothing() -> None:
    """No task runs yet."""


class _Uninterrupted:
    """No soft limit inside it: it is raised at the end.

    A handler of the task's own (`signal.alarm`) may raise anywhere in here, also in `__exit__`; whatever it leaves behind
    is consistent: a frame goes out as a whole or not at all, and a reply that nobody reads is nobody else's.
    """

    __slots__ = ("_channel", "_is_main")

    def __init__(self, channel: AttemptChannel) -> None:
        self._channel = channel
        self._is_main = threading.get_ident() == threading.main_thread().ident

    def __enter__(self) -> object:
        if self._is_main:
            self._channel._main_is_inside = True  # noqa: SLF001 - the channel's own
        return None

    def __exit__(self, kind: object, *_: object) -> None:
        if self._is_main:
            self._channel._main_is_inside = False  # noqa: SLF001
            if kind is None:
                self._channel._raise_soft_limit()  # noqa: SLF001


class _Call(_Uninterrupted):
    """Around what speaks to the keeper: the attempt is alive before it."""

    __slots__ = ()

    def __enter__(self) -> ChildSession:
        session = self._channel._require_alive()  # noqa: SLF001
        super().__enter__()
        return session
