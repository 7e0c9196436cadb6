"""Servers, and what may happen to a message on its way to one and back."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from tests.faults.simulation.kernel import AWAY, Kernel, Process, Task, Wish


class Fate(StrEnum):
    """What becomes of a message in a bad network."""

    REQUEST_LOST = "request_lost"
    ANSWER_LOST = "answer_lost"
    """It was done, and nobody was told."""
    SLOW = "slow"


class Network:
    """Who is cut off from whom, and how bad the rest is."""

    def __init__(self, kernel: Kernel) -> None:
        self.cuts: set[tuple[str, str]] = set()
        """Hosts and the servers that they can't reach: packets vanish without a word."""
        self.badness = 0.0
        """The share of messages that meet a fate."""
        self.fates: dict[Fate, int] = {}
        self._random = kernel.random

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
        self._lying.clear()

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


class Line:
    """A connection of a process to a server. Once it broke it stays broken: open another one."""

    __slots__ = (
        "_generation",
        "_network",
        "_server",
        "heard_at",
        "idle_seconds",
        "is_pooled",
        "process",
        "timeout_seconds",
    )

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
        """Its pool finds out that it broke, and opens another (redis-py; not psycopg's)."""
        self.heard_at = server.kernel.now
        self._server = server
        self._network = server.network
        self._generation = server.generation

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
        if not self.is_cut:
            self._generation = -1

    def ask(self, operation: Callable[..., Any], *arguments: Any) -> Wish:
        """Have the server do something, and wait for its answer. Raises Away where none comes."""

        def start(task: Task) -> None:
            server, network = self._server, self._network
            if self.is_pooled and server.is_up:
                self._generation = server.generation
            if not self.is_cut and (not server.is_up or not self.is_known):
                task.go_on(0.001, AWAY)
                return
            if network.badness == 0.0 and not server.is_hung and not network.cuts:
                self.heard_at = server.kernel.now
                task.go_on(network.latency(), operation(*arguments))
            else:
                self._ask_in_bad_times(task, operation, arguments)

        return start

    def _ask_in_bad_times(self, task: Task, operation: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        server, network, random, turn = self._server, self._network, self._server.kernel.random, task.turn
        generation = server.generation
        if self.is_cut:
            task.go_on(self.timeout_seconds, AWAY)
            return
        fate = network.fate()
        if fate is Fate.REQUEST_LOST:
            self._generation = -1  # a lost packet is sent again; what loses a request breaks the connection
            task.go_on(self.timeout_seconds * random.random(), AWAY)
            return

        def do(_: Any = None) -> None:
            if server.is_hung:
                server.lay(do)
            elif server.generation == generation:
                self.heard_at = server.kernel.now
                answer = operation(*arguments)
                if fate is not Fate.ANSWER_LOST and task.turn == turn:
                    task.go_on(network.latency(), answer)

        if fate is Fate.ANSWER_LOST:
            task.go_on(self.timeout_seconds * random.random() + 0.01, AWAY)
        else:
            task.go_on(self.timeout_seconds, AWAY)
        if fate is Fate.SLOW:
            server.kernel.after(random.random() * self.timeout_seconds * 1.5, do)
        else:
            do()
