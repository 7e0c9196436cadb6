"""Started, live and ready. Liveness looks at queue depth, and can't kill work: see docs/explanation/probes.md."""

from __future__ import annotations

import asyncio

import redis.asyncio as redis

from longhaul import doorbell
from longhaul_worker.recorder import Recorder
from longhaul_worker.settings import WorkerSettings
from longhaul_worker.slots import Slots
from longhaul_worker.supervisor import Supervisor

LOOK_EVERY_SECONDS = 5.0
ANSWER_SECONDS = 1.0
"""A server that does not answer a check within this counts as down, and a server that is down fails no probe."""


class Probes:
    """Watches the depth of this pod's queues, so that a check itself costs nothing."""

    def __init__(
        self, settings: WorkerSettings, recorder: Recorder, slots: Slots, supervisor: Supervisor, client: redis.Redis
    ) -> None:
        self._settings = settings
        self._recorder = recorder
        self._slots = slots
        self._supervisor = supervisor
        self._client = client
        self._clock = asyncio.get_running_loop().time
        self.redis_answered_at = self._clock()
        """When Redis last served doorbells, or this pod started."""
        self._deep_since: float | None = None

    async def watch(self) -> None:
        """Look at the queues' depth until cancelled."""
        while True:
            depth = await self._depth()
            if depth is None or depth < self._settings.deep_queue:
                self._deep_since = None
            elif self._deep_since is None:
                self._deep_since = self._clock()
            # A Redis that answers may never seem silent only because nobody asked it.
            await asyncio.sleep(min(LOOK_EVERY_SECONDS, self._settings.redis_silence_seconds / 4))

    async def live(self) -> dict[str, str]:
        """Wrong where Celery's loop is silent, or this pod is deaf. That this answers at all is the keeper's own loop."""
        problems = {}
        now = self._clock()
        pulse_at = self._slots.pulse_at or self._supervisor.started_at
        limit = self._settings.pulse_seconds
        if pulse_at is not None and now - pulse_at > limit and not self._supervisor.is_stopping:
            problems["celery"] = f"its main loop was silent for {now - pulse_at:.0f} s"
        if await self._is_deaf(now):
            problems["doorbells"] = (
                f"jobs wait and a slot is free, and nothing was heard for {self._settings.deaf_seconds:g} s"
            )
        return problems

    async def started(self) -> dict[str, str]:
        """Wrong until Celery's main loop ticked once. That needs no server: a pod that starts in an outage goes on."""
        return {} if self._slots.pulse_at is not None else {"celery": "has not started yet"}

    async def ready(self) -> dict[str, str]:
        """Wrong until this pod is registered, once it must go, and where the ledger's schema is not for this version."""
        if self._recorder.is_draining:
            return {"worker": "draining"}
        if self._recorder.refusal is not None:
            return {"ledger": self._recorder.refusal}
        if not self._recorder.is_registered:
            return {"worker": "not registered in the ledger yet"}
        return await self.started()

    async def _is_deaf(self, now: float) -> bool:
        silence = self._settings.deaf_seconds
        if (
            self._deep_since is None
            or now - self._deep_since < silence
            or now - self._slots.heard_at < silence
            or self._slots.free == 0
            or self._recorder.attempts  # a pod that holds a job never fails on depth
            or self._recorder.is_draining
            or not self._recorder.is_up
        ):
            return False
        # Last: Redis too must answer in this very check, or the silence is its doing.
        return (await self._depth() or 0) >= self._settings.deep_queue

    async def _depth(self) -> int | None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await doorbell.try_out(self._client)  # a Redis that refuses doorbells still counts them
                depth = sum((await doorbell.count(self._client, self._settings.queues)).values())
        except (redis.RedisError, OSError):
            return None
        self.redis_answered_at = self._clock()
        return depth
