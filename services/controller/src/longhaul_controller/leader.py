"""Who leads: the replica that holds a PostgreSQL advisory lock on a session of its own.

Leading only saves double work. Every duty is safe to run twice, since each is a conditional statement.
"""

from __future__ import annotations

import asyncio

import structlog

from longhaul.errors import LedgerUnavailable, SchemaMismatch
from longhaul.ledger import schema
from longhaul.ledger.connection import AWAY, Connection, connect, first_line
from longhaul_controller import metrics
from longhaul_controller.settings import ControllerSettings

_log = structlog.get_logger(__name__)

_LOOK_EVERY_SECONDS = 1.0
_GAP_SECONDS = 3.0
"""A longer pause between two looks was an outage, or this process was frozen: it can't know what it missed."""
_LET_OTHERS_SECONDS = 2.5
"""Who lost the lock, or was frozen with it, lets others try for two of their looks: the reaper of a standby that saw the
ledger all the time need not be silent (found by the simulation of faults: 25 s until a lost job ran again)."""
# A frozen leader would keep its session, and the lock, for ever: PostgreSQL ends a session that is silent so long.
_PREPARE = "SET idle_session_timeout = '10s'"
_TRY = "SELECT pg_try_advisory_lock(hashtextextended('longhaul:controller', 0)) AS leads"


class Leader:
    """Tries for the lock once a second, and watches the ledger, as a standby too."""

    def __init__(self, settings: ControllerSettings) -> None:
        self._settings = settings
        self._holds_lock = False
        self._up_since: float | None = None
        self._seen_at = 0.0
        self._tries_from = 0.0

    @property
    def is_leader(self) -> bool:
        """Whether this replica held the lock when it looked last, and that was just now.

        A process that wakes up from a freeze finds its old timers due at once: it must not act before it has looked.
        """
        return self._holds_lock and not self._is_gap()

    def ledger_up_seconds(self) -> float:
        """For how long this process itself has seen the ledger up, without a gap."""
        if self._up_since is None or self._is_gap():
            return 0.0
        return asyncio.get_running_loop().time() - self._up_since

    async def run(self) -> None:
        """Until cancelled; the lock goes with the session."""
        while True:
            try:
                connection = await connect(self._settings.database_url, application_name="longhaul-controller leader")
                async with connection:
                    await connection.execute(_PREPARE)
                    await self._hold(connection)
            except (LedgerUnavailable, SchemaMismatch, *AWAY) as error:
                if self._up_since is not None or not self._seen_at:
                    _log.warning("ledger_away", error=first_line(error))
                self._up_since = None
                self._lead(False)
                # Half: after an outage it comes on top of the reaper's silence, and two seconds are all there is.
                await asyncio.sleep(self._settings.reconnect_seconds / 2)

    async def _hold(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        while not (self._holds_lock and self._is_gap()):
            async with asyncio.timeout(_GAP_SECONDS):
                schema.check(await schema.read_revision(connection))  # a migration may cut this version off
                if not self._holds_lock and loop.time() >= self._tries_from:
                    cursor = await connection.execute(_TRY)
                    self._lead((await cursor.fetchone() or {"leads": False})["leads"])
            if self._up_since is None or self._is_gap():
                self._up_since = loop.time()
            self._seen_at = loop.time()
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
        self._lead(False)  # frozen meanwhile; the lock goes with this connection

    def _is_gap(self) -> bool:
        return asyncio.get_running_loop().time() - self._seen_at > _GAP_SECONDS

    def _lead(self, leads: bool) -> None:
        if self._holds_lock and not leads:
            self._tries_from = asyncio.get_running_loop().time() + _LET_OTHERS_SECONDS
        if leads != self._holds_lock:
            _log.info("leading" if leads else "not_leading")
        self._holds_lock = leads
        if not leads:
            for gauge in metrics.OF_THE_LEADER:
                gauge.clear()
        metrics.IS_LEADER.set(leads)
