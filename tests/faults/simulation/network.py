"""Servers, connections, and what may happen to a message on its way to a server and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from typing import Any, TypeVar

import psycopg
import redis
from tests.faults.simulation.kernel import Kernel, Process, Violation

from longhaul.errors import LonghaulError

T = TypeVar("T")


class Fate(StrEnum):
    """What becomes of a message in a bad network."""

    REQUEST_LOST = "request_lost"
    ANSWER_LOST = "answer_lost"
    """It was done, and nobody was told."""
    SLOW = "slow"
    CONFLICT = "conflict"
    """The server did not do it, since something else got in its way."""


class Network:
    """Who is cut off from whom, and how bad the rest is."""

    def __init__(self, kernel: Kernel) -> None:
        self.cuts: set[tuple[str, str]] = set()
        """Hosts and the servers that they can't reach: packets vanish without a word."""
        self.badness = 0.0
        """The share of messages that meet a fate."""
        self.bad_until = 0.0
        """When the last message that met a fate has come to its end."""
        self.fates: dict[Fate, int] = {}
        self._kernel = kernel
        self._random = kernel.random
        self._lying: dict[tuple[str, str], list[tuple[float, Callable[[], None]]]] = {}

    def fate(self) -> Fate | None:
        """Drawn for each message."""
        if self._random.random() >= self.badness:
            return None
        fate = self._random.choice(list(Fate))
        self.fates[fate] = self.fates.get(fate, 0) + 1
        return fate

    def latency(self) -> float:
        """Seconds from a request to its answer, where all is well."""
        return 0.0005 + 0.004 * self._random.random()

    def lay(self, cut: tuple[str, str], deliver: Callable[[], None]) -> None:
        """Keep a message until the cut is mended: TCP sends it again, whatever became of its sender."""
        self._lying.setdefault(cut, []).append((self._kernel.now, deliver))

    def mend(self, cut: tuple[str, str]) -> list[Callable[[], None]]:
        """End a cut. Returns what arrives now: what was sent in the time that TCP keeps on trying."""
        self.cuts.discard(cut)
        return [deliver for at, deliver in self._lying.pop(cut, []) if self._kernel.now - at < TCP_SECONDS]


TCP_SECONDS = 10.0
"""How long TCP keeps on trying: `tcp_user_timeout` of `longhaul.ledger.connection`."""


class Server:
    """Something that answers requests, each at one moment. It can be down, or hang: then requests lie in it."""

    def __init__(self, kernel: Kernel, network: Network, name: str) -> None:
        self.kernel = kernel
        self.network = network
        self.name = name
        self.is_up = True
        self.is_hung = False
        self.generation = 0
        """+1 at each restart: older connections are broken."""
        self._lying: list[Callable[[], None]] = []

    @property
    def answers(self) -> bool:
        return self.is_up and not self.is_hung

    def stop(self) -> None:
        """A crash, or a restart: what was committed is kept, what lay in it is gone."""
        self.is_up = self.is_hung = False
        self.generation += 1
        lying, self._lying = self._lying, []
        for do in lying:
            do()  # its connection is broken

    def start(self) -> None:
        self.is_up = True

    def hang(self) -> None:
        self.is_hung = True

    def go_on(self) -> None:
        """What lay in it is done now, also for those who gave up long ago."""
        self.is_hung = False
        lying, self._lying = self._lying, []
        for do in lying:
            do()

    def lay(self, do: Callable[[], None]) -> None:
        self._lying.append(do)


class Question:
    """Whoever waits for an answer, now."""

    __slots__ = ("answer",)

    def __init__(self, answer: asyncio.Future[Any]) -> None:
        self.answer = answer


