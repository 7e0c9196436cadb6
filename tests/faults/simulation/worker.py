"""A worker pod: its disk, Celery, and the children of its pool, which run the jobs.

Sources: services/worker/src/longhaul_worker/{celery_app,celery_consumer,run,spool}.py; for restarts, Kubernetes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.faults.simulation import times
from tests.faults.simulation.attempt import Attempt
from tests.faults.simulation.database import End, Lease
from tests.faults.simulation.kernel import Away, Call, Process, Signal, Steps
from tests.faults.simulation.network import Line
from tests.faults.simulation.work import Fortune

from longhaul.states import Ending

if TYPE_CHECKING:
    from tests.faults.simulation.world import World

PIPE_SECONDS = 0.0005
"""A message between two processes of a pod."""


class Pod:
    """A place for one keeper and its Celery at a time. What dies is started again, as Kubernetes would."""

    def __init__(self, world: World, name: str, slots: int) -> None:
        self.world = world
        self.name = name
        self.slots = slots
        self.spool: dict[Lease, End] = {}
        """The disk: it outlives processes, and goes with the node."""
        self.has_disk = True
        self.is_leaving = False
        self._starts = 0
        self.start()

    def start(self, _: Any = None) -> None:
        """A keeper that starts is another worker to the ledger."""
        self._starts += 1
        self.is_leaving = False
        self.keeper = self.world.design.keeper(self, f"{self.name}.{self._starts}")
        self.celery = Celery(self)

    @property
    def processes(self) -> list[Process]:
        return [self.keeper.process, self.celery.process, *(child.process for child in self.celery.children)]

    @property
    def is_well(self) -> bool:
        """Whether it could claim now, as far as nobody looks inside it."""
        return self.keeper.is_up and not self.keeper.is_draining and self.is_sound and self.celery.is_alive

    @property
    def is_sound(self) -> bool:
        """Whether it lives, is not frozen, and not cut off."""
        frozen = any(process.is_alive and not process.is_running for process in self.processes)
        return self.keeper.process.is_alive and not frozen and not self.is_cut

    @property
    def is_cut(self) -> bool:
        return any(host == self.name for host, _ in self.world.network.cuts)

    @property
    def free(self) -> int:
        """Slots that run no job."""
        return sum(child.process.is_alive and child.attempt is None for child in self.celery.children)

    @property
    def reaches_redis(self) -> bool:
        return self.world.redis.answers and (self.name, "redis") not in self.world.network.cuts

    def runs(self, job: int, epoch: int) -> bool:
        """Whether a process here works at this attempt, or its outcome waits here."""
        lease = Lease(job, epoch)
        works = any(
            child.process.is_alive and child.attempt is not None and child.attempt.lease == lease
            for child in self.celery.children
        )
        return works or lease in self.keeper.ends

    def kill(self, *, restart_seconds: float, keeps_disk: bool = True) -> None:
        """All of it at once: the keeper is process 1."""
        self.world.owner_lost(self)
        for process in self.processes:
            process.kill()
        if not keeps_disk:
            self.spool.clear()
        self.world.capacity_changed()
        self.world.kernel.after(restart_seconds, self.start)

    def exit(self) -> None:
        """Drained: gone, and replaced."""
        if not self.is_leaving:
            self.is_leaving = True
            self.kill(restart_seconds=1.0, keeps_disk=False)

    def save(self, end: End) -> None:
        if self.has_disk:
            self.spool.setdefault(end.lease, end)

    def forget(self, lease: Lease) -> None:
        self.spool.pop(lease, None)

    def ring(self) -> None:
        """A doorbell of the keeper's own."""
        self.celery.hand_on()

    def stop_listening(self) -> None:
        self.celery.is_stopping = True


