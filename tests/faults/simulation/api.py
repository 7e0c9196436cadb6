"""The source of submits and cancels: a small twin of the API, and clients who ask again until they are answered.

The API's own code is not run here; its tests do that.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import UUID

import psycopg
import redis
from tests.faults.simulation import tasks
from tests.faults.simulation.broker import RedisLine
from tests.faults.simulation.kernel import Process
from tests.faults.simulation.ledger import DatabaseLine
from tests.reference_model import Terms

if TYPE_CHECKING:
    from tests.faults.simulation.world import World

DEADLINE_SECONDS = 5.0
"""I5: an API answers in this time, or its client gives up on it."""


class NoAnswer(Exception):
    """The client does not know what became of its request."""


class Api:
    """Lives as long as its process."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.process = Process(world.kernel, name, name)

    async def submit(self, key: int, terms: Terms, params: tasks.Params) -> UUID:
        """A request of a client: the id of its job, once that is committed. Raises NoAnswer."""
        world = self.world
        if not self.process.is_alive or world.kernel.random.random() < world.network.badness:
            await asyncio.sleep(0.01)
            raise NoAnswer
        answer: asyncio.Future[UUID | None] = world.kernel.outside.loop.create_future()

        def reply(job: UUID | None) -> None:
            if not answer.done():
                answer.set_result(job)

        self.process.after(
            0.001, self._serve, key, terms, params, lambda job: world.kernel.outside.after(0.001, reply, job)
        )
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                job = await answer
        except TimeoutError:
            raise NoAnswer from None
        if job is None or world.kernel.random.random() < world.network.badness:
            raise NoAnswer
        return job

    def _serve(self, key: int, terms: Terms, params: tasks.Params, reply: object) -> None:
        self.process.start(self._handle(key, terms, params, reply))

    async def _handle(self, key: int, terms: Terms, params: tasks.Params, reply: object) -> None:
        world = self.world
        assert callable(reply)
        id = world.new_uuid()
        try:
            job = await self._commit(key, id, terms, params)
        except psycopg.Error:
            reply(None)  # 503
            return
        reply(job)  # 202
        if job == id:
            with suppress(redis.RedisError):  # the controller rings
                await RedisLine(self.process, world.redis).ask(world.redis.ring, {tasks.QUEUE: 1})

    async def _commit(self, key: int, id: UUID, terms: Terms, params: tasks.Params) -> UUID:
        line = DatabaseLine(self.process, self.world.database)
        return await line.ask(self.world.database.submit, key, id, terms, params)


class Client:
    """Wants one job done. It lives outside: no fault strikes it, but whatever it asks may be lost."""

    def __init__(self, world: World, key: int, *, at: float, cancels_after: float | None) -> None:
        self._world = world
        self._key = key
        self._cancels_after = cancels_after
        random = world.kernel.random
        self._terms = tasks.draw_terms(random)
        self._params = tasks.draw_params(random, token=random.randrange(10**6))
        world.kernel.outside.start(self._want(at))

    async def _want(self, at: float) -> None:
        world, random = self._world, self._world.kernel.random
        await asyncio.sleep(at)
        while True:
            try:
                job = await random.choice(world.apis).submit(self._key, self._terms, self._params)
                break
            except NoAnswer:
                await asyncio.sleep(0.1 + 0.9 * random.random())
        world.checker.answered(self._key, job)
        if self._cancels_after is not None:
            await asyncio.sleep(self._cancels_after)
            with suppress(psycopg.Error):
                await DatabaseLine(world.kernel.outside, world.database).ask(world.database.cancel, job)
