"""All mutations, by the part of Longhaul that they break."""

from __future__ import annotations

from collections.abc import Sequence

from tests.mutants.mutation import Mutation
from tests.mutants.mutations import api, claims, controller, jobs, leases, webhooks, worker

PARTS: dict[str, Sequence[Mutation]] = {
    "The API": api.MUTATIONS,
    "Jobs, and what is kept of them": jobs.MUTATIONS,
    "Claims": claims.MUTATIONS,
    "Leases, and the end of an attempt": leases.MUTATIONS,
    "The process that runs a task": worker.OF_A_CHILD,
    "The keeper": worker.OF_THE_KEEPER,
    "The controller": controller.MUTATIONS,
    "Webhooks": webhooks.MUTATIONS,
}

MUTATIONS = [mutation for mutations in PARTS.values() for mutation in mutations]
