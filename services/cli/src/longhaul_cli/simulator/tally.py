"""What is counted while the simulation runs, and the outcome that it makes."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping

from longhaul_cli.simulator.cluster import Cluster
from longhaul_cli.simulator.fleet import Fleet
from longhaul_cli.simulator.jobs import Job, Way
from longhaul_cli.simulator.nodes import Nodes
from longhaul_cli.simulator.outcome import Outcome, PoolOutcome, PoolSample, Sample
from longhaul_cli.simulator.pods import Attempt, Phase, Work
from longhaul_cli.simulator.pools import Mode


class Tally:
    """The counters of one simulation."""

    def __init__(self, queues: Iterable[str], pools: Iterable[str]) -> None:
        self.jobs = 0
        self.done = 0
        self.running = 0
        self.moved_at = 0.0
        """When a job last came, started or ended."""
        self._waits = {queue: array("d") for queue in sorted(queues)}
        self._interrupted = {way: 0 for way in Way if way is not Way.FINISHED}
        self._lost_seconds = 0.0
        self._busy_seconds = dict.fromkeys(pools, 0.0)
        self._most_ready = dict.fromkeys(pools, 0)
        self._most_nodes = 0
        self._samples: list[Sample] = []

    @property
    def samples(self) -> int:
        return len(self._samples)

    def came(self, job: Job) -> None:
        """A job is due."""
        self.jobs += 1
        self.moved_at = job.due_seconds

    def started(self, work: Work, now: float) -> None:
        """An attempt began."""
        self.running += 1
        self.moved_at = now
        if not work.has_started:
            work.has_started = True
            self._waits[work.job.queue].append(now - work.job.due_seconds)

    def ended(self, attempt: Attempt, now: float) -> None:
        """An attempt ended."""
        worked = now - attempt.started_at
        self.running -= 1
        self.moved_at = now
        self._busy_seconds[attempt.pod.fleet.pool.name] += worked
        if attempt.way is Way.FINISHED:
            self.done += 1
        else:
            self._interrupted[attempt.way] += 1
            self._lost_seconds += worked - attempt.kept_seconds

    def pods_ready(self, fleet: Fleet) -> None:
        """One more pod is ready."""
        name = fleet.pool.name
        self._most_ready[name] = max(self._most_ready[name], fleet.counts[Phase.READY])

    def nodes_ready(self, count: int) -> None:
        self._most_nodes = max(self._most_nodes, count)

    def sample(self, at: float, fleets: Mapping[str, Fleet], nodes: Nodes, *, waiting: int) -> None:
        """How things are at a time."""
        ready = nodes.count_ready(at)
        self._samples.append(
            Sample(
                at_seconds=at,
                pools={name: _pool_sample(fleet) for name, fleet in fleets.items()},
                nodes=ready,
                nodes_starting=len(nodes.all) - ready,
                waiting=waiting,
                running=self.running,
            )
        )

    def outcome(self, now: float, fleets: Mapping[str, Fleet], nodes: Nodes, cluster: Cluster) -> Outcome:
        """What it all came to."""
        return Outcome(
            seconds=now,
            waits=self._waits,
            jobs=self.jobs,
            done=self.done,
            interrupted=sum(self._interrupted.values()),
            handed_over=self._interrupted[Way.HANDED_OVER],
            lost_seconds=self._lost_seconds,
            pools={name: self._pool_outcome(fleet, now) for name, fleet in fleets.items()},
            node_hours=(nodes.node_seconds + sum(now - node.asked_at for node in nodes.all)) / 3600,
            max_nodes=self._most_nodes,
            node_hour_price=cluster.node_hour_price,
            currency=cluster.currency,
            samples=tuple(self._samples),
        )

    def _pool_outcome(self, fleet: Fleet, now: float) -> PoolOutcome:
        name = fleet.pool.name
        there = sum(now - pod.placed_at for pod in fleet.pods if pod.node)
        pod_hours = (fleet.pod_seconds + there) / 3600
        return PoolOutcome(
            pod_hours=pod_hours,
            busy_hours=self._busy_seconds[name] / 3600,
            slot_hours=pod_hours * (1 if fleet.pool.mode is Mode.JOB else fleet.pool.slots),
            max_replicas=self._most_ready[name],
        )


def _pool_sample(fleet: Fleet) -> PoolSample:
    counts = fleet.counts
    return PoolSample(
        desired=fleet.desired,
        ready=counts[Phase.READY],
        pending=counts[Phase.PENDING] + counts[Phase.STARTING],
        going=counts[Phase.GOING],
        running=fleet.running_in_all,
    )