class Line:
    """A connection of a process to a server. Once it broke it stays broken: open another one."""

    cancel_seconds = 0.0
    """What it takes at most to end a question that its process gives up, if the server does not answer."""

    def __init__(
        self,
        process: Process,
        server: Server,
        *,
        timeout_seconds: float,
        idle_seconds: float | None = None,
        is_pooled: bool = False,
    ) -> None:
        self.process = process
        self.timeout_seconds = timeout_seconds
        """The process waits so long for an answer."""
        self.idle_seconds = idle_seconds
        """The server ends the connection after so long a silence (None: never)."""
        self.is_pooled = is_pooled
        """Its pool finds out that it broke, and opens another (redis-py)."""
        self.heard_at = server.kernel.now
        self._server = server
        self._network = server.network
        self._generation = server.generation

    def away(self, _reason: str) -> Exception:
        """What the driver raises if the server can't be reached."""
        raise NotImplementedError

    def timed_out(self) -> Exception:
        """What it raises if no answer came in time."""
        raise NotImplementedError

    def conflict(self) -> Exception:
        """What the server answers if it was kept from doing it."""
        raise NotImplementedError

    @property
    def is_cut(self) -> bool:
        return bool(self._network.cuts) and (self.process.host, self._server.name) in self._network.cuts

    @property
    def is_known(self) -> bool:
        """Whether the server still holds its end. It learns at once of a process that died, unless the line is cut."""
        silence = self._server.kernel.now - self.heard_at
        return (
            self._generation == self._server.generation
            and (self.process.is_alive or self.is_cut)
            and (self.idle_seconds is None or silence < self.idle_seconds)
        )

    def hang_up(self) -> None:
        """The process's end is closed; the server learns it, unless the line is cut."""
        if not self.is_cut and self.process.is_alive:
            self._generation = -1

    async def ask(self, operation: Callable[..., T], *arguments: Any) -> T:
        """Have the server do something, and wait for its answer."""
        server, network = self._server, self._network
        question = Question(self.process.loop.create_future())
        if self.is_pooled and server.is_up:
            self._generation = server.generation
        if network.badness == 0.0 and not server.is_hung and not network.cuts and server.is_up and self.is_known:
            self._serve(question, operation, arguments)
        else:
            self._ask_in_bad_times(question, operation, arguments)
        try:
            answer: T = await question.answer
        except asyncio.CancelledError:
            if self.cancel_seconds:
                question.answer = self.process.loop.create_future()
                await self._cancel(question)
            raise
        return answer

    def _serve(self, question: Question, operation: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Do it, and send the answer."""
        self.heard_at = self._server.kernel.now
        result: Any = None
        error: Exception | None = None
        try:
            result = operation(*arguments)
        except Violation:
            raise
        except Exception as refusal:  # noqa: BLE001 - what the server answers
            error = refusal
        self.process.after(self._network.latency(), self._deliver, question, result, error, self._server.generation)

    def _ask_in_bad_times(self, question: Question, operation: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        server, network, random = self._server, self._network, self._server.kernel.random
        if self.is_cut:
            network.lay(
                (self.process.host, server.name), lambda: self._arrive(question, operation, arguments, answers=True)
            )
            self._fail(question, self.timeout_seconds, self.timed_out())
            return
        if not server.is_up or not self.is_known:
            self._fail(question, 0.001, self.away("the connection is closed"))
            return
        fate = network.fate()
        if fate is not None:
            network.bad_until = max(network.bad_until, server.kernel.now + 1.2 * self.timeout_seconds)
        if fate is Fate.REQUEST_LOST:
            self._generation = -1  # a lost packet is sent again; what loses a request breaks the connection
            self._fail(question, self.timeout_seconds * random.random(), self.away("connection reset"))
        elif fate is Fate.CONFLICT:
            self._fail(question, self.timeout_seconds * random.choice((0.001, 0.5)), self.conflict())
        elif fate is Fate.ANSWER_LOST:
            self._arrive(question, operation, arguments, answers=False)
            self._generation = -1
            self._fail(question, self.timeout_seconds * random.random() + 0.01, self.away("connection reset"))
        elif fate is Fate.SLOW:
            seconds = self.timeout_seconds * random.random() * 1.2
            server.kernel.outside.after(seconds, lambda: self._arrive(question, operation, arguments, answers=True))
        else:
            self._arrive(question, operation, arguments, answers=True)

    def _arrive(
        self, question: Question, operation: Callable[..., Any], arguments: tuple[Any, ...], *, answers: bool
    ) -> None:
        """The request is at the server, which does it at once, or when it goes on. A process that gave up changes nothing."""
        server = self._server
        if not server.is_up or self._generation != server.generation:
            self._fail(question, 0.001, self.away("the connection is closed"))
        elif server.is_hung:
            server.lay(lambda: self._arrive(question, operation, arguments, answers=answers))
            self._fail(question, self.hung_seconds, self.timed_out())
        elif answers:
            self._serve(question, operation, arguments)
        else:
            with suppress(psycopg.Error, redis.RedisError, LonghaulError, TypeError):
                operation(*arguments)

    hung_seconds = 1e9
    """How long the process waits for a server that holds the connection and does nothing."""

    def _fail(self, question: Question, seconds: float, error: Exception) -> None:
        """No answer comes: the process learns it so much later."""
        if seconds < 1e8:
            self.process.after(seconds, _settle, question, None, error)

    async def _cancel(self, question: Question) -> None:
        """What the driver does if its caller is cancelled: it asks the server to cancel, and waits for what comes of it."""
        is_bad = self._server.is_hung or self.is_cut
        await asyncio.wait([question.answer], timeout=self.cancel_seconds if is_bad else 0.01)
        self.hang_up()

    def _deliver(self, question: Question, result: Any, error: Exception | None, generation: int) -> None:
        """The answer is there; perhaps not, if the server went down meanwhile."""
        server = self._server
        if server.generation != generation and server.kernel.random.random() < 0.5:
            error = self.away("server closed the connection unexpectedly")
        _settle(question, result, error)


def _settle(question: Question, result: Any, error: Exception | None) -> None:
    answer = question.answer
    if answer.done():
        return
    if error is None:
        answer.set_result(result)
    else:
        answer.set_exception(error)
