"""Virtual time: a heap of events, and processes that can be frozen or killed between any two of their steps.

What a process does is written as generators. Where one yields, time passes, and faults may strike: a number is a sleep
in seconds; anything else is a wish, a function that is given the task and sees to it that it goes on one day. All chance
comes from one seed, and nothing here depends on an order that Python leaves open, so a seed replays step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from heapq import heappop, heappush
from random import Random
from typing import Any, TypeAlias


class Away(Exception):
    """A server or a process did not answer: whether it did what it was asked for is unknown."""


AWAY = Away()
Wish: TypeAlias = "float | Callable[[Task], None]"
Steps: TypeAlias = Generator[Wish, Any, Any]
Call: TypeAlias = Callable[[Any], None]


class Kernel:
    """The virtual clock, and what is to happen."""

    def __init__(self, seed: int, *, tells: bool = False) -> None:
        self.now = 0.0
        """Seconds since the start of this world."""
        self.steps = 0
        self.random = Random(seed)
        self.story: list[str] | None = [] if tells else None
        """What happened, line by line, where someone wants to read it."""
        self._heap: list[tuple[float, int, Process | None, Call, Any]] = []
        self._number = 0

    def after(self, seconds: float, call: Call, argument: Any = None, process: Process | None = None) -> None:
        """Let something happen later, in a process (None: in the world outside, where nothing fails)."""
        self._number += 1
        heappush(self._heap, (self.now + seconds, self._number, process, call, argument))

    def run(self, until: float, is_over: Callable[[], bool]) -> None:
        """Until the clock reads `until`, or nothing is left to happen, or it is over, which is asked once a second."""
        heap, ask_at = self._heap, 0.0
        while heap and heap[0][0] <= until:
            self.now, _, process, call, argument = heappop(heap)
            self.steps += 1
            if process is None or process.is_running:
                call(argument)
            elif process.is_alive:
                process.missed.append((call, argument))
            if self.now >= ask_at:
                if is_over():
                    return
                ask_at = self.now + 1.0

    def tell(self, line: str) -> None:
        """Write into the story, if there is one."""
        if self.story is not None:
            self.story.append(f"{self.now:9.4f}  {line}")


class Process:
    """Something that the kernel of a machine runs, stops, or ends. One that is started anew is another process."""

    __slots__ = ("host", "is_alive", "is_running", "kernel", "missed", "name")

    def __init__(self, kernel: Kernel, name: str, host: str) -> None:
        self.kernel = kernel
        self.name = name
        self.host = host
        """What is cut off from a server is cut off as a whole."""
        self.is_alive = True
        self.is_running = True
        self.missed: list[tuple[Call, Any]] = []
        """Timers and messages that came while it was frozen: all of them are due at once when it thaws."""

    def start(self, steps: Steps) -> Task:
        return Task(self, steps)

    def kill(self) -> None:
        """SIGKILL: nothing of it happens any more."""
        self.is_alive = self.is_running = False
        self.missed.clear()

    def freeze(self) -> None:
        """SIGSTOP, or a virtual machine that is paused."""
        self.is_running = False

    def thaw(self) -> None:
        if self.is_alive and not self.is_running:
            self.is_running = True
            missed, self.missed = self.missed, []
            for call, argument in missed:
                self.kernel.after(0.0, call, argument, self)


class Task:
    """One line of work in a process."""

    __slots__ = ("_steps", "process", "turn")

    def __init__(self, process: Process, steps: Steps) -> None:
        self.process = process
        self.turn = 0
        """Its steps so far: what was meant for an earlier one comes too late."""
        self._steps = steps
        self.go_on(0.0, None)

    def go_on(self, seconds: float, answer: Any) -> None:
        """Take the next step so much later, with this answer. Of several the first counts."""
        self.process.kernel.after(seconds, self.step, (self.turn, answer), self.process)

    def step(self, argument: tuple[int, Any]) -> None:
        """Go on to the next yield, unless this step was taken before."""
        turn, answer = argument
        if turn != self.turn:
            return
        self.turn += 1
        try:
            wish = self._steps.throw(answer) if answer is AWAY else self._steps.send(answer)
        except StopIteration:
            return
        if isinstance(wish, float):
            self.process.kernel.after(wish, self.step, (self.turn, None), self.process)
        else:
            wish(self)


class Signal:
    """Wakes one task that waits for it; remembered while none does."""

    __slots__ = ("_is_set", "_waiting")

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: tuple[Task, int] | None = None

    def wait(self, seconds: float | None = None) -> Wish:
        """Until it is set, or so long. The answer is whether it was set."""

        def start(task: Task) -> None:
            if self._is_set:
                self._is_set = False
                task.go_on(0.0, True)
                return
            self._waiting = (task, task.turn)
            if seconds is not None:
                task.go_on(seconds, False)

        return start

    def set(self) -> None:
        if self._waiting is not None and self._waiting[0].turn == self._waiting[1]:
            self._waiting[0].go_on(0.0, True)
            self._waiting = None
        else:
            self._is_set = True
