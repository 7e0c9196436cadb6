"""One world: a seed, a design, a few minutes of virtual time, and what came of it."""

from __future__ import annotations

import asyncio
import gc
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from tests.faults.simulation.api import Api, Client
from tests.faults.simulation.broker import Redis
from tests.faults.simulation.checker import Checker
from tests.faults.simulation.controller import Controller
from tests.faults.simulation.database import Database
from tests.faults.simulation.faults import FAULTS, Fault
from tests.faults.simulation.kernel import Kernel, Process, Violation
from tests.faults.simulation.network import Network
from tests.faults.simulation.pod import Keeper, Pod
from tests.faults.simulation.product import Change, fitted
from tests.faults.simulation.settings import SimulatedStore, draw_settings
from tests.reference_model import Job

from longhaul.ledger.leases import Lease
from longhaul.states import TERMINAL

QUIET_SECONDS = 240.0
"""After the last fault everything must have ended by then."""
LOOK_SECONDS = 0.25
"""Between two looks of the checker at what runs."""
MOST_BACKLOG_BYTES = 8 * 1024 + 4 * 1024 + 1024
"""The product's limit as `product` sets it, what is being written, and one line."""
_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Design:
    """What the world is built of: the product's code, or code that a test broke on purpose."""

    changes: Sequence[Change] = ()
    """Of the product's code."""
    database: Callable[[Kernel, Network, Checker], Database] = Database
    api: Callable[[World, str], Api] = Api
    faults: Sequence[Fault] = FAULTS
    """What may strike."""


@dataclass
class Outcome:
    """What became of one seed."""

    seed: int
    steps: int = 0
    events: int = 0
    jobs: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    fortunes: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    virtual_seconds: float = 0.0
    violation: str | None = None
    story: list[str] = field(default_factory=list)


