"""A stand-in for Celery, which can't run here: a main process that hears doorbells, and the children of its pool.

Sources: services/worker/src/longhaul_worker/celery/{app,consumer,pool}.py, supervisor.py.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import redis
from tests.faults.simulation import tasks, times
from tests.faults.simulation.broker import RedisLine
from tests.faults.simulation.child import Child
from tests.faults.simulation.kernel import Process
from tests.faults.simulation.wire import PIPE_SECONDS, Connection

from longhaul_worker.session import frames

if TYPE_CHECKING:
    from tests.faults.simulation.pod import Keeper

PULSE_SECONDS = 2.0
LOOK_SECONDS = 5.0
"""Between two looks at its pool, if its keeper does not ask for one."""


class Celery:
    """The main process, with its pool. Ends with its last child once it is stopped."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper, self.pod, self.world = keeper, keeper.pod, keeper.world
        self.kernel = self.world.kernel
        self.pid = self.world.new_pid()
        self.process = Process(self.kernel, f"{keeper.name}/celery", keeper.pod.name)
        self.is_stopping = False
        self.hangs = self.kernel.random.random() < 0.1
        """Its warm shutdown never ends: it happens."""
        self.children: list[Child] = []
        self._freed = asyncio.Event()
        self._unreported: list[Child] = []
        self._connection: Connection | None = None
        self.process.on_death.append(self._take_children_along)
        self.process.start(self._run())

    async def _run(self) -> None:
        self._connection = Connection(self.process, self.keeper, self.pid, self._hear, self.process.exit)
        loop = self.process.loop
        for _ in range(self.pod.settings.slots):
            self._add_child()
        listening = loop.create_task(self._listen())
        looked_at = loop.time()
        while True:
            self._send(frames.Pulse())
            if loop.time() - looked_at >= LOOK_SECONDS:
                self._look()
                looked_at = loop.time()
            if self.is_stopping:
                listening.cancel()
                if not self.hangs and all(child.is_idle or not child.process.is_alive for child in self.children):
                    for child in self.children:
                        child.kill(0, cause="stopped")
                    self._look()
                    await asyncio.sleep(PIPE_SECONDS * 4)
                    self.process.exit()
                await asyncio.sleep(0.1)
            else:
                await asyncio.sleep(PULSE_SECONDS)

    async def _listen(self) -> None:
        server = self.world.redis
        while True:
            line = RedisLine(self.process, server, timeout_seconds=times.CELERY_TIMEOUT)
            line.is_pooled = False
            try:
                while True:
                    while not any(child.is_idle for child in self.children):
                        self._freed.clear()
                        await self._freed.wait()
                    self.hand_on(await server.pop(line))
            except redis.RedisError:
                await asyncio.sleep(1.0)

    def hand_on(self, queue: str) -> None:
        """A doorbell, to a child that is free. If none is, or this pod must go, it is forgotten."""
        for child in self.children:
            if child.is_idle and not self.is_stopping:
                child.is_busy = True
                child.process.after(PIPE_SECONDS, child.hear_doorbell, queue)
                return

    def ring(self) -> None:
        """A doorbell of the keeper's own, while Redis is away."""
        self.hand_on(tasks.QUEUE)

    def hear_free(self, child: Child) -> None:
        child.is_busy = False
        self._freed.set()

    def stop(self) -> None:
        """SIGTERM: hear no more doorbells, let the jobs end, then exit."""
        self.is_stopping = True

    # Its pool.

    def _add_child(self) -> None:
        child = Child(self, starts_in=0.02 + 0.2 * self.kernel.random.random())
        child.process.on_death.append(lambda: self._unreported.append(child))
        self.children.append(child)

    def _look(self) -> None:
        """Report the dead, and replace them."""
        dead, self._unreported = self._unreported, []
        for child in dead:
            self._send(frames.ChildExited(pid=child.pid, exit_code=child.exit_code))
            self.children.remove(child)
            if not self.is_stopping:
                self._add_child()

    def _hear(self, frame: object) -> None:
        if isinstance(frame, frames.Reap):
            self._look()

    def _send(self, frame: frames.Frame) -> None:
        assert self._connection is not None
        self._connection.write(frames.encode(frame))

    def _take_children_along(self) -> None:
        """The guard ends what it leaves behind."""
        for child in self.children:
            self.kernel.outside.after(0.02 * self.kernel.random.random(), child.kill)
        self.keeper.process.after(0.05, self.keeper.supervisor.hear_death, self)


class Supervisor:
    """`supervisor.Supervisor`: keeps one Celery running until it is told to stop."""

    def __init__(self, keeper: Keeper) -> None:
        self.celery: Celery | None = None
        self.is_stopping = False
        self._keeper = keeper
        self._dead = asyncio.Event()

    async def run(self) -> None:
        while not self.is_stopping:
            self._dead.clear()
            self.celery = Celery(self._keeper)
            await self._dead.wait()
            if not self.is_stopping:
                await asyncio.sleep(1.0)

    def hear_death(self, celery: Celery) -> None:
        if celery is self.celery:
            self._dead.set()

    def stop(self) -> None:
        self.is_stopping = True
        celery = self.celery
        if celery is not None:
            celery.process.after(PIPE_SECONDS, celery.stop)
            celery.process.after(PIPE_SECONDS, celery._freed.set)

    def kill(self) -> None:
        self.is_stopping = True
        if self.celery is not None:
            self.celery.process.kill()
