"""The same jobs for both: what comes when, and how long each runs."""

from __future__ import annotations

import random
from dataclasses import dataclass

from longhaul_cli.simulator import Job


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A burst, and after it a Poisson stream; durations are exponential. Times are seconds."""

    burst_at: float
    burst: int
    jobs_per_second: float
    stream_seconds: float
    task_seconds: float
    watch_seconds: float
    """How long the replicas are compared, from the start."""
    seed: int = 1

    def jobs(self) -> list[Job]:
        """In the order in which they come."""
        lots = random.Random(self.seed)
        found = [self._job(self.burst_at, lots) for _ in range(self.burst)]
        at = self.burst_at
        while (at := at + lots.expovariate(self.jobs_per_second)) < self.burst_at + self.stream_seconds:
            found.append(self._job(at, lots))
        return found

    def _job(self, due_seconds: float, lots: random.Random) -> Job:
        return Job(due_seconds=due_seconds, run_seconds=lots.expovariate(1 / self.task_seconds))


GUIDE = Workload(
    burst_at=20, burst=500, jobs_per_second=1000 / 30, stream_seconds=90, task_seconds=30, watch_seconds=600
)
"""The guide's 1,000 tasks of 30 s at once, with half of them in one moment, and then the way down."""
SHORT = Workload(
    burst_at=10, burst=300, jobs_per_second=500 / 30, stream_seconds=60, task_seconds=30, watch_seconds=240
)
"""Half of the load, and a scale-down that waits for less."""
