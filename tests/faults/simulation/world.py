"""One world: a seed, a design, a few minutes of virtual time, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.faults.simulation import times
from tests.faults.simulation.api import Api, Client
from tests.faults.simulation.checker import Checker, Violation
from tests.faults.simulation.controller import Controller
from tests.faults.simulation.database import Database
from tests.faults.simulation.faults import FAULTS, Fault
from tests.faults.simulation.keeper import Keeper
from tests.faults.simulation.kernel import Kernel, Process, Signal, Steps
from tests.faults.simulation.network import Network
from tests.faults.simulation.redis import Redis
from tests.faults.simulation.work import Work
from tests.faults.simulation.worker import Pod

from longhaul.states import TERMINAL

QUIET_SECONDS = 240.0
"""After the last fault everything must have ended by then."""


@dataclass(frozen=True)
class Design:
    """What the world is built of: the product's ways, or ones that a test broke on purpose."""

    database: Callable[[Kernel, Network, Checker], Database] = Database
    keeper: Callable[[Pod, str], Keeper] = Keeper
    controller: Callable[[World, str, float | None], Controller] = Controller
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
    endings: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    virtual_seconds: float = 0.0
    violation: str | None = None
    story: list[str] = field(default_factory=list)


class World:
    """All that there is, by a seed."""

    def __init__(self, seed: int, design: Design, *, tells: bool = False) -> None:
        self.seed = seed
        self.design = design
        self.kernel = Kernel(seed, tells=tells)
        self.checker = Checker(self.kernel)
        self.checker.healthy_seconds = self._healthy_seconds
        self.network = Network(self.kernel)
        self.network_bad_until = 0.0
        self.database = design.database(self.kernel, self.network, self.checker)
        self.checker.database_now = lambda: self.database.now
        self.redis = Redis(self.kernel, self.network)
        self.works: dict[int, Work] = {}
        self.works_by_key: dict[int, Work] = {}
        self.faults: Counter[str] = Counter()
        self._ids = 0
        self.pods: list[Pod] = []
        for number in range(2):
            self.pods.append(Pod(self, f"pod-{number}", slots=self.kernel.random.randint(1, 2)))
        # They have been there for long: a reaper that has just started is silent, and would hide what it may do.
        self.controllers = [design.controller(self, f"controller-{number}", -times.LEASE) for number in range(2)]
        self.apis = [design.api(self, f"api-{number}") for number in range(2)]
        self.keys = self.kernel.random.randint(2, 5)
        for key in range(self.keys):
            cancels = self.draw(0, 6) if self.kernel.random.random() < 0.15 else None
            Client(self, key, at=self.draw(0, 8), cancels_after=cancels)
        self._faults_now = 0
        outside = Process(self.kernel, "fate", "outside")
        for _ in range(self.kernel.random.choice((0, 1, 1, 2, 2, 3, 4, 6))):
            outside.start(self._strike(self.kernel.random.choice(design.faults), self.draw(0.2, 12)))

    def run(self) -> Outcome:
        """Until every job has ended and no fault is left, or a violation."""
        outcome = Outcome(self.seed)
        try:
            self.kernel.run(QUIET_SECONDS, self._is_over)
            self.checker.finish(self.database.rows, self.keys)
        except Violation as violation:
            outcome.violation = f"{self.kernel.now:.4f} s: {violation}"
            self.kernel.tell(f"VIOLATION: {violation}")
        outcome.steps = self.kernel.steps
        outcome.events = self.checker.events
        outcome.jobs = len(self.database.rows)
        outcome.faults = self.faults + Counter({str(fate): n for fate, n in self.network.fates.items()})
        outcome.endings = Counter({str(state): n for state, n in self.checker.endings.items()})
        outcome.recoveries = self.checker.recoveries
        outcome.virtual_seconds = self.kernel.now
        outcome.story = self.kernel.story or []
        return outcome

    def _is_over(self) -> bool:
        if len(self.checker.accepted) < self.keys or self._faults_now:
            return False
        return all(state in TERMINAL for state in self.checker.states.values())

    def _strike(self, fault: Fault, at: float) -> Steps:
        """At some time; or at the next statement, before its answer is there, where it hurts most."""
        yield at
        if self.flip():
            write = Signal()
            self.checker.waiting.append(write)
            yield write.wait(3.0)
        name = fault.__name__
        self.faults[name] += 1
        self.kernel.tell(f"fault: {name}")
        self._faults_now += 1
        yield from fault(self)
        self._faults_now -= 1
        self.kernel.tell(f"fault over: {name}")

    def draw(self, low: float, high: float) -> float:
        return self.kernel.random.uniform(low, high)

    def flip(self) -> bool:
        return self.kernel.random.random() < 0.5

    def new_id(self, key: int) -> int:
        """The id that an API gives a job before it knows whether there is one."""
        self._ids += 1
        self.works[self._ids] = self.works_by_key[key]
        return self._ids

    def start_controller(self, number: int) -> None:
        self.controllers[number] = self.design.controller(self, f"controller-{number}", None)

    def start_api(self, number: int) -> None:
        self.apis[number] = self.design.api(self, f"api-{number}")

    def owner_lost(self, pod: Pod) -> None:
        """A fault takes a pod from its jobs: from now on their recovery counts."""
        for job in self.database.rows.values():
            if job.owner == pod.keeper.id:
                self.checker.lost(job.id, job.epoch)

    def capacity_changed(self) -> None:
        """While no slot is free nothing can be taken up again."""
        if not hasattr(self, "pods"):
            return
        is_full = not any(pod.is_well and pod.free for pod in self.pods)
        if self.checker.is_full and not is_full:
            self.checker.calm()
        self.checker.is_full = is_full

    def _healthy_seconds(self, owner: str, job: int, epoch: int) -> float:
        for pod in self.pods:
            if pod.keeper.id == owner and pod.is_sound and pod.runs(job, epoch):
                return self.kernel.now - max(pod.keeper.healthy_since, self.network_bad_until)
        return 0.0


def simulate(seed: int, design: Design = Design(), *, tells: bool = False) -> Outcome:
    """Run the world of a seed. With `tells` its story is written down; that changes nothing else."""
    return World(seed, design, tells=tells).run()
