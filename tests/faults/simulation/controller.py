"""A replica of the controller: who leads, the reaper, and the re-ring.

Sources: services/controller/src/longhaul_controller/{leader,reaper,rering,controller}.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.faults.simulation import times
from tests.faults.simulation.kernel import Away, Process, Steps
from tests.faults.simulation.network import Line

if TYPE_CHECKING:
    from tests.faults.simulation.world import World


class Controller:
    """Lives as long as its process."""

    def __init__(self, world: World, name: str, up_since: float | None = None) -> None:
        self.world, self.kernel = world, world.kernel
        self.name = name
        self.process = Process(world.kernel, name, name)
        self.clock_offset = world.kernel.random.choice((0.0, -3600.0, 3600.0))
        """Its wall clock may be wrong: nobody reads it."""
        self._holds_lock = False
        self._up_since = up_since
        self._seen_at = -1e9 if up_since is None else world.kernel.now
        self._tries_from = 0.0
        self._had_surplus = False
        self.process.start(self._lead())
        self.process.start(self._repeat(self._reap, times.TICK / 2))
        self.process.start(self._repeat(self._rering))

    # Who leads: an advisory lock on a session of its own. Every duty is safe to run twice.

    @property
    def is_leader(self) -> bool:
        return self._holds_lock and not self._is_gap

    @property
    def ledger_up_seconds(self) -> float:
        """For how long this process itself has seen the ledger up, without a gap."""
        return 0.0 if self._up_since is None or self._is_gap else self.kernel.now - self._up_since

    @property
    def must_resign(self) -> bool:
        """It was frozen: a standby that was not may reap at once."""
        return self._holds_lock and self._is_gap

    @property
    def _is_gap(self) -> bool:
        return self.kernel.now - self._seen_at > times.LEADER_GAP

    def _lead(self) -> Steps:
        database = self.world.database
        while True:
            line = Line(self.process, database, timeout_seconds=times.LEADER_GAP, idle_seconds=times.LEADER_IDLE)
            try:
                yield line.ask(database.look)
                while True:
                    if self.must_resign:
                        break
                    if self._holds_lock or self.kernel.now < self._tries_from:
                        yield line.ask(database.look)
                    else:
                        self._holds_lock = yield line.ask(database.try_lock, line)
                        if self._holds_lock:
                            self.world.checker.led(self.ledger_up_seconds)
                            self.kernel.tell(f"{self.name} leads")
                    if self._up_since is None or self._is_gap:
                        self._up_since = self.kernel.now
                    self._seen_at = self.kernel.now
                    yield times.LEADER_LOOK
                line.hang_up()
                self._resign()
            except Away:
                line.hang_up()
                self._up_since = None
                self._resign()
                yield times.RECONNECT / 2

    def _resign(self) -> None:
        if self._holds_lock:
            self._holds_lock = False
            self._tries_from = self.kernel.now + times.LEADER_RESIGNS

    def _repeat(self, duty: Callable[[Line, Line], Steps], interval_seconds: float = times.TICK) -> Steps:
        """A duty, at its interval, while this replica leads."""
        world = self.world
        database, redis = self._lines()
        while True:
            next_at = self.kernel.now + interval_seconds
            if self.is_leader:
                try:
                    yield from duty(database, redis)
                except Away:
                    database.hang_up()
                    redis.hang_up()
                    database, redis = self._lines()
            yield max(0.0, next_at - world.kernel.now)

    def _lines(self) -> tuple[Line, Line]:
        return (
            Line(self.process, self.world.database, timeout_seconds=times.STATEMENT_TIMEOUT),
            Line(self.process, self.world.redis, timeout_seconds=times.REDIS_TIMEOUT, is_pooled=True),
        )

    # The reaper: silent until this process has itself seen the ledger up for one full lease.

    def _reap(self, database: Line, redis: Line) -> Steps:
        as_of: float = yield database.ask(self.world.database.read_clock)
        if not self.may_reap:
            return
        rings: int = yield database.ask(self.world.database.reap, as_of)
        if rings:
            yield redis.ask(self.world.redis.ring, rings)

    @property
    def may_reap(self) -> bool:
        return self.ledger_up_seconds >= times.LEASE

    # The re-ring: as many doorbells as due jobs; a surplus goes if it lasts for two looks.

    def _rering(self, database: Line, redis: Line) -> Steps:
        server = self.world.redis
        due: Any = yield database.ask(self.world.database.count_due)
        rung: Any = yield redis.ask(server.count)
        has_surplus = rung > due
        if rung < due:
            yield redis.ask(server.ring, due - rung)
        elif has_surplus and self._had_surplus:
            yield redis.ask(server.trim, due)
            has_surplus = False
        self._had_surplus = has_surplus
