"""A replica of the API, and the clients, who ask again until they are answered.

Sources: services/api/src/longhaul_api/{submissions,ringer}.py; services/core/src/longhaul/client.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from tests.faults.simulation import times
from tests.faults.simulation.kernel import AWAY, Away, Process, Steps, Task, Wish
from tests.faults.simulation.network import Line
from tests.faults.simulation.work import draw_terms, draw_work

from longhaul.machine import Terms

if TYPE_CHECKING:
    from tests.faults.simulation.world import World

DEADLINE_SECONDS = 5.0
"""I5: an API answers in this time, or its client gives up on it."""


class Api:
    """Lives as long as its process."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.process = Process(world.kernel, name, name)

    def submit(self, key: int, terms: Terms) -> Wish:
        """A request of a client: the id of its job, once that is committed. Raises Away."""

        def start(task: Task) -> None:
            kernel = self.world.kernel
            if not self.process.is_alive or kernel.random.random() < self.world.network.badness:
                task.go_on(0.01, AWAY)
                return
            task.go_on(DEADLINE_SECONDS, AWAY)
            kernel.after(0.001, lambda turn: self._serve(task, turn, key, terms), task.turn, self.process)

        return start

    def _serve(self, task: Task, turn: int, key: int, terms: Terms) -> None:
        self.process.start(self._handle(task, turn, key, terms))

    def _handle(self, task: Task, turn: int, key: int, terms: Terms) -> Steps:
        world = self.world
        id = world.new_id(key)
        line = Line(self.process, world.database, timeout_seconds=2.0)
        try:
            job: int = yield from self._commit(line, key, id, terms)
        except Away:
            line.hang_up()
            if task.turn == turn:
                task.go_on(0.001, AWAY)  # 503
            return
        if task.turn == turn and world.kernel.random.random() >= world.network.badness:
            task.go_on(0.001, job)  # 202, unless its connection is gone
        if job == id:
            line = Line(self.process, world.redis, timeout_seconds=times.REDIS_TIMEOUT)
            with suppress(Away):  # the controller rings
                yield line.ask(world.redis.ring, 1)

    def _commit(self, line: Line, key: int, id: int, terms: Terms) -> Steps:
        return (yield line.ask(self.world.database.submit, key, id, terms))


class Client:
    """Wants one job done. It lives outside: no fault strikes it, but whatever it asks may be lost."""

    def __init__(self, world: World, key: int, *, at: float, cancels_after: float | None) -> None:
        self._world = world
        self._key = key
        self._cancels_after = cancels_after
        self._at = at
        random = world.kernel.random
        self._terms = draw_terms(random)
        world.works_by_key[key] = draw_work(random)
        Process(world.kernel, f"client-{key}", "outside").start(self._want())

    def _want(self) -> Steps:
        world, random = self._world, self._world.kernel.random
        yield self._at
        while True:
            try:
                job: int = yield random.choice(world.apis).submit(self._key, self._terms)
                break
            except Away:
                yield 0.1 + 0.9 * random.random()
        world.checker.answered(self._key, job)
        if self._cancels_after is not None:
            yield self._cancels_after
            yield from self._cancel(job)

    def _cancel(self, job: int) -> Steps:
        database = self._world.database
        process = Process(self._world.kernel, f"client-{self._key}", "outside")
        with suppress(Away):
            yield Line(process, database, timeout_seconds=2.0).ask(database.cancel, job)
