"""Redis: lists of doorbells, which say nothing but that there is work, those who wait for one, and the sets that KEDA reads.

Sources: services/core/src/longhaul/doorbell.py, and BRPOP as kombu uses it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping

import redis
from tests.faults.simulation import times
from tests.faults.simulation.kernel import Kernel, Process
from tests.faults.simulation.network import Line, Network, Server

from longhaul.ledger.leases import Written


class RedisLine(Line):
    """A client of redis-py."""

    def __init__(self, process: Process, server: Redis, *, timeout_seconds: float = times.REDIS_TIMEOUT) -> None:
        super().__init__(process, server, timeout_seconds=timeout_seconds, is_pooled=True)
        self.hung_seconds = timeout_seconds

    def away(self, reason: str) -> Exception:
        return redis.ConnectionError(reason)

    def timed_out(self) -> Exception:
        return redis.TimeoutError("Timeout reading from socket")

    def conflict(self) -> Exception:
        return redis.ResponseError("MISCONF Redis is configured to save RDB snapshots")


class Redis(Server):
    """One queue of doorbells; those of another queue are forged."""

    def __init__(self, kernel: Kernel, network: Network) -> None:
        super().__init__(kernel, network, "redis")
        self.doorbells: Counter[str] = Counter()
        self.running: dict[str, frozenset[str]] = {}
        """What the scaler measures, by pool."""
        self.repeats = 1
        """How often a ring arrives."""
        self._waiting: list[tuple[asyncio.Future[str], RedisLine]] = []

    def ring(self, counts: Mapping[str, int]) -> None:
        """LPUSH."""
        for queue, count in counts.items():
            self.doorbells[queue] += count * self.repeats
        self._hand_out()

    def count(self, queues: Iterable[str]) -> dict[str, int]:
        """LLEN."""
        return {queue: self.doorbells[queue] for queue in queues}

    def trim(self, counts: Mapping[str, int]) -> None:
        """LTRIM."""
        for queue, keep in counts.items():
            self.doorbells[queue] = min(self.doorbells[queue], keep)

    def count_running(self) -> dict[str, int]:
        return {pool: len(job_ids) for pool, job_ids in self.running.items()}

    def replace_running(self, pool: str, job_ids: Iterable[str]) -> None:
        self.running[pool] = frozenset(job_ids)

    async def pop(self, line: RedisLine) -> str:
        """BRPOP, again and again, until there is a doorbell. It is gone once it is sent: who dies now has lost it."""
        answer: asyncio.Future[str] = line.process.loop.create_future()
        if line.is_cut or self.is_hung:
            line.process.after(line.timeout_seconds, _fail, answer)
        elif not self.answers or not line.is_known:
            line.process.after(0.001, _fail, answer)
        else:
            self._waiting.append((answer, line))
            self._hand_out()
        return await answer

    def flush(self) -> None:
        self.doorbells.clear()
        self.running.clear()

    def stop(self) -> None:
        """Down; whether what it holds comes back with it is the fault's choice."""
        super().stop()
        self.drop(0.001)

    def hang(self) -> None:
        super().hang()
        self.drop(times.CELERY_TIMEOUT)

    def drop(self, seconds: float) -> None:
        """Connections that wait are broken, which their owners see so much later: `CLIENT KILL`."""
        waiting, self._waiting = self._waiting, []
        for answer, line in waiting:
            line.process.after(seconds, _fail, answer)

    def _hand_out(self) -> None:
        for waiting in list(self._waiting):
            if not self.answers or (queue := self._next()) is None:
                return
            answer, line = waiting
            if line.process.frozen_seconds > times.POP:
                line.process.after(0.0, self._hand_out)  # it has its empty answer, and asks again when it thaws
                continue
            self._waiting.remove(waiting)
            if not line.is_known or not line.process.is_alive or answer.done():
                continue
            self.doorbells[queue] -= 1
            if line.is_cut:
                line.process.after(times.CELERY_TIMEOUT, _fail, answer)  # sent, and lost
            else:
                line.process.after(self.network.latency(), _set, answer, queue)

    def _next(self) -> str | None:
        return next((queue for queue, count in self.doorbells.items() if count > 0), None)


def _fail(answer: asyncio.Future[str]) -> None:
    if not answer.done():
        answer.set_exception(redis.ConnectionError("the connection is gone"))


def _set(answer: asyncio.Future[str], queue: str) -> None:
    if not answer.done():
        answer.set_result(queue)


class RedisDoorbells:
    """`longhaul_controller.ports.Doorbells` on this server."""

    def __init__(self, line: RedisLine, server: Redis) -> None:
        self._line = line
        self._server = server

    async def ring(self, counts: Mapping[str, int]) -> None:
        await self._line.ask(self._server.ring, dict(counts))

    async def count(self, queues: Iterable[str]) -> dict[str, int]:
        return await self._line.ask(self._server.count, list(queues))

    async def trim(self, counts: Mapping[str, int]) -> None:
        await self._line.ask(self._server.trim, dict(counts))

    async def count_running(self) -> dict[str, int]:
        return await self._line.ask(self._server.count_running)

    async def replace_running(self, pool: str, job_ids: Iterable[str]) -> None:
        await self._line.ask(self._server.replace_running, pool, list(job_ids))

    async def publish(self, written: Iterable[Written]) -> None:
        """Of `EventChannel`: what nobody hears is found by the streams."""
        await self._line.ask(len, list(written))
