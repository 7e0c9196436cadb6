"""The tiers of Redis and PostgreSQL that carry a Longhaul."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

from longhaul.errors import ConfigurationError
from longhaul.sizing import footprint
from longhaul.sizing.assumptions import Assumptions

MEMORY_SHARE: Final = 0.7
"""The guide's: above it the next tier."""

GUIDE_REDIS: Final = "1 GB, 1,000 connections, standard (replicated)"
REDIS_TIERS: Final = (("B0", 0.5), ("B1", 1.0), ("B3", 3.0), ("B5", 6.0), ("B10", 12.0), ("B20", 24.0), ("B50", 60.0))
"""Azure Managed Redis, Balanced: name and memory in GB. Smaller ones of these share their cores."""
POSTGRES_TIERS: Final = (
    # Azure Database for PostgreSQL, flexible server: name, vCores, connections for users. Source: its page of limits.
    ("Standard_D2ds_v5", 2, 844),
    ("Standard_D4ds_v5", 4, 1703),
    ("Standard_D8ds_v5", 8, 3422),
    ("Standard_D16ds_v5", 16, 4985),
    ("Standard_D32ds_v5", 32, 4985),
)
ZONE_REDUNDANT_ABOVE: Final = 0.999
"""Without a standby Azure promises 99.9 % for PostgreSQL, and 99.99 % with one in another zone."""


@dataclass(frozen=True, slots=True)
class Redis:
    """`memory_gib` and `connections` are what is needed; `waiting_jobs` what has a doorbell at the worst."""

    tier: str
    tier_gb: float
    waiting_jobs: int
    memory_gib: float
    connections: int


@dataclass(frozen=True, slots=True)
class Postgres:
    """`cores` and `connections` are what is needed."""

    tier: str
    cores: float
    connections: int
    is_zone_redundant: bool


def redis_for(assumptions: Assumptions, *, waiting_jobs: int, api_pods: int, worker_pods: int) -> Redis:
    """By memory: doorbells of what waits, the sets of what runs, and the clients' buffers."""
    connections = (
        worker_pods * footprint.REDIS_CONNECTIONS_PER_WORKER
        + api_pods * footprint.REDIS_CONNECTIONS_PER_API
        + footprint.REDIS_CONNECTIONS_OF_OTHERS
    )
    memory_bytes = (
        waiting_jobs * footprint.DOORBELL_BYTES
        + assumptions.offered * footprint.RUNNING_BYTES
        + connections * footprint.REDIS_CONNECTION_BYTES
    )
    for tier, gigabytes in REDIS_TIERS:
        if memory_bytes <= gigabytes * 1e9 * MEMORY_SHARE:
            return Redis(tier, gigabytes, waiting_jobs, memory_bytes / 2**30, connections)
    raise ConfigurationError(
        f"{waiting_jobs:,} waiting jobs are {memory_bytes / 2**30:.0f} GiB of doorbells: state fewer, or limit "
        "what may wait."
    )


def postgres_for(assumptions: Assumptions, *, api_pods: int, worker_pods: int) -> Postgres:
    """By connections and by the jobs that a core carries."""
    connections = (
        worker_pods * footprint.LEDGER_CONNECTIONS_PER_WORKER
        + api_pods * footprint.LEDGER_CONNECTIONS_PER_API
        + footprint.LEDGER_CONNECTIONS_OF_OTHERS
    )
    statements_per_second = 2 * assumptions.arrivals_per_second + worker_pods / footprint.RENEWAL_SECONDS
    cores = statements_per_second / (2 * footprint.LEDGER_JOBS_PER_VCORE_SECOND)
    is_zone_redundant = assumptions.availability > ZONE_REDUNDANT_ABOVE
    for tier, vcores, user_connections in POSTGRES_TIERS:
        if connections <= user_connections and ceil(cores) <= vcores:
            return Postgres(tier, cores, connections, is_zone_redundant)
    raise ConfigurationError(
        f"The workers' {worker_pods:,} pods need {connections:,} connections and {cores:.1f} cores of PostgreSQL, more than "
        "one server has: give pods more slots (tasks_per_worker), or run several releases."
    )
