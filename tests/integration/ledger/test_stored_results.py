"""A row holds its result or says where it is, never both; a stale epoch's object is never what a row names."""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer

from longhaul.ledger import jobs, leases, reaping, schema
from longhaul.ledger.claims import Claim
from longhaul.ledger.connection import Connection
from longhaul.ledger.leases import AttemptEnd, Lease
from longhaul.results import StoredResult
from longhaul.states import Ending, decide

pytestmark = pytest.mark.anyio


def stored(claim: Claim) -> StoredResult:
    return StoredResult(key=f"results/acme/{claim.job_id}/{claim.epoch}.json", size_bytes=3, sha256="ab" * 32)


async def end(connection: Connection, claim: Claim, *, result: str | None = None) -> bool:
    one = AttemptEnd(
        lease=Lease(job_id=claim.job_id, epoch=claim.epoch),
        ending=Ending.SUCCEEDED,
        transition=decide(Ending.SUCCEEDED, claim.budget, jitter=0),
        result=result,
        stored=stored(claim),
    )
    return (await leases.end(connection, [one]))[0] is not None


async def claimed(connection: Connection) -> Claim:
    await given.queued(connection)
    return await Claimer().claim_one(connection)


async def test_the_row_says_where_the_result_is(connection: Connection) -> None:
    claim = await claimed(connection)
    assert await end(connection, claim)
    found = await jobs.read_result(connection, claim.job_id)
    assert found == {"tenant": "acme", "state": "succeeded", "result": None, "stored": stored(claim)}


@pytest.mark.fault("F40")
async def test_a_stale_epoch_s_object_is_never_named(connection: Connection) -> None:
    first = await claimed(connection)
    await given.expired(connection, first.job_id)
    await reaping.reap(connection)
    await given.due(connection, first.job_id)
    second = await Claimer().claim_one(connection)
    assert second.job_id == first.job_id
    assert not await end(connection, first)
    assert await end(connection, second)
    assert not await end(connection, first)
    found = await jobs.read_result(connection, first.job_id)
    assert found is not None
    assert found["stored"] == stored(second)


async def test_a_row_has_one_result(connection: Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="succeeded_has_result"):
        await end(connection, await claimed(connection), result="{}")


async def test_a_job_with_a_stored_result_outlives_a_migration_back(connection: Connection, database_url: str) -> None:
    claim = await claimed(connection)
    await end(connection, claim)
    assert schema.migrate(database_url, "0002") == "0002"
    assert await read_inline(connection, claim.job_id) == ("succeeded", None)
    assert schema.migrate(database_url) == schema.HEAD
    found = await jobs.read_result(connection, claim.job_id)
    assert found is not None
    assert found["stored"] is None


async def read_inline(connection: Connection, id: UUID) -> tuple[str, object]:
    cursor = await connection.execute("SELECT state, result FROM jobs WHERE id = %s", (id,))
    row = await cursor.fetchone()
    assert row is not None
    return row["state"], row["result"]
