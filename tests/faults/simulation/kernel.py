"""Virtual time: one heap of what is to happen, and processes that can be frozen or killed between any two callbacks.

Each process has an asyncio event loop of its own, so code that was written for asyncio runs in it as it is: what it awaits
takes virtual time. All chance comes from one seed and nothing here depends on hashes, addresses or real time, so a seed
replays step by step.
"""

from __future__ import annotations

import asyncio
import contextvars
import traceback
from collections import deque
from collections.abc import Callable, Coroutine
from heapq import heappop, heappush
from random import Random
from typing import Any

_set_running_loop: Callable[[asyncio.AbstractEventLoop | None], None] = asyncio._set_running_loop


class Violation(Exception):
    """The promise is broken. Says which part of it, and how."""


class ProcessExit(BaseException):
    """Ends the code of a simulated process that has just ended itself."""


class Handle:
    """Something that is to happen in a process."""

    __slots__ = ("arguments", "callback", "context", "is_timer", "process")

    def __init__(
        self,
        process: Process,
        callback: Callable[..., object],
        arguments: tuple[Any, ...],
        context: contextvars.Context | None = None,
        *,
        is_timer: bool = False,
    ) -> None:
        self.process = process
        self.callback: Callable[..., object] | None = callback
        self.arguments = arguments
        self.context = context
        self.is_timer = is_timer

    def cancel(self) -> None:
        self.callback = None
        self.arguments = ()

    def cancelled(self) -> bool:
        return self.callback is None


class Kernel:
    """The virtual clock, and what is to happen."""

    def __init__(self, seed: int, *, tells: bool = False) -> None:
        self.now = 0.0
        """Seconds since the start of this world."""
        self.steps = 0
        self.random = Random(seed)
        self.story: list[str] | None = [] if tells else None
        """What happened, line by line, if someone wants to read it."""
        self.violation: Violation | None = None
        self.ready: deque[Handle] = deque()
        self.processes: list[Process] = []
        self._heap: list[tuple[float, int, Handle]] = []
        self._number = 0
        self._current: Process | None = None
        """Whose event loop is the running one."""
        self.outside = Process(self, "outside", "outside")
        """Clients, packets and fate: nothing strikes these."""

    def schedule(self, seconds: float, handle: Handle) -> Handle:
        """Let something happen later."""
        self._number += 1
        heappush(self._heap, (self.now + seconds if seconds > 0 else self.now, self._number, handle))
        return handle

    def run(self, until: float, is_over: Callable[[], bool]) -> None:
        """Until the clock reads `until`, nothing is left to happen, or it is over, which is asked once a second.

        Raises the Violation that was found.
        """
        ask_at, self._current = 0.0, None
        try:
            while (handle := self._next(until)) is not None:
                if self._may_run(handle):
                    self._call(handle)
                    if self.now >= ask_at:
                        if is_over():
                            return
                        ask_at = self.now + 1.0
        finally:
            _set_running_loop(None)

    def _next(self, until: float) -> Handle | None:
        if self.ready:
            return self.ready.popleft()
        if not self._heap or self._heap[0][0] > until:
            return None
        self.now, _, handle = heappop(self._heap)
        return handle

    def _may_run(self, handle: Handle) -> bool:
        """Whether it is still to happen, and its process runs. What a frozen process misses is kept for it."""
        process = handle.process
        if handle.callback is None:
            return False
        if not process.is_running:
            if process.is_alive:
                process.missed.append(handle)
            return False
        if process.steps_left:
            process.count_down()
            if not process.is_running:
                self.ready.appendleft(handle)
                return False
        return True

    def _call(self, handle: Handle) -> None:
        callback, process = handle.callback, handle.process
        assert callback is not None
        self.steps += 1
        if process is not self._current:
            _set_running_loop(process.loop)
            self._current = process
        try:
            if handle.context is None:
                callback(*handle.arguments)
            else:
                handle.context.run(callback, *handle.arguments)
        except ProcessExit:
            pass
        except Exception as error:
            if self.violation is None:
                where = traceback.extract_tb(error.__traceback__)[-1]
                raise Violation(f"{process.name} raised {error!r} in {where}") from error
        if self.violation is not None:
            raise self.violation

    def fail(self, message: str) -> None:
        """Note a violation, and leave the code that brought it about. The world ends with this step, whoever catches it."""
        self.violation = self.violation or Violation(message)
        raise self.violation

    def tell(self, line: str) -> None:
        """Write into the story, if there is one."""
        if self.story is not None:
            self.story.append(f"{self.now:9.4f}  {line}")

    def close(self) -> None:
        """End all that still waits, so that no coroutine is collected outside of its loop."""
        self._heap.clear()
        self.ready.clear()
        for process in self.processes:
            process.is_alive = process.is_running = False
        for process in self.processes:
            process.close()
        _set_running_loop(None)


