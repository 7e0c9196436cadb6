"""Demand: the jobs that run on each pool, as sets that KEDA's stock redis trigger measures.

The keys never expire: an old number means that nobody knows, and must not read as zero.
"""

from __future__ import annotations

from longhaul_controller import metrics
from longhaul_controller.duty import Duty
from longhaul_controller.ports import Acquire, Doorbells


class Demand(Duty):
    """Writes a set only if it changed, or if Redis lost it.

    Every run looks at every set that there is: a keeper or a leader that was frozen can write an old one at any time.
    """

    name = "demand"

    def __init__(self, acquire: Acquire, doorbells: Doorbells, *, interval_seconds: float) -> None:
        self.interval_seconds = interval_seconds
        self._acquire = acquire
        self._doorbells = doorbells
        self._published: dict[str, frozenset[str]] = {}

    def lead_anew(self) -> None:
        self._published = {}

    async def run(self) -> None:
        """Publish once. Raises LedgerUnavailable or redis.RedisError."""
        sizes = await self._doorbells.count_running()
        async with self._acquire() as ledger:
            running = {pool: frozenset(ids) for pool, ids in (await ledger.read_running_by_pool()).items()}
        for pool in sizes.keys() | running.keys() | self._published.keys():
            job_ids = running.get(pool, frozenset())
            if job_ids != self._published.get(pool, frozenset()) or len(job_ids) != sizes.get(pool, 0):
                await self._doorbells.replace_running(pool, job_ids)
            self._published[pool] = job_ids
            metrics.JOBS_RUNNING.labels(pool).set(len(job_ids))
