"""Settings of the simulated pods: the defaults, and numbers that make long things short."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import PrivateAttr

from longhaul.errors import ResultStoreUnavailable
from longhaul.results import StoredResult
from longhaul_worker.settings import WorkerSettings

if TYPE_CHECKING:
    from tests.faults.simulation.world import World


class SimulatedSettings(WorkerSettings):
    """Those of one world, whose result store is simulated, too."""

    _store: Any = PrivateAttr(None)

    def create_result_store(self, *, timeout_seconds: float = 0.0) -> Any:  # noqa: ARG002 - it never hangs
        return self._store


@cache
def _defaults() -> SimulatedSettings:
    return SimulatedSettings(
        database_url="postgresql://simulated/longhaul",
        redis_url="redis://simulated/0",
        tasks=["simulated"],
        queues=["work"],
        drain_seconds=12.0,
        handover_seconds=6.0,
        result_inline_bytes=200,
        result_limit_bytes=2_000,
        stored_result_limit_bytes=10_000,
        result_store_wait_seconds=20.0,
        celery_exit_seconds=5.0,
    )


def draw_settings(world: World) -> SimulatedSettings:
    """Of one pod."""
    random = world.kernel.random
    settings = _defaults().model_copy(
        update={
            "slots": random.randint(1, 2),
            "exit_after_jobs": random.choice((None, None, None, None, 1, 2)),
            "progress_interval_seconds": random.choice((0.0, 0.5, 0.5)),
        }
    )
    settings._store = world.store
    return settings


class SimulatedStore:
    """A result store: an object is written as a whole or not at all."""

    def __init__(self, world: World) -> None:
        self.is_up = True
        self.objects: dict[str, bytes] = {}
        self._world = world

    async def put(self, result: bytes, *, tenant: str, job_id: UUID, epoch: int) -> StoredResult:
        import asyncio

        random = self._world.kernel.random
        await asyncio.sleep(0.01 + 0.05 * random.random())
        key = f"{tenant}/{job_id}/{epoch}"
        is_lost = not self.is_up
        if not is_lost or random.random() < 0.3:
            self.objects[key] = result
        if is_lost:
            raise ResultStoreUnavailable
        return StoredResult(key=key, size_bytes=len(result), sha256=hashlib.sha256(result).hexdigest())