class Celery:
    """The main process: it hears doorbells while a child is free, and starts children anew."""

    def __init__(self, pod: Pod) -> None:
        self.pod, self.world, self.kernel = pod, pod.world, pod.world.kernel
        self.process = Process(self.kernel, f"{pod.keeper.id}/celery", pod.name)
        self.is_stopping = False
        self.freed = Signal()
        self.children = [Child(self) for _ in range(pod.slots)]
        self.process.start(self._listen())

    @property
    def is_alive(self) -> bool:
        return self.process.is_alive

    def _listen(self) -> Steps:
        redis = self.world.redis
        while not self.is_stopping:
            line = Line(self.process, redis, timeout_seconds=times.CELERY_TIMEOUT)
            try:
                while not self.is_stopping:
                    while not any(child.is_free for child in self.children):
                        yield self.freed.wait()
                    yield redis.pop(line)
                    self.hand_on()
            except Away:
                yield 1.0

    def hand_on(self) -> None:
        """A doorbell, to a child that is free. Where none is, or this pod must go, it is forgotten."""
        for child in self.children:
            if child.is_free and not self.is_stopping:
                child.hear_doorbell()
                return

    def replace(self, child: Child) -> None:
        """A new process in the place of a dead one."""
        self.children[self.children.index(child)] = Child(self)
        self.freed.set()

    def kill(self) -> None:
        """The main process alone: its children end with it, and the keeper starts it again."""
        for process in [self.process, *(child.process for child in self.children)]:
            process.kill()
        keeper = self.pod.keeper
        for child in self.children:
            self.kernel.after(0.1, keeper.hear_death, child, keeper.process)
        self.kernel.after(1.0, self._restart, None, keeper.process)

    def _restart(self, _: Any) -> None:
        if not self.is_stopping:
            self.pod.celery = Celery(self.pod)


class Child:
    """One process of the pool: one job at a time, and no line to the ledger but through its keeper."""

    def __init__(self, celery: Celery) -> None:
        self.celery, self.world, self.kernel = celery, celery.world, celery.kernel
        self.keeper = celery.pod.keeper
        self.process = Process(self.kernel, f"{self.keeper.id}/child", celery.pod.name)
        self.attempt: Attempt | None = None
        """What the keeper knows it to run."""
        self._is_busy = False
        self._cancelled = self._draining = False
        self._saved = Signal()

    @property
    def is_free(self) -> bool:
        return self.process.is_alive and not self._is_busy

    def receive(self, call: Call, argument: Any) -> None:
        """A message from the keeper."""
        self.kernel.after(PIPE_SECONDS, call, argument, self.process)

    def kill(self) -> None:
        """SIGKILL. The keeper sees it at once, and Celery soon."""
        if self.process.is_alive:
            self.process.kill()
            self.kernel.after(0.01, self.keeper.hear_death, self, self.keeper.process)
            self.kernel.after(0.3, self.celery.replace, self, self.celery.process)

    def hear_doorbell(self) -> None:
        self._is_busy = True
        self.kernel.after(PIPE_SECONDS, self._ask, None, self.process)

    def _ask(self, _: Any) -> None:
        self._tell(self.keeper.hear_claim, self)

    def _tell(self, call: Call, argument: Any) -> None:
        self.kernel.after(PIPE_SECONDS, call, argument, self.keeper.process)

    def take(self, attempt: Attempt | None) -> None:
        """The keeper's answer to a claim."""
        if attempt is None:
            self._get_free()
            return
        self._cancelled = self._draining = False
        self.process.start(self._work(attempt))

    def hear_cancel(self, attempt: Attempt) -> None:
        self._cancelled |= attempt is self.attempt

    def hear_drain(self, attempt: Attempt) -> None:
        self._draining |= attempt is self.attempt

    def go_on(self, attempt: Attempt) -> None:
        """The checkpoint is saved."""
        if attempt is self.attempt:
            self._saved.set()

    def _work(self, attempt: Attempt) -> Steps:
        work, job = self.world.works[attempt.job.id], attempt.job
        fortune, done = work.fortune(job), job.checkpoint or 0
        while done < work.steps or fortune is Fortune.HANGS:
            yield work.step_seconds
            done += 1
            if fortune is Fortune.HANGS:
                continue
            if self._cancelled:
                break
            if fortune is Fortune.CRASHES and done * 2 >= work.steps:
                self.kill()
                return
            if work.is_interruptible:
                self._tell(self.keeper.hear_note, (attempt, "checkpoint", done))
                yield self._saved.wait()
                if self._draining:
                    break
            else:
                self._tell(self.keeper.hear_note, (attempt, "progress", done))
        ending = fortune.ending
        if done < work.steps:
            ending = Ending.CANCELLED if self._cancelled else Ending.HANDED_OVER
        self._tell(self.keeper.hear_end, (attempt, ending))
        self._get_free()

    def _get_free(self) -> None:
        self._is_busy = False
        self.celery.freed.set()
