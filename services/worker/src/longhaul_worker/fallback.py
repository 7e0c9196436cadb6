"""While Redis can't be reached, the keeper rings by itself: idle slots ask the ledger directly, so that jobs still start.

Celery's main process listens on a socket that is there only then; when Redis answers again, it is closed, and Celery goes
back to the doorbells.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path

import structlog

from longhaul_worker import metrics
from longhaul_worker.probes import Probes
from longhaul_worker.settings import WorkerSettings
from longhaul_worker.slots import Slots

_log = structlog.get_logger(__name__)

LOOK_EVERY_SECONDS = 1.0
ASK_EVERY_SECONDS = 2.0
"""On average, a queue and pod: 200 idle pods are 100 claims a second, a tenth of one core of PostgreSQL."""


class Fallback:
    """Offers doorbells of its own after `redis_silence_seconds` without an answer of Redis."""

    def __init__(self, settings: WorkerSettings, slots: Slots, probes: Probes, socket_path: Path) -> None:
        self._settings = settings
        self._slots = slots
        self._probes = probes
        self._socket_path = socket_path
        self._random = random.Random()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            if self._is_needed():
                _log.warning("ledger_asked_directly", reason="Redis does not answer")
                metrics.FALLBACK.set(1)
                await self._ring_until_back()
                metrics.FALLBACK.set(0)
                _log.info("doorbells_heard_again")

    def _is_needed(self) -> bool:
        return asyncio.get_running_loop().time() - self._probes.redis_answered_at > self._settings.redis_silence_seconds

    async def _ring_until_back(self) -> None:
        connections: set[asyncio.StreamWriter] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.add(writer)
            await reader.read()  # until Celery goes: it says nothing
            connections.discard(writer)
            writer.close()

        server = await asyncio.start_unix_server(serve, self._socket_path)
        self._socket_path.chmod(0o600)
        try:
            while self._is_needed():
                for connection in connections:
                    self._ring(connection)
                await self._pause()
        finally:
            self._socket_path.unlink(missing_ok=True)
            server.close()
            for connection in connections:
                connection.close()

    def _ring(self, connection: asyncio.StreamWriter) -> None:
        """Once for each queue, in an order of chance: one free slot hears one of them."""
        queues = list(self._settings.queues)
        self._random.shuffle(queues)
        for queue in queues[: self._slots.free]:
            connection.write(f"{queue}\n".encode())

    async def _pause(self) -> None:
        # Where one found a job, more may wait: the next free slot asks at once.
        self._slots.claimed.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._slots.claimed.wait(), ASK_EVERY_SECONDS * self._random.uniform(0.5, 1.5))
