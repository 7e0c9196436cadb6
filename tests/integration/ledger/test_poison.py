"""A job that kills its worker each time, among neighbours on the only worker there is: who ends as a dead letter."""

from __future__ import annotations

from uuid import UUID

import pytest
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer

from longhaul.ledger import reaping
from longhaul.ledger.connection import Connection
from longhaul.states import Ending

pytestmark = [pytest.mark.anyio, pytest.mark.fault("F1", "F3")]

SLOTS = 5
LIVES_AT_MOST = 50


async def live(connection: Connection, poison: UUID) -> bool:
    """One worker's life: it fills its slots, and either dies with all that it runs, or finishes what is due."""
    worker = Claimer()
    claims = await worker.claim(connection, slots=SLOTS)
    if poison in {claim.job_id for claim in claims}:
        await given.expired(connection, *(claim.job_id for claim in claims))
        await reaping.reap(connection)
    else:
        for claim in claims:
            await given.ended(connection, claim, Ending.SUCCEEDED)
    return bool(claims)


@pytest.mark.parametrize("max_interruptions", [1, 2, 3, 5])
async def test_a_poisoned_job_dies_alone(connection: Connection, max_interruptions: int) -> None:
    """Its neighbours take longer than it does to kill, and are due again together with it each time."""
    (poison,) = await given.queued(connection, max_interruptions=max_interruptions)
    neighbours = await given.queued(connection, SLOTS - 1, max_interruptions=max_interruptions)
    for _ in range(LIVES_AT_MOST):
        await given.due(connection, poison, *neighbours)
        if not await live(connection, poison):
            break
    rows = [await given.row(connection, id) for id in (poison, *neighbours)]
    assert [row["state"] for row in rows] == ["dead", *["succeeded"] * len(neighbours)]
    assert rows[0]["interruptions"] == max_interruptions + 1
    assert max(row["interruptions"] for row in rows[1:]) == max_interruptions // 2 + 1
