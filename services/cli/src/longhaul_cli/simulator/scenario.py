"""What is to be tried: the pools of some values in a cluster, with jobs from one source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from longhaul.errors import ConfigurationError
from longhaul_cli.simulator.cluster import Cluster, read_cluster
from longhaul_cli.simulator.engine import simulate
from longhaul_cli.simulator.jobs import Job
from longhaul_cli.simulator.outcome import Outcome
from longhaul_cli.simulator.pools import Pool
from longhaul_cli.simulator.values import read_release


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Pools and the cluster that they are in."""

    name: str
    """The files of values."""
    pools: tuple[Pool, ...]
    cluster: Cluster

    def check(self, queues: Iterable[str]) -> None:
        """Raise ConfigurationError for what would wait for ever: a queue without a pool, a pod without a node."""
        if missing := sorted(set(queues) - {queue for pool in self.pools for queue in pool.queues}):
            raise ConfigurationError(
                f"{self.name}: no pool serves {', '.join(missing)}: add {'it' if len(missing) == 1 else 'them'} to the "
                "queues of a pool, in worker.pools."
            )
        empty = self.cluster.empty_node
        for pool in self.pools:
            if not empty.holds(pool.room):
                raise ConfigurationError(
                    f"{self.name}: a pod of worker.pools.{pool.name} requests {pool.room.millicores}m and "
                    f"{pool.room.mib}Mi, and a node has {empty.millicores}m and {empty.mib}Mi beside its DaemonSets: "
                    "lower resources.requests, or take larger nodes with --cluster."
                )

    def run(self, jobs: Iterable[Job], *, seed: int, until_seconds: float, sample_seconds: float) -> Outcome:
        """Simulate."""
        return simulate(
            jobs,
            self.pools,
            self.cluster,
            seed=seed,
            until_seconds=until_seconds,
            sample_seconds=sample_seconds,
        )


def read_scenario(values: Sequence[Path], cluster: Path | None) -> Scenario:
    """What these files say. Raises ConfigurationError."""
    release = read_release(values)
    return Scenario(
        name=" and ".join(str(path) for path in values) or "the chart's values",
        pools=release.pools,
        cluster=read_cluster(cluster).cluster(release.others, headroom=release.headroom),
    )
