"""A discrete-event simulation of jobs, worker pods, their autoscalers and nodes. Pure: no clock, no I/O.

`simulate(jobs, pools, cluster, seed=...)` gives an `Outcome`. How far it goes: docs/explanation/simulator.md.
"""

from longhaul_cli.simulator.cluster import Cluster
from longhaul_cli.simulator.engine import simulate
from longhaul_cli.simulator.jobs import Job
from longhaul_cli.simulator.outcome import Outcome, Sample
from longhaul_cli.simulator.pools import Mode, Pool

__all__ = ["Cluster", "Job", "Mode", "Outcome", "Pool", "Sample", "simulate"]