class Process:
    """Something that a machine's kernel runs, stops, or ends. One that is started anew is another process."""

    __slots__ = (
        "_tasks",
        "frozen_at",
        "host",
        "is_alive",
        "is_running",
        "kernel",
        "loop",
        "missed",
        "name",
        "on_death",
        "on_step",
        "steps_left",
    )

    def __init__(self, kernel: Kernel, name: str, host: str) -> None:
        self.kernel = kernel
        self.name = name
        self.host = host
        """What is cut off from a server is cut off as a whole."""
        self.is_alive = True
        self.is_running = True
        self.frozen_at = 0.0
        self.missed: list[Handle] = []
        """What came while it was frozen: all of it is due at once when it thaws."""
        self.on_death: list[Callable[[], None]] = []
        self.steps_left = 0
        self.on_step: Callable[[], None] | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self.loop = ProcessLoop(self)  # type: ignore[abstract]  # code without sockets needs no more of it
        kernel.processes.append(self)

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine in this process. What it raises ends the world: nobody else would see it."""
        task = self.loop.create_task(work)
        task.add_done_callback(self._retrieve)
        return task

    def _retrieve(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, Violation | ProcessExit):
            raise error

    def run_now(self, call: Callable[[], None]) -> None:
        """Run what belongs to this process, from outside of it."""
        previous = asyncio._get_running_loop()
        _set_running_loop(self.loop)
        try:
            call()
        finally:
            _set_running_loop(previous)

    def after(self, seconds: float, callback: Callable[..., object], *arguments: Any) -> None:
        """A message that reaches this process so much later."""
        self.kernel.schedule(seconds, Handle(self, callback, arguments))

    def after_steps(self, steps: int, callback: Callable[[], None]) -> None:
        """Call back from outside before so many callbacks of this process have run."""
        self.steps_left, self.on_step = steps, callback

    def count_down(self) -> None:
        self.steps_left -= 1
        if self.steps_left == 0 and (callback := self.on_step) is not None:
            self.on_step = None
            callback()

    def kill(self) -> None:
        """SIGKILL: nothing of it happens any more."""
        if not self.is_alive:
            return
        self.is_alive = self.is_running = False
        self.missed.clear()
        self._keep_tasks()
        for callback in self.on_death:
            callback()

    def exit(self) -> None:
        """Called by its own code: it ends, and this code with it."""
        self.kill()
        raise ProcessExit

    @property
    def frozen_seconds(self) -> float:
        """How long it has been frozen for; 0 while it runs."""
        return self.kernel.now - self.frozen_at if self.is_alive and not self.is_running else 0.0

    def freeze(self) -> None:
        """SIGSTOP, or a virtual machine that is paused."""
        if self.is_running:
            self.is_running, self.frozen_at = False, self.kernel.now

    def thaw(self) -> None:
        """Its timers are due, and what others sent has arrived: asyncio takes either first."""
        if not self.is_alive or self.is_running:
            return
        self.is_running = True
        missed, self.missed = self.missed, []
        if self.kernel.random.random() < 0.5:
            missed.sort(key=lambda handle: handle.is_timer)
        self.kernel.ready.extend(missed)

    def _keep_tasks(self) -> None:
        """What a dead process was about to do stays where it is: collected now, it would run its `finally`."""
        self._tasks = list(asyncio.all_tasks(self.loop))

    def close(self) -> None:
        self._keep_tasks()
        _set_running_loop(self.loop)
        for task in self._tasks:
            coroutine: Any = task.get_coro()
            try:
                coroutine.close()
            except BaseException:  # noqa: BLE001 - the world is over
                continue


class ProcessLoop(asyncio.AbstractEventLoop):
    """What asyncio asks of an event loop, as far as code without sockets needs it."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._kernel = process.kernel

    def time(self) -> float:
        return self._kernel.now

    def call_soon(  # type: ignore[override]  # a light handle, with what asyncio uses of its own
        self, callback: Callable[..., object], *arguments: Any, context: contextvars.Context | None = None
    ) -> Handle:
        handle = Handle(self.process, callback, arguments, context)
        self._kernel.ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *arguments: Any, context: contextvars.Context | None = None
    ) -> Handle:
        return self._kernel.schedule(delay, Handle(self.process, callback, arguments, context, is_timer=True))

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *arguments: Any, context: contextvars.Context | None = None
    ) -> Handle:
        return self.call_later(when - self._kernel.now, callback, *arguments, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Any], *, context: contextvars.Context | None = None, **_name: object
    ) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Python calls it when it collects a task, which is at no certain time: nothing here can depend on it."""

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False
