"""The simulation itself: one clock, a heap of what happens next, and what each of these things does.

All that is random comes from one seed; no other clock than the simulation's is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

from longhaul_cli.simulator.autoscaler import NodeAutoscaler
from longhaul_cli.simulator.cluster import Cluster
from longhaul_cli.simulator.fleet import Fleet
from longhaul_cli.simulator.jobs import Job, Way, end_on_going_pod, kept_seconds
from longhaul_cli.simulator.nodes import Node, Nodes
from longhaul_cli.simulator.outcome import Outcome
from longhaul_cli.simulator.pods import Attempt, Phase, Pod, Work, WorkerPod
from longhaul_cli.simulator.pools import Mode, Pool
from longhaul_cli.simulator.tally import Tally

_PATIENCE_SECONDS = 24 * 3600.0
"""After the last job came: if for so long none starts or ends, none ever will."""


def simulate(
    jobs: Iterable[Job],
    pools: Sequence[Pool],
    cluster: Cluster,
    *,
    seed: int = 0,
    until_seconds: float = 0.0,
    sample_seconds: float = 15.0,
) -> Outcome:
    """Run `jobs`, which come in the order in which they are due, on `pools` in `cluster`.

    It begins with each pool's least pods ready, and goes on until all jobs have ended, and at least `until_seconds`.
    Raises ValueError for jobs out of order, or for a queue that no pool serves.
    """
    return Engine(jobs, pools, cluster, seed=seed, until_seconds=until_seconds, sample_seconds=sample_seconds).run()


class Engine:
    """One simulation. `simulate` is the way in."""

    def __init__(
        self,
        jobs: Iterable[Job],
        pools: Sequence[Pool],
        cluster: Cluster,
        *,
        seed: int,
        until_seconds: float,
        sample_seconds: float,
    ) -> None:
        self.now = 0.0
        self.rng = Random(seed)
        self._jobs = iter(jobs)
        self._cluster = cluster
        self._until = until_seconds
        self._sample_seconds = sample_seconds
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = count()
        self._fleets = {pool.name: Fleet(pool, self) for pool in pools}
        queues = {queue for pool in pools for queue in pool.queues}
        self._waiting: dict[str, list[tuple[float, int, Work]]] = {queue: [] for queue in queues}
        self._servers = {
            queue: [fleet for fleet in self._fleets.values() if queue in fleet.pool.queues] for queue in queues
        }
        self._nodes = Nodes(cluster.empty_node)
        self._autoscaler = NodeAutoscaler(cluster, self._nodes, self)

        self._tally = Tally(queues, self._fleets)
        self._created_until = 0.0
        self._has_begun = False

    def run(self) -> Outcome:
        """Run to the end."""
        self._begin()
        job = next(self._jobs, None)
        while True:
            at = self._events[0][0] if self._events else float("inf")
            if job is not None and job.due_seconds <= at:
                self._advance(job.due_seconds)
                self._arrive(job)
                job = next(self._jobs, None)
                continue
            if job is None and self._is_over(at):
                break
            self._advance(at)
            _, _, happen, facts = heappop(self._events)
            happen(*facts)
        self._advance(max(self.now, self._until))
        return self._tally.outcome(self.now, self._fleets, self._nodes, self._cluster)

    # What a fleet and the node autoscaler ask for.

    def create(self, pod: WorkerPod) -> None:
        """As fast as the API server lets the controller manager: a bucket of tokens."""
        each = 1 / self._cluster.pods_created_per_second
        self._created_until = max(self._created_until, self.now) + each
        at = self._created_until - each * self._cluster.pods_created_at_once
        if at <= self.now or not self._has_begun:
            self._nodes.want(pod)
        else:
            self._at(at, self._created, pod)

    def _created(self, pod: WorkerPod) -> None:
        if pod.phase is Phase.PENDING:
            self._nodes.want(pod)
            self._schedule()

    def waiting(self, pool: Pool) -> int:
        return sum(len(self._waiting[queue]) for queue in pool.queues)

    def terminate(self, pod: WorkerPod, *, within_seconds: float) -> None:
        fleet, pool = pod.fleet, pod.fleet.pool
        fleet.withdraw(pod)
        if pod.phase is Phase.GOING:
            self._kill_by(pod, self.now + within_seconds)
            return
        fleet.running -= len(pod.attempts)
        fleet.enter(pod, Phase.GOING)
        pod.killed_at = self.now + within_seconds
        for attempt in pod.attempts:
            end = end_on_going_pod(
                started=attempt.started_at,
                finishes=attempt.ends_at,
                checkpoint_seconds=attempt.work.job.checkpoint_seconds,
                now=self.now,
                drain_seconds=pool.drain_seconds,
                handover_seconds=pool.handover_seconds,
                killed_at=pod.killed_at,
            )
            self._end_at(attempt, end.at, end.way, end.kept_seconds)
        self._leave_if_idle(pod)

    def order_node(self) -> None:
        node = self._nodes.add(self.now, ready_at=self.now + self._cluster.node_start_seconds)
        self._at(node.ready_at, self._node_ready)

    def empty_node(self, node: Node) -> None:
        node.is_leaving = True
        for pod in sorted(node.pods, key=lambda one: one.number):
            if isinstance(pod, WorkerPod):
                grace = min(pod.fleet.pool.grace_seconds, self._cluster.max_graceful_termination_seconds)
                self.terminate(pod, within_seconds=grace)
            else:
                self._nodes.release(pod)
                self._nodes.want(pod)
        self._remove_if_empty(node)
        for fleet in self._fleets.values():
            fleet.settle()
        self._schedule()

    # What happens.

    def _begin(self) -> None:
        for fleet in self._fleets.values():
            fleet.grow(0 if fleet.pool.mode is Mode.JOB else fleet.desired)
        number = count()
        for kind, gives_way in self._cluster.beside:
            for _ in range(kind.count):
                self._nodes.want(Pod(kind.size, next(number), gives_way=gives_way))
        for _ in range(self._cluster.min_nodes):
            self._nodes.add(0.0, ready_at=0.0)
        while self._begin_pods() and len(self._nodes.all) < self._cluster.max_nodes:
            self._nodes.add(0.0, ready_at=0.0)
            self._nodes.became_ready()
        self._tally.nodes_ready(len(self._nodes.all))
        self._created_until, self._has_begun = 0.0, True
        for fleet in self._fleets.values():
            if fleet.pool.mode is Mode.KEDA:
                self._every(self._cluster.hpa_sync_seconds, self._look, fleet.sync)
            if fleet.pool.mode is Mode.JOB or (fleet.pool.mode is Mode.KEDA and not fleet.pool.min_replicas):
                self._every(fleet.pool.polling_seconds, self._look, fleet.poll)
        self._every(self._cluster.node_scan_seconds, self._autoscaler.scan)

    def _begin_pods(self) -> bool:
        """Pods that are there from the start are ready at once. Whether one more node could hold more of them."""
        for pod in self._nodes.schedule(0.0):
            if isinstance(pod, WorkerPod):
                pod.fleet.enter(pod, Phase.STARTING)
                self._pod_ready(pod)
        return any(self._nodes.empty.holds(pod.room) for pod in self._nodes.pending)

    def _every(self, seconds: float, happen: Callable[..., None], *facts: Any) -> None:
        """From a random moment of the first period on."""

        def again() -> None:
            happen(*facts)
            self._at(self.now + seconds, again)

        self._at(self.rng.uniform(0, seconds), again)

    def _look(self, look: Callable[[], None]) -> None:
        look()
        self._schedule()

    def _node_ready(self) -> None:
        self._nodes.became_ready()
        self._tally.nodes_ready(self._nodes.count_ready(self.now))
        self._schedule()

    def _schedule(self) -> None:
        for pod in self._nodes.schedule(self.now):
            if isinstance(pod, WorkerPod):
                pod.fleet.enter(pod, Phase.STARTING)
                pod.placed_at = self.now
                self._at(self.now + self._cluster.pod_start_seconds, self._pod_ready, pod)

    def _pod_ready(self, pod: WorkerPod) -> None:
        fleet = pod.fleet
        if pod.phase is not Phase.STARTING:
            return  # it was taken away meanwhile
        fleet.enter(pod, Phase.READY)
        pod.ready_at = self.now
        self._tally.pods_ready(fleet)
        self._take(pod)
        if fleet.pool.mode is Mode.JOB and not pod.taken:
            self._at(self.now + fleet.pool.idle_seconds, self._give_up, pod)

    def _give_up(self, pod: WorkerPod) -> None:
        """A pod for one job got none."""
        if pod.phase is Phase.READY and not pod.taken:
            self.terminate(pod, within_seconds=pod.fleet.pool.grace_seconds)
            self._schedule()

    def _arrive(self, job: Job) -> None:
        if job.queue not in self._servers:
            raise ValueError(f"no pool serves the queue {job.queue}")
        work = Work(job, self._tally.jobs)
        self._tally.came(job)
        self._enqueue(work)

    def _enqueue(self, work: Work) -> None:
        """A job is due: a pod with a free slot has it at once. Which, is chance: each listens for itself."""
        queue = work.job.queue
        waiting, servers = self._waiting[queue], self._servers[queue]
        free = sum(len(fleet.free) for fleet in servers)
        if not free:  # else nobody waits: see _take
            heappush(waiting, (work.rank, work.number, work))
            return
        index = self.rng.randrange(free)
        for fleet in servers:
            if index < len(fleet.free):
                self._start(work, fleet.free[index])
                return
            index -= len(fleet.free)

    def _take(self, pod: WorkerPod) -> None:
        """Keeps: a job waits only while no pod that serves its queue has a free slot."""
        fleet = pod.fleet
        queues = [self._waiting[queue] for queue in fleet.pool.queues]
        while fleet.has_slot(pod):
            best = min((waiting for waiting in queues if waiting), key=lambda waiting: waiting[0][:2], default=None)
            if best is None:
                fleet.offer(pod)
                return
            self._start(heappop(best)[2], pod)

    def _start(self, work: Work, pod: WorkerPod) -> None:
        attempt = Attempt(work, pod, self.now)
        pod.attempts.append(attempt)
        pod.taken += 1
        fleet = pod.fleet
        fleet.running += 1
        fleet.running_in_all += 1
        if not fleet.has_slot(pod):
            fleet.withdraw(pod)
        self._tally.started(work, self.now)
        self._at(attempt.ends_at, self._end, attempt, attempt.ends_at)

    def _end_at(self, attempt: Attempt, at: float, way: Way, kept: float) -> None:
        """Let an attempt end in another way than it would have."""
        attempt.way, attempt.kept_seconds = way, kept
        if at != attempt.ends_at:
            attempt.ends_at = at
            self._at(at, self._end, attempt, at)

    def _end(self, attempt: Attempt, planned_at: float) -> None:
        pod, work = attempt.pod, attempt.work
        if attempt.ends_at != planned_at or attempt not in pod.attempts:
            return  # it was planned anew
        pod.attempts.remove(attempt)
        fleet = pod.fleet
        self._tally.ended(attempt, self.now)
        fleet.running_in_all -= 1
        if pod.phase is not Phase.GOING:
            fleet.running -= 1
        if attempt.way is not Way.FINISHED:
            work.done_seconds += attempt.kept_seconds
            if attempt.way is Way.CUT:
                self._at(self.now + self._cluster.lease_seconds, self._enqueue, work)
            else:
                self._enqueue(work)
        if pod.phase is Phase.GOING:
            self._leave_if_idle(pod)
        elif fleet.pool.mode is Mode.JOB:
            self.terminate(pod, within_seconds=fleet.pool.grace_seconds)
        else:
            self._take(pod)
        self._schedule()

    def _kill_by(self, pod: WorkerPod, at: float) -> None:
        """A pod that is going already gets less time."""
        if at >= pod.killed_at:
            return
        pod.killed_at = at
        for attempt in pod.attempts:
            if attempt.ends_at > at:
                kept = kept_seconds(at - attempt.started_at, attempt.work.job.checkpoint_seconds)
                self._end_at(attempt, at, Way.CUT, kept)

    def _leave_if_idle(self, pod: WorkerPod) -> None:
        if pod.attempts:
            return
        fleet, node = pod.fleet, pod.node
        fleet.enter(pod, Phase.GONE)
        if node is None:
            self._nodes.forget(pod)
            return
        fleet.pod_seconds += self.now - pod.placed_at
        self._nodes.release(pod)
        self._remove_if_empty(node)

    def _remove_if_empty(self, node: Node) -> None:
        if node.is_leaving and not node.pods and node in self._nodes.all:
            self._nodes.remove(node, self.now)

    # The clock, and what is read at it.

    def _at(self, at: float, happen: Callable[..., None], *facts: Any) -> None:
        heappush(self._events, (at, next(self._order), happen, facts))

    def _advance(self, at: float) -> None:
        if at < self.now:
            raise ValueError(f"a job is due at {at:g} s, before one that came earlier: sort them")
        while (sample_at := self._tally.samples * self._sample_seconds) < at:
            waiting = sum(len(waiting) for waiting in self._waiting.values())
            self._tally.sample(sample_at, self._fleets, self._nodes, waiting=waiting)
        self.now = at

    def _is_over(self, next_at: float) -> bool:
        if next_at <= self._until:
            return False
        is_stuck = not self._tally.running and next_at - self._tally.moved_at > _PATIENCE_SECONDS
        return self._tally.done == self._tally.jobs or is_stuck
