"""Plays jobs on pods that run nothing: what workers, their keepers and the controller show to the autoscaler."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field

import redis

from longhaul import doorbell
from longhaul.ledger.workers import Work
from longhaul_cli.simulator import Job

QUEUE = POOL = "default"


@dataclass
class Player:
    """Jobs come, wait, run in the slots of ready pods, and end, by the clock of whoever calls `play`."""

    jobs: deque[Job]
    slots: int
    client: redis.Redis
    waiting: deque[Job] = field(default_factory=deque)
    busy: dict[str, int] = field(default_factory=dict)
    """Jobs on each pod that is there and not going."""
    _ends: list[tuple[float, int, str]] = field(default_factory=list)
    _count: int = 0

    @property
    def running(self) -> int:
        return sum(self.busy.values())

    def work(self) -> list[Work]:
        """What the ledger would say of it: jobs that can hand over, and have just done so."""
        return [Work(worker=pod, lost_seconds=0, is_interruptible=True) for pod, count in self.busy.items() if count]

    def play(self, now: float, ready: set[str]) -> None:
        """Go on to `now`, with these pods, and publish the demand where KEDA reads it.

        A pod that is not among them any more drains: its jobs go on to their end, and are no demand.
        """
        self.busy = {pod: self.busy.get(pod, 0) for pod in ready}
        while self._ends and self._ends[0][0] <= now:
            pod = heapq.heappop(self._ends)[2]
            if pod in self.busy:
                self.busy[pod] -= 1
        while self.jobs and self.jobs[0].due_seconds <= now:
            self.waiting.append(self.jobs.popleft())
        free = [pod for pod, count in self.busy.items() for _ in range(self.slots - count)]
        for pod in free[: len(self.waiting)]:
            job = self.waiting.popleft()
            self.busy[pod] += 1
            self._count += 1
            heapq.heappush(self._ends, (now + job.run_seconds, self._count, pod))
        self._publish()

    def _publish(self) -> None:
        bells, running = doorbell.key(QUEUE), doorbell.running_key(POOL)
        with self.client.pipeline() as pipeline:
            pipeline.delete(bells, running)
            if self.waiting:
                pipeline.lpush(bells, *range(len(self.waiting)))
            if self.running:
                pipeline.sadd(running, *range(self.running))
            pipeline.execute()
