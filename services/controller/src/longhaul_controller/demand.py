"""Demand: the jobs that run on each pool, as sets that KEDA's stock redis trigger measures.

The keys never expire: an old number means that nobody knows, and must not read as zero.
"""

from __future__ import annotations

from longhaul_controller import metrics
from longhaul_controller.duty import Duty
from longhaul_controller.ports import Acquire, Doorbells


class Demand(Duty):
    """Writes a set only if it changed, or if Redis lost it."""

    name = "demand"

    def __init__(self, acquire: Acquire, doorbells: Doorbells, *, interval_seconds: float) -> None:
        self.interval_seconds = interval_seconds
        self._acquire = acquire
        self._doorbells = doorbells
        self._published: dict[str, frozenset[str]] | None = None

    def lead_anew(self) -> None:
        self._published = None

    async def run(self) -> None:
        """Publish once. Raises LedgerUnavailable or redis.RedisError."""
        if self._published is None:
            # A pool whose last job ended while another replica or nobody led would keep its last number for ever.
            self._published = dict.fromkeys(await self._doorbells.read_pools(), frozenset())
        async with self._acquire() as ledger:
            running = {pool: frozenset(ids) for pool, ids in (await ledger.read_running_by_pool()).items()}
        for gone in self._published.keys() - running.keys():
            running[gone] = frozenset()
        sizes = await self._doorbells.count_running(list(running))
        for pool, job_ids in running.items():
            if job_ids != self._published.get(pool) or sizes[pool] != len(job_ids):
                await self._doorbells.replace_running(pool, job_ids)
            self._published[pool] = job_ids
            metrics.JOBS_RUNNING.labels(pool).set(len(job_ids))
