"""The re-ring: as many doorbells as due jobs, whatever Redis lost, repeated or was emptied of.

The doorbells are also what KEDA measures as waiting work, so those that stand for nothing go.
"""

from __future__ import annotations

import redis.asyncio as redis

from longhaul import doorbell
from longhaul.ledger import queues
from longhaul.ledger.connection import Connection
from longhaul_controller import metrics

RING_AT_MOST = 10_000
"""Doorbells a queue: past this more would only fill memory (about 0.9 kB each) and tell the scaler nothing new."""


class Rering:
    """Remembers which queues had a surplus at the last look: one look may be half way between a commit and its ring."""

    def __init__(self) -> None:
        self._had_surplus: set[str] = set()

    async def run(self, connection: Connection, client: redis.Redis) -> None:
        """Look once. Raises redis.RedisError."""
        waiting = await queues.read_due(connection)
        for queue, one in waiting.items():  # before Redis is asked: an alert goes by them while it is away
            metrics.JOBS_DUE.labels(queue).set(one.jobs)
            metrics.OLDEST_WAIT_SECONDS.labels(queue).set(one.oldest_wait_seconds)
        due = {queue: min(one.jobs, RING_AT_MOST) for queue, one in waiting.items()}
        rung = await doorbell.count(client, due)
        missing = {queue: jobs - rung[queue] for queue, jobs in due.items() if jobs > rung[queue]}
        surplus = {queue for queue, jobs in due.items() if jobs < rung[queue]}
        if missing:
            await doorbell.ring(client, missing)
        lasting = surplus & self._had_surplus
        if lasting:
            await doorbell.trim(client, {queue: due[queue] for queue in lasting})
        self._had_surplus = surplus - lasting
        for queue, jobs in due.items():
            metrics.DOORBELLS_RERUNG.labels(queue).inc(missing.get(queue, 0))
            metrics.DOORBELLS_TRIMMED.labels(queue).inc(rung[queue] - jobs if queue in lasting else 0)
