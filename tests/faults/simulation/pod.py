"""A worker pod: its disk, its keeper with the code that ships, and Celery.

The keeper here is what `longhaul_worker.keeper.keep` builds, less what needs sockets: probes, and the publishers to Redis.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.faults.simulation import tasks, times
from tests.faults.simulation.celery import Celery, Supervisor
from tests.faults.simulation.child import Child
from tests.faults.simulation.kernel import Process
from tests.faults.simulation.ledger import DatabaseLine, SimulatedLedger
from tests.faults.simulation.settings import SimulatedSettings

from longhaul.ledger.leases import Lease, Written
from longhaul.ledger.workers import Worker
from longhaul_worker.drain import drain, wait_until_done
from longhaul_worker.ledger import WorkerLedger
from longhaul_worker.outcome_spool import OutcomeSpool
from longhaul_worker.recorder import Recorder
from longhaul_worker.session.server import SessionServer
from longhaul_worker.slots import Slots

if TYPE_CHECKING:
    from tests.faults.simulation.world import World


class Disk(type(Path())):  # type: ignore[misc]  # the class of this system's paths
    """A folder on a disk that can be full."""

    is_full = False

    @classmethod
    def of(cls, folder: Path) -> Disk:
        """On a disk of its own."""
        own: Disk = type("Disk", (cls,), {})(folder)
        return own

    def fill(self, is_full: bool) -> None:
        """Of the whole disk."""
        type(self).is_full = is_full

    def open(self, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if self.is_full and "w" in mode:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().open(mode, *arguments, **options)


class Pod:
    """A place for one keeper and its Celery at a time. What dies is started again, as Kubernetes would."""

    def __init__(self, world: World, name: str, settings: SimulatedSettings) -> None:
        self.world = world
        self.name = name
        self.settings = settings
        self.jobs_per_child = world.kernel.random.choice((1, 3, 100))
        self.is_leaving = False
        self.disk = Disk.of(world.folder / name)
        self._starts = 0
        self.start()

    def start(self) -> None:
        """A keeper that starts is another worker to the ledger."""
        self._starts += 1
        self.is_leaving = False
        self.keeper = Keeper(self, f"{self.name}.{self._starts}")

    @property
    def celery(self) -> Celery | None:
        return self.keeper.supervisor.celery

    @property
    def children(self) -> list[Child]:
        return self.celery.children if self.celery is not None else []

    @property
    def processes(self) -> list[Process]:
        celery = [self.celery.process] if self.celery is not None else []
        return [self.keeper.process, *celery, *(child.process for child in self.children)]

    @property
    def is_sound(self) -> bool:
        """Whether it lives, is not frozen, and not cut off."""
        frozen = any(process.is_alive and not process.is_running for process in self.processes)
        return self.keeper.process.is_alive and not frozen and not self.is_cut

    @property
    def is_cut(self) -> bool:
        return any(host == self.name for host, _ in self.world.network.cuts)

    @property
    def can_claim(self) -> bool:
        """Whether a job could be taken up here now."""
        keeper = self.keeper
        return (
            self.is_sound
            and keeper.is_claiming
            and self.celery is not None
            and self.celery.process.is_alive
            and any(child.is_idle and child.pid in keeper.slots._children for child in self.children)
        )

    @property
    def reaches_redis(self) -> bool:
        return self.world.redis.answers and (self.name, "redis") not in self.world.network.cuts

    def kill(self, *, restart_seconds: float, keeps_disk: bool = True) -> None:
        """All of it at once: the keeper is process 1."""
        self.world.owner_lost(self)
        self.keeper.lose()
        for child in self.children:
            child.kill()
        for process in self.processes:
            process.kill()
        if not keeps_disk:
            shutil.rmtree(self.disk, ignore_errors=True)
        self.world.kernel.outside.after(restart_seconds, self._restart)

    def _restart(self) -> None:
        """Unless it was killed twice, and the other restart came first."""
        if not self.keeper.process.is_alive:
            self.start()

    def exit(self) -> None:
        """Drained: gone, and replaced."""
        if not self.is_leaving:
            self.is_leaving = True
            self.world.kernel.outside.after(0.0, self._go)

    def _go(self) -> None:
        self.kill(restart_seconds=1.0, keeps_disk=False)


class Keeper:
    """Lives as long as its process."""

    def __init__(self, pod: Pod, name: str) -> None:
        self.pod, self.world, self.kernel = pod, pod.world, pod.world.kernel
        self.name = name
        self.process = Process(self.kernel, f"{name}/keeper", pod.name)
        self.healthy_since = self.kernel.now
        self.is_draining = False
        self.worker = Worker(
            id=self.world.new_uuid(),
            name=pod.name,
            pool="default",
            queues=[tasks.QUEUE],
            slots=pod.settings.slots,
            version="0",
        )
        self.process.run_now(self._build)
        self.process.start(self._keep())

    def _build(self) -> None:
        settings = self.pod.settings
        self._must_go = asyncio.Event()
        self.supervisor = Supervisor(self)
        spool = OutcomeSpool(self.pod.disk)
        self.recorder = Recorder(settings, self.worker, [tasks.TASK.spec], spool, self._announce, self._connect)
        self.slots = Slots(settings, self.recorder, self, random=self.kernel.random.random)
        self.server = SessionServer(self.slots)

    async def _keep(self) -> None:
        loop = self.process.loop
        celery = loop.create_task(self.supervisor.run())
        for name, work in {
            "recorder": self.recorder.run(),
            "sampling": self.slots.sample_memory(),
            "fallback": self._fall_back(),
        }.items():
            loop.create_task(work).add_done_callback(partial(self._note_end, name))
        settings = self.pod.settings
        done = loop.create_task(wait_until_done(settings, self.recorder, self.slots))
        signal = loop.create_task(self._must_go.wait())
        await asyncio.wait([done, signal], return_when=asyncio.FIRST_COMPLETED)
        self.is_draining = True
        await drain(settings, self.recorder, self.slots, self.supervisor, celery)
        self.pod.exit()

    def _note_end(self, name: str, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        self.kernel.fail(f"I6: the {name} of {self.name} ended by itself: {error!r}")

    def terminate(self) -> None:
        """SIGTERM."""
        self.process.after(0.0, self._must_go.set)

    def lose(self) -> None:
        """A fault takes it, and what it has in memory."""
        for lease in self.leases:
            self.world.checker.log_of(lease).causes.add("keeper_lost")

    @property
    def leases(self) -> list[Lease]:
        """All attempts that it knows."""
        return [*(attempt.lease for attempt in self.recorder._attempts.values()), *self.recorder._ends]

    @property
    def is_claiming(self) -> bool:
        recorder = self.recorder
        return recorder.is_up and not recorder.is_draining and self.slots.jobs_left != 0

    def attempt_of(self, pid: int) -> Lease | None:
        """What it believes that a process runs."""
        child = self.slots._children.get(pid)
        return child.attempt.lease if child is not None and child.attempt is not None else None

    def runs(self, lease: Lease) -> bool:
        """Whether a process here works at this attempt, or its result or outcome waits here. What is frozen counts: it can
        neither take up its job nor notice that nobody works at it."""
        if not self.process.is_alive:
            return False
        children = [child for child in self.pod.children if child.process.is_alive]
        if lease in self.recorder._ends or any(child.lease == lease for child in children):
            return True
        attempt = self.recorder._attempts.get(lease.job_id)
        if attempt is None or attempt.lease != lease:
            return False
        frozen = {child.pid for child in children if not child.process.is_running}
        is_given_to_frozen = attempt.child is not None and attempt.child.pid in frozen
        return attempt._is_settled or not self.process.is_running or is_given_to_frozen

    def _announce(self, written: Iterable[Written]) -> None:
        self.world.checker.announced(written)

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[WorkerLedger]:
        line = DatabaseLine(self.process, self.world.database)
        try:
            await line.connect()
            yield SimulatedLedger(line, self.world.database)
        finally:
            line.hang_up()

    async def _fall_back(self) -> None:
        """As `fallback.Fallback`, whose socket can't be here."""
        random, loop, answered_at = self.kernel.random, self.process.loop, self.kernel.now
        while True:
            if self.pod.reaches_redis:
                answered_at = loop.time()
                await asyncio.sleep(4.0 + random.random())
            elif loop.time() - answered_at <= times.REDIS_SILENCE:
                await asyncio.sleep(1.0)
            else:
                celery = self.supervisor.celery
                if celery is not None and self.slots.free:
                    celery.process.after(0.0005, celery.ring)
                self.slots.claimed.clear()
                try:
                    await asyncio.wait_for(self.slots.claimed.wait(), 2.0 * random.uniform(0.5, 1.5))
                except TimeoutError:
                    continue

    # `pool_process.Processes`.

    def is_main(self, pid: int) -> bool:
        celery = self.supervisor.celery
        return celery is not None and celery.process.is_alive and celery.pid == pid

    def is_pool_child(self, pid: int) -> bool:
        return any(child.pid == pid and child.process.is_alive for child in self.pod.children)

    def open(self, pid: int) -> PoolProcess:
        return PoolProcess(self, next(child for child in self.pod.children if child.pid == pid))

    def read_oom_kills(self) -> int:
        return self.world.oom_kills


class PoolProcess:
    """`pool_process.PoolProcess` of a simulated child."""

    def __init__(self, keeper: Keeper, child: Child) -> None:
        self._keeper = keeper
        self._child = child

    def kill(self) -> None:
        """By the keeper's hand, which has to have a reason."""
        if self._child.process.is_alive:
            self._child.exit_code = -9
            self._child.process.kill()

    async def wait_dead(self) -> None:
        dead = asyncio.Event()
        if self._child.process.is_alive:
            self._child.process.on_death.append(lambda: self._keeper.process.after(0.0003, dead.set))
        else:
            dead.set()
        await dead.wait()

    def read_peak_memory_bytes(self) -> int | None:
        return 1_000_000 if self._child.process.is_alive else None