class World:
    """All that there is, by a seed."""

    def __init__(self, seed: int, design: Design, folder: Path, *, tells: bool = False) -> None:
        self.seed = seed
        self.design = design
        self.folder = folder
        self.kernel = Kernel(seed, tells=tells)
        self.oom_kills = 0
        self.checker = Checker(self.kernel)
        self.network = Network(self.kernel)
        self.network_bad_until = 0.0
        self.database = design.database(self.kernel, self.network, self.checker)
        self.redis = Redis(self.kernel, self.network)
        self.store = SimulatedStore(self)
        self.faults: Counter[str] = Counter()
        self._pids = 1000
        self._connect_checker()
        random = self.kernel.random
        self.pods = [Pod(self, f"pod-{number}", draw_settings(self)) for number in range(2)]
        self.controllers = [Controller(self, f"controller-{number}", has_seen_ledger=True) for number in range(2)]
        self.apis = [design.api(self, f"api-{number}") for number in range(2)]
        self.keys = random.randint(2, 5)
        self.clients = [
            Client(
                self,
                key,
                at=self.draw(0.5, 8),
                cancels_after=self.draw(0, 6) if random.random() < 0.15 else None,
            )
            for key in range(self.keys)
        ]
        self._faults_now = 0
        for _ in range(random.choice((0, 1, 1, 2, 2, 3, 4, 6))):
            self.kernel.outside.start(self._strike(random.choice(design.faults), self.draw(0.2, 12)))
        self.kernel.outside.start(self._look())

    def _connect_checker(self) -> None:
        checker = self.checker
        checker.healthy_seconds = self._healthy_seconds
        checker.leader_up_seconds = self._leader_up_seconds
        checker.database_now = lambda: self.database.now
        checker.params = self.database.params
        checker.stored = self.store.objects.get

    def run(self) -> Outcome:
        """Until every job has ended and no fault is left, or a violation."""
        outcome = Outcome(self.seed)
        try:
            self.kernel.run(QUIET_SECONDS, self._is_over)
            self.checker.finish(self.database.rows, self.keys, self.redis.count_running())
        except Violation as violation:
            outcome.violation = f"{self.kernel.now:.4f} s: {violation}"
            self.kernel.tell(f"VIOLATION: {violation}")
        outcome.steps = self.kernel.steps
        outcome.events = self.checker.events
        outcome.jobs = len(self.database.rows)
        outcome.faults = self.faults + Counter({str(fate): n for fate, n in self.network.fates.items()})
        outcome.fortunes = self._count_fortunes()
        outcome.endings = Counter({str(state): n for state, n in self.checker.endings.items()})
        outcome.recoveries = self.checker.recoveries
        outcome.virtual_seconds = self.kernel.now
        outcome.story = self.kernel.story or []
        return outcome

    def _count_fortunes(self) -> Counter[str]:
        started = [log.lease for log in self.checker.attempts.values()]
        return Counter(str(self.database.params[lease.job_id].fortune(lease.epoch)) for lease in started)

    def close(self) -> None:
        """Let go of all that is left."""
        self.kernel.close()

    def _is_over(self) -> bool:
        if len(self.checker.accepted) < self.keys or self._faults_now:
            return False
        # The last look of the duty that tells the scaler shows that nothing runs any more.
        return all(state in TERMINAL for state in self.checker.states.values()) and not any(self.redis.running.values())

    async def _strike(self, fault: Fault, at: float) -> None:
        """At some time; or at the next statement, before its answer is there; or between two steps of a keeper."""
        await asyncio.sleep(at)
        await self._wait_for_moment()
        name = fault.__name__
        self.faults[name] += 1
        self.kernel.tell(f"fault: {name}")
        self._faults_now += 1
        await fault(self)
        self._faults_now -= 1
        self.kernel.tell(f"fault over: {name}")

    async def _wait_for_moment(self) -> None:
        moment, random = asyncio.Event(), self.kernel.random
        chance = random.random()
        if chance < 0.4:
            self.checker.waiting.append(lambda: self.kernel.outside.after(0.0, moment.set))
        elif chance < 0.6:
            process = random.choice(self.pods).keeper.process
            process.after_steps(random.randint(1, 200), lambda: self.kernel.outside.after(0.0, moment.set))
        else:
            return
        try:
            await asyncio.wait_for(moment.wait(), 3.0)
        except TimeoutError:
            return

    async def _look(self) -> None:
        """Again and again: what the checker can't see in the ledger."""
        while True:
            for pod in self.pods:
                self._note_causes(pod.keeper)
            self.checker.watch_running(self.database.rows.values(), self._is_run)
            self._watch_children()
            self._watch_memory()
            self.note_capacity()
            await asyncio.sleep(LOOK_SECONDS)

    def _note_causes(self, keeper: Keeper) -> None:
        """What from now on may explain how the attempts of a keeper go."""
        causes = {
            "outage": not keeper.recorder.is_up,
            "drained": keeper.is_draining,
            "store_away": not self.store.is_up,
        }
        for lease in keeper.leases:
            self.checker.log_of(lease).causes.update(cause for cause, is_so in causes.items() if is_so)

    def _watch_children(self) -> None:
        """F6: whoever lost a job is stopped."""
        running = {
            child.lease
            for pod in self.pods
            for child in pod.children
            if child.works and child.process.is_running and pod.keeper.recorder.is_up and child.lease is not None
        }
        self.checker.watch_working(running, self.database.rows)

    def _watch_memory(self) -> None:
        for pod in self.pods:
            for attempt in pod.keeper.recorder._attempts.values():
                if attempt._backlog.bytes > MOST_BACKLOG_BYTES:
                    self.kernel.fail(f"a keeper holds {attempt._backlog.bytes} bytes of what {attempt.lease} said")

    def draw(self, low: float, high: float) -> float:
        return self.kernel.random.uniform(low, high)

    def flip(self) -> bool:
        return self.kernel.random.random() < 0.5

    def new_uuid(self) -> UUID:
        return UUID(int=self.kernel.random.getrandbits(128))

    def new_pid(self) -> int:
        self._pids += 1
        return self._pids

    def start_controller(self, number: int) -> None:
        self.controllers[number] = Controller(self, f"controller-{number}")

    def start_api(self, number: int) -> None:
        self.apis[number] = self.design.api(self, f"api-{number}")

    def owner_lost(self, pod: Pod) -> None:
        """A fault takes a pod from its jobs: from now on their recovery counts."""
        for job in self.database.rows.values():
            if job.owner == pod.keeper.worker.id:
                self.checker.lost(job.id, job.epoch)

    def note_capacity(self) -> None:
        """While no slot is free, or no controller runs, nothing can be taken up again."""
        is_full = not any(pod.can_claim for pod in self.pods) or not any(
            controller.process.is_running for controller in self.controllers
        )
        if self.checker.is_full and not is_full:
            self.checker.calm()
        self.checker.is_full = is_full

    def _is_run(self, job: Job) -> bool:
        lease = Lease(job_id=job.id, epoch=job.epoch)
        return any(pod.keeper.runs(lease) for pod in self.pods)

    def _healthy_seconds(self, job: Job) -> float:
        lease = Lease(job_id=job.id, epoch=job.epoch)
        for pod in self.pods:
            if pod.keeper.worker.id == job.owner and pod.is_sound and pod.keeper.runs(lease):
                return self.kernel.now - max(pod.keeper.healthy_since, self.network_bad_until)
        return 0.0

    def _leader_up_seconds(self, process: Process) -> float:
        for controller in self.controllers:
            if controller.process is process:
                return controller.leader.ledger_up_seconds()
        return 0.0


def simulate(seed: int, design: Design = Design(), *, tells: bool = False) -> Outcome:
    """Run the world of a seed. With `tells` its story is written down; that changes nothing else."""
    was_enabled = gc.isenabled()
    gc.disable()  # what is collected runs its `finally`
    place = _MEMORY if _MEMORY.is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="longhaul-simulation-", dir=place) as folder,
        fitted(design.changes) as product,
    ):
        world = World(seed, design, Path(folder), tells=tells)
        product.tell = world.kernel.tell
        try:
            return world.run()
        finally:
            world.close()
            if was_enabled:
                gc.enable()
