"""A replica of the controller: the leader, the reaper, the re-ring and demand that ship, on simulated servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from tests.faults.simulation import times
from tests.faults.simulation.broker import RedisDoorbells, RedisLine
from tests.faults.simulation.kernel import Process
from tests.faults.simulation.ledger import DatabaseLine, SimulatedControllerLedger, SimulatedLeaderSession

from longhaul.ledger.reaping import Loss, LostOwner
from longhaul_controller.demand import Demand
from longhaul_controller.duty import Duty, repeat
from longhaul_controller.leader import Leader
from longhaul_controller.ports import ControllerLedger, LeaderSession
from longhaul_controller.reaper import Reaper
from longhaul_controller.rering import Rering

if TYPE_CHECKING:
    from tests.faults.simulation.world import World


class Controller:
    """Lives as long as its process."""

    def __init__(self, world: World, name: str, *, has_seen_ledger: bool = False) -> None:
        self.world, self.kernel = world, world.kernel
        self.name = name
        self.process = Process(world.kernel, name, name)
        self.process.run_now(self._build)
        if has_seen_ledger:  # it has been there for long: the reaper of one that has just started is silent
            self.leader._up_since, self.leader._seen_at = self.kernel.now - times.LEASE, self.kernel.now

    def _build(self) -> None:
        self.leader = Leader(self._connect, reconnect_seconds=times.RECONNECT)
        redis = RedisDoorbells(RedisLine(self.process, self.world.redis), self.world.redis)
        has_diagnostics = self.kernel.random.random() < 0.3
        duties: list[Duty] = [
            Reaper(
                self.leader,
                self._acquire,
                doorbells=redis,
                channel=redis,
                lease_seconds=times.LEASE,
                interval_seconds=times.TICK / 2,
                diagnostics=self if has_diagnostics else None,
            ),
            Rering(self._acquire, redis, interval_seconds=times.TICK),
            Demand(self._acquire, redis, interval_seconds=times.TICK),
        ]
        self.process.start(self.leader.run())
        for duty in duties:
            self.process.start(repeat(duty, self.leader))

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[LeaderSession]:
        line = DatabaseLine(self.process, self.world.database, idle_seconds=times.LEADER_IDLE)
        try:
            await line.connect()
            yield SimulatedLeaderSession(line, self.world.database)
        finally:
            line.hang_up()

    @asynccontextmanager
    async def _acquire(self) -> AsyncIterator[ControllerLedger]:
        """A connection of the pool, which checks none before it gives it out: so each is a new one, at no cost."""
        line = DatabaseLine(self.process, self.world.database)
        try:
            yield SimulatedControllerLedger(line, self.world.database)
        finally:
            line.hang_up()

    async def explain(self, owners: Iterable[LostOwner]) -> Mapping[UUID, Loss]:
        """`ports.Diagnostics`: whoever knows may be slow, wrong or gone."""
        random = self.kernel.random
        await asyncio.sleep(random.choice((0.0, 0.1, 60.0)))
        if random.random() < 0.3:
            raise KeyError("finishedAt")
        return {owner.worker_id: Loss(code="out_of_memory") for owner in owners}
