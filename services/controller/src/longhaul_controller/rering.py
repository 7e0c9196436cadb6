"""The re-ring: as many doorbells as due jobs, whatever Redis lost or repeated.

The doorbells are also what KEDA measures as waiting work, so doorbells that no due job needs are removed.
"""

from __future__ import annotations

from longhaul_controller import metrics
from longhaul_controller.duty import Duty
from longhaul_controller.ports import Acquire, Doorbells

MAX_DOORBELLS = 10_000
"""For each queue: more would only fill memory (about 0.9 kB each) and tell the scaler nothing new."""


class Rering(Duty):
    """Remembers which queues had a surplus at the last look: one look may fall between a commit and its ring."""

    name = "rering"

    def __init__(self, acquire: Acquire, doorbells: Doorbells, *, interval_seconds: float) -> None:
        self.interval_seconds = interval_seconds
        self._acquire = acquire
        self._doorbells = doorbells
        self._had_surplus: set[str] = set()

    async def run(self) -> None:
        """Compare once. Raises LedgerUnavailable or redis.RedisError."""
        async with self._acquire() as ledger:
            waiting = await ledger.read_due()
        for queue, found in waiting.items():  # before Redis is asked: an alert goes by them while Redis is away
            metrics.JOBS_DUE.labels(queue).set(found.jobs)
            metrics.OLDEST_WAIT_SECONDS.labels(queue).set(found.oldest_wait_seconds)
        due = {queue: min(found.jobs, MAX_DOORBELLS) for queue, found in waiting.items()}
        rung = await self._doorbells.count(due)
        missing = {queue: jobs - rung[queue] for queue, jobs in due.items() if jobs > rung[queue]}
        surplus = {queue for queue, jobs in due.items() if jobs < rung[queue]}
        if missing:
            await self._doorbells.ring(missing)
        lasting = surplus & self._had_surplus
        if lasting:
            await self._doorbells.trim({queue: due[queue] for queue in lasting})
        self._had_surplus = surplus - lasting
        for queue, jobs in due.items():
            metrics.DOORBELLS_RERUNG.labels(queue).inc(missing.get(queue, 0))
            metrics.DOORBELLS_TRIMMED.labels(queue).inc(rung[queue] - jobs if queue in lasting else 0)
