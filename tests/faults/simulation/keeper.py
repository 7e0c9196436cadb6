"""The keeper: the one process of a worker pod that speaks to the ledger, and its drain and its fallback.

Sources: services/worker/src/longhaul_worker/{recorder,attempt,slots,drain,fallback,spool}.py.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from tests.faults.simulation import times
from tests.faults.simulation.attempt import Attempt
from tests.faults.simulation.database import End, Lease
from tests.faults.simulation.kernel import Away, Process, Signal, Steps, Wish
from tests.faults.simulation.network import Line

from longhaul.machine import Job
from longhaul.states import Ending, decide

if TYPE_CHECKING:
    from tests.faults.simulation.worker import Child, Pod


class Keeper:
    """Lives as long as its process."""

    def __init__(self, pod: Pod, id: str) -> None:
        self.world, self.pod = pod.world, pod
        self.kernel = pod.world.kernel
        self.id = id
        """The worker's id in the ledger: that of this start."""
        self.process = Process(self.kernel, f"{id}/keeper", pod.name)
        self.is_up = False
        self.is_draining = False
        self.healthy_since = self.kernel.now
        self.attempts: dict[int, Attempt] = {}
        self.ends: dict[Lease, End] = dict(pod.spool)
        self._claims: list[Child] = []
        self._claiming = 0
        self._renew_at = 0.0
        self._round_ends_at = 0.0
        self._wake, self._changed, self._claimed = Signal(), Signal(), Signal()
        self.process.start(self._run())
        self.process.start(self._fall_back())

    @property
    def is_idle(self) -> bool:
        return not self._claiming and all(attempt.is_over for attempt in self.attempts.values())

    @property
    def is_settled(self) -> bool:
        return not self.attempts and not self.ends

    # What children say. Each comes as a message, so it waits while this process is frozen.

    def hear_claim(self, child: Child) -> None:
        """A child heard a doorbell, and asks for a job."""
        if not self.is_up or self.is_draining:
            child.receive(child.take, None)
            return
        self._claims.append(child)
        self._claiming += 1
        self._wake.set()

    def hear_note(self, said: tuple[Attempt, str, int]) -> None:
        """Progress, or a checkpoint, which is answered once it is committed, or kept here while the ledger is away."""
        attempt, type, value = said
        if attempt.is_over:
            return
        attempt.say(type, value)
        if not self.is_up:
            attempt.release()
        self._wake.set()

    def hear_end(self, said: tuple[Attempt, Ending]) -> None:
        self._finish(*said)

    def hear_death(self, child: Child) -> None:
        """The pidfd of a child tells: by this keeper's hand, by its own, or by a fault."""
        attempt, child.attempt = child.attempt, None
        if attempt is not None and not attempt.is_over:
            self._finish(attempt, attempt.killed_as or Ending.CRASHED)

    def _finish(self, attempt: Attempt, ending: Ending) -> None:
        if attempt.is_over:
            return
        attempt.close()
        if attempt.child.attempt is attempt:
            attempt.child.attempt = None
        self.world.capacity_changed()
        transition = decide(ending, attempt.job.budget, jitter=self.kernel.random.random())
        result = attempt.lease if ending is Ending.SUCCEEDED else None
        self._end(End(attempt.lease, transition, result, attempt.checkpoint))

    def _end(self, end: End) -> None:
        self.ends[end.lease] = end
        if not self.is_up:
            self.pod.save(end)
        self._changed.set()
        self._wake.set()

    # The one connection to the ledger: `Recorder.run`.

    def _run(self) -> Steps:
        database = self.world.database
        while True:
            line = Line(self.process, database, timeout_seconds=times.ROUND_TIMEOUT)
            try:
                line.timeout_seconds = times.CONNECT_TIMEOUT
                yield line.ask(database.look)
                self._renew_at = 0.0
                self._set_up(True)
                while True:
                    yield from self._wait()
                    self._round_ends_at = self.kernel.now + times.ROUND_TIMEOUT
                    yield from self._write(line)
            except Away:
                line.hang_up()
                self._set_up(False)
                yield times.RECONNECT

    def _wait(self) -> Steps:
        delay = self._renew_at - self.kernel.now
        for attempt in self.attempts.values():
            delay = min(delay, attempt.due_in_seconds(self.kernel.now))
        if delay > 0 and not self.ends and not self._claims:
            yield self._wake.wait(delay)

    def _write(self, line: Line) -> Steps:
        if self.kernel.now >= self._renew_at:
            yield from self._renew(line)
        if any(attempt.due_in_seconds(self.kernel.now) <= 0.0 for attempt in self.attempts.values()):
            yield from self._record(line)
        if self.ends:
            yield from self._commit(line)
        if self._claims:
            yield from self._claim(line)

    def _ask(self, line: Line, operation: Callable[..., Any], *arguments: Any) -> Wish:
        line.timeout_seconds = max(0.001, self._round_ends_at - self.kernel.now)
        return line.ask(operation, *arguments)

    def _renew(self, line: Line) -> Steps:
        self._renew_at = self.kernel.now + times.RENEW
        watched = list(self.attempts.values())
        leases = [attempt.lease for attempt in watched]
        held: dict[int, bool] = yield self._ask(line, self.world.database.renew, self.id, leases)
        for attempt in watched:
            if attempt.job.id not in held:
                self._lose(attempt)
            elif held[attempt.job.id]:
                self._ask_to_cancel(attempt)

    def _record(self, line: Line) -> Steps:
        for attempt in list(self.attempts.values()):
            if attempt.due_in_seconds(self.kernel.now) > 0.0:
                continue
            said = attempt.take()
            is_mine: bool = yield self._ask(line, self.world.database.record, attempt.lease, *said)
            if is_mine:
                attempt.wrote(said, self.kernel.now)
            else:
                self._lose(attempt)

    def _commit(self, line: Line) -> Steps:
        ends = list(self.ends.values())
        yield self._ask(line, self.world.database.end, ends)
        for end in ends:  # accepted; or refused, since the job was reaped, or this was committed before
            self.ends.pop(end.lease, None)
            self.forget(end.lease)
            self.pod.forget(end.lease)
        self._changed.set()

    def _claim(self, line: Line) -> Steps:
        waiting, self._claims = self._claims, []
        try:
            found: list[Job] = yield self._ask(line, self.world.database.claim, self.id, len(waiting))
        except Away:
            self._answer_all(waiting, [])  # nobody waits through an outage: the doorbell is forgotten, and rung again
            raise
        self._answer_all(waiting, found)

    def _answer_all(self, waiting: list[Child], found: list[Job]) -> None:
        self._claiming -= len(waiting)
        self._changed.set()
        for child, job in zip_longest(waiting, found):
            self._answer(child, job)

    def _answer(self, child: Child, job: Job | None) -> None:
        if job is None:
            child.receive(child.take, None)
        elif child.process.is_alive:
            self.watch(child, job)
        else:  # it died while it asked
            self._end(End(Lease(job.id, job.epoch), decide(Ending.HANDED_OVER, job.budget, jitter=0.0)))

    def watch(self, child: Child, job: Job) -> None:
        """Hold an attempt from now on, until its end is committed or its lease is lost."""
        if job.id in self.attempts:
            self._lose(self.attempts[job.id])  # frozen between two statements: reaped meanwhile, and claimed anew here
        attempt = Attempt(job, child)
        self.attempts[job.id] = child.attempt = attempt
        self._claimed.set()
        self.world.capacity_changed()
        child.receive(child.take, attempt)
        limit = self.world.works[job.id].timeout_seconds
        self.kernel.after(limit, self._kill, (attempt, Ending.TIMED_OUT), self.process)

    def _lose(self, attempt: Attempt) -> None:
        if not attempt.is_over:
            attempt.child.kill()
        attempt.close()
        self.forget(attempt.lease)
        self.ends.pop(attempt.lease, None)
        self.pod.forget(attempt.lease)
        self._changed.set()

    def forget(self, lease: Lease) -> None:
        """Watch an attempt no more; a newer one of the same job stays."""
        attempt = self.attempts.get(lease.job)
        if attempt is not None and attempt.lease == lease:
            del self.attempts[lease.job]

    def _ask_to_cancel(self, attempt: Attempt) -> None:
        if not attempt.is_over and not attempt.stop_asked:
            attempt.stop_asked = True
            attempt.child.receive(attempt.child.hear_cancel, attempt)
            self.kernel.after(times.CANCEL_GRACE, self._kill, (attempt, Ending.CANCELLED), self.process)

    def _kill(self, order: tuple[Attempt, Ending]) -> None:
        attempt, ending = order
        if not attempt.is_over:
            attempt.killed_as = attempt.killed_as or ending
            attempt.child.kill()

    def _set_up(self, up: bool) -> None:
        self.is_up = up
        self.world.capacity_changed()
        if not up:
            for end in self.ends.values():
                self.pod.save(end)
            for attempt in self.attempts.values():
                attempt.release()
            waiting, self._claims = self._claims, []
            self._answer_all(waiting, [])

    # Without Redis: `Fallback`.

    def _fall_back(self) -> Steps:
        random, answered_at = self.kernel.random, self.kernel.now
        while True:
            if self.pod.reaches_redis:
                answered_at = self.kernel.now
                yield 4.0 + random.random()
            elif self.kernel.now - answered_at <= times.REDIS_SILENCE:
                yield 1.0
            else:
                self.pod.ring()
                yield self._claimed.wait(2.0 * random.uniform(0.5, 1.5))

    # The way out: `drain`.

    def drain(self) -> Steps:
        """SIGTERM: hear nothing new, let jobs finish, ask the others to hand over, leave nothing."""
        ends_at = self.kernel.now + times.DRAIN
        self.is_draining = True
        self._wake.set()
        self.pod.stop_listening()
        yield from self._wait_until(lambda: self.is_idle, ends_at - times.HANDOVER)
        for attempt in self.attempts.values():
            if not attempt.is_over and self.world.works[attempt.job.id].is_interruptible:
                attempt.child.receive(attempt.child.hear_drain, attempt)
        yield from self._wait_until(lambda: self.is_idle, ends_at - times.DRAIN_MARGIN)
        for attempt in list(self.attempts.values()):
            self._kill((attempt, Ending.HANDED_OVER))
        yield from self._wait_until(lambda: self.is_settled, ends_at)
        self.pod.exit()

    def _wait_until(self, condition: Callable[[], bool], deadline: float) -> Steps:
        while not condition() and self.kernel.now < deadline:
            yield self._changed.wait(deadline - self.kernel.now)
