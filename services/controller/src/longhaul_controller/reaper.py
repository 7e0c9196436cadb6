"""The reaper: gives back the jobs of owners that were not heard of for a whole lease."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime

import redis
import structlog

from longhaul.ledger.leases import Written
from longhaul_controller import metrics
from longhaul_controller.containment import Containment
from longhaul_controller.duty import Duty
from longhaul_controller.failures import FailureLog
from longhaul_controller.leader import Leader
from longhaul_controller.ports import Acquire, ControllerLedger, Diagnostics, Doorbells, EventChannel

_DIAGNOSTICS_SECONDS = 0.75
"""How long a lost job waits for evidence: the half second that `PodDiagnostics` takes at most, and some for the loop."""

_log = structlog.get_logger(__name__)


class Reaper(Duty):
    """Ends what expired, with the evidence that there is, and rings for it at once.

    Silent until this process has itself seen the ledger accept writes for one full lease: after an outage every lease is
    old, and the owners need that long to renew.
    """

    name = "reap"

    def __init__(
        self,
        leader: Leader,
        acquire: Acquire,
        *,
        doorbells: Doorbells,
        channel: EventChannel,
        lease_seconds: float,
        interval_seconds: float,
        diagnostics: Diagnostics | None = None,
    ) -> None:
        self.interval_seconds = interval_seconds
        self._leader = leader
        self._acquire = acquire
        self._doorbells = doorbells
        self._channel = channel
        self._lease_seconds = lease_seconds
        self._explain = Containment(diagnostics.explain, deadline_seconds=_DIAGNOSTICS_SECONDS) if diagnostics else None
        self._evidence = FailureLog("evidence_failed", "evidence_recovered")
        self._refused_at: float | None = None

    async def run(self) -> None:
        """Reap once. Raises LedgerUnavailable."""
        async with self._acquire() as ledger:
            # In this order: if the ledger hangs from here on, the reap that comes through at last goes by the time before.
            as_of = await ledger.read_clock()
            if self._leader.ledger_up_seconds() < self._lease_seconds or not await self._may_reap(ledger, as_of):
                return
            written = await self._reap(ledger, as_of)
        if not written:
            return
        metrics.LEASES_REAPED.inc(len(written))
        for end in written:
            _log.warning("lease_reaped", job_id=str(end.job_id), epoch=end.epoch, queue=end.queue, state=end.state)
        await self._announce(written)

    async def stand_by(self) -> None:
        """Renewals that are refused while another replica leads count for this one's silence, too."""
        async with self._acquire() as ledger:
            await self._may_reap(ledger, await ledger.read_clock())

    async def _may_reap(self, ledger: ControllerLedger, as_of: datetime) -> bool:
        """Whether a lease has run out, and renewals are accepted and were for the last lease.

        A trigger, a constraint or a lock can refuse renewals of a ledger that accepts every other write.
        """
        loop = asyncio.get_running_loop()
        try:
            # From the second renewal that did not come: when a lease has run out, it is known whether renewals were refused.
            has_lost = await ledger.touch_late_lease(as_of=as_of, late_seconds=self._lease_seconds / 2)
        except Exception:
            self._refused_at = loop.time()
            raise
        return has_lost and (self._refused_at is None or loop.time() - self._refused_at >= self._lease_seconds)

    async def _reap(self, ledger: ControllerLedger, as_of: datetime) -> list[Written]:
        """End what expired, with evidence if that is possible: whatever is wrong with it, the jobs are given back."""
        if self._explain is not None:
            try:
                owners = await ledger.read_lost_owners(as_of=as_of)
                written = await ledger.reap(as_of=as_of, losses=await self._explain(owners))
            except Exception as error:  # noqa: BLE001 - the reap below raises if the ledger is what fails
                metrics.EVIDENCE_FAILURES.inc()
                self._evidence.failed(error)
            else:
                self._evidence.succeeded()
                return written
        return await ledger.reap(as_of=as_of, losses={})

    async def _announce(self, written: list[Written]) -> None:
        rings = Counter(end.queue for end in written if end.queue and end.state == "queued")
        try:
            await self._doorbells.ring(rings)
            await self._channel.publish(written)
        except (redis.RedisError, OSError):
            pass  # the re-ring looks again within a second, and streams find the gap
