"""Who leads: the replica whose session of the ledger holds the leadership.

Leading only saves double work. Every duty is safe to run twice, since each is a conditional statement.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import structlog

from longhaul_controller import metrics
from longhaul_controller.containment import Containment
from longhaul_controller.failures import FailureLog
from longhaul_controller.ports import Connect, LeaderSession

_log = structlog.get_logger(__name__)

_CONNECT_SECONDS = 10.0
_LOOK_EVERY_SECONDS = 1.0
_GAP_SECONDS = 3.0
"""A longer pause between two looks was an outage, or this process was frozen: it can't know what it missed."""
_LET_OTHERS_SECONDS = 2.5
"""A replica that lost the leadership, or was frozen with it, lets others try for two of their looks: the reaper of a
standby that saw the ledger all the time need not be silent (found by the simulation of faults: 25 s until a lost job
ran again)."""


class Leader:
    """Tries to lead once a second, and watches the ledger, as a standby too."""

    def __init__(self, connect: Connect, *, reconnect_seconds: float) -> None:
        self._connect = connect
        self._reconnect_seconds = reconnect_seconds
        self._leads = False
        self._up_since: float | None = None
        self._seen_at = 0.0
        self._tries_from = 0.0

    @property
    def is_leader(self) -> bool:
        """Whether this replica led when it looked last, and that was just now.

        A process that wakes up from a freeze finds its old timers due at once: it must not act before it has looked.
        """
        return self._leads and not self._is_gap()

    def ledger_up_seconds(self) -> float:
        """For how long this process itself has seen the ledger accept writes, without a gap."""
        if self._up_since is None or self._is_gap():
            return 0.0
        return asyncio.get_running_loop().time() - self._up_since

    async def run(self) -> None:
        """Lead when possible, until cancelled. Any failure is an outage: it ends the leadership and nothing else."""
        failures = FailureLog("ledger_away", "ledger_back")
        hold = Containment(self._hold)
        while True:
            try:
                await hold(failures)
            except Exception as error:  # noqa: BLE001 - no answer of a database may end this process
                failures.failed(error)
                self._up_since = None
                self._lead(False)
                # Half: after an outage it comes on top of the reaper's silence, and two seconds are all there is.
                await asyncio.sleep(self._reconnect_seconds / 2)

    async def _hold(self, failures: FailureLog) -> None:
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(_CONNECT_SECONDS):
                session = await stack.enter_async_context(self._connect())
            while not (self._leads and self._is_gap()):
                async with asyncio.timeout(_GAP_SECONDS):
                    await self._look(session)
                if self._up_since is None or self._is_gap():
                    self._up_since = loop.time()
                self._seen_at = loop.time()
                failures.succeeded()
                await asyncio.sleep(_LOOK_EVERY_SECONDS)
            self._lead(False)  # frozen meanwhile; another session may lead from here on

    async def _look(self, session: LeaderSession) -> None:
        await session.look()
        if not self._leads and asyncio.get_running_loop().time() >= self._tries_from:
            self._lead(await session.try_lead())

    def _is_gap(self) -> bool:
        return asyncio.get_running_loop().time() - self._seen_at > _GAP_SECONDS

    def _lead(self, leads: bool) -> None:
        if self._leads and not leads:
            self._tries_from = asyncio.get_running_loop().time() + _LET_OTHERS_SECONDS
        if leads != self._leads:
            _log.info("leading" if leads else "not_leading")
        self._leads = leads
        if not leads:
            for gauge in metrics.OF_THE_LEADER:
                gauge.clear()
        metrics.IS_LEADER.set(leads)
