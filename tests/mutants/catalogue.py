"""All mutations, by the part of Longhaul that they break."""

from __future__ import annotations

from collections.abc import Sequence

from tests.mutants.mutation import Mutation
from tests.mutants.mutations import api, claims, controller, jobs, leases, webhooks

PARTS: dict[str, Sequence[Mutation]] = {
    "The API": api.MUTATIONS,
    "Jobs, and what is kept of them": jobs.MUTATIONS,
    "Claims": claims.MUTATIONS,
    "Leases, and the end of an attempt": leases.MUTATIONS,
    "The controller": controller.MUTATIONS,
    "Webhooks": webhooks.MUTATIONS,
}

MUTATIONS = [mutation for mutations in PARTS.values() for mutation in mutations]
