"""What is no job's result, and can't become one, leaves the result store; what is or can never does."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from tests.integration.controller.conftest import lends
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer
from tests.stores import keys, store_away

from longhaul.errors import ResultStoreUnavailable
from longhaul.ledger import jobs, leases, retention
from longhaul.ledger.claims import Claim
from longhaul.ledger.connection import Connection
from longhaul.ledger.leases import AttemptEnd, Lease
from longhaul.results import ResultStore, StoredResult
from longhaul.states import Ending, decide
from longhaul_controller.orphaned_results import DeleteOrphanedResults

pytestmark = [pytest.mark.anyio, pytest.mark.fault("F40")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> ResultStore:
    return ResultStore(f"file://{folder}")


async def look(connection: Connection, store: ResultStore, *, older_than_seconds: float) -> None:
    duty = DeleteOrphanedResults(lends(connection), store, older_than_seconds=older_than_seconds, interval_seconds=3600)
    await duty.run()


async def put(store: ResultStore, claim: Claim) -> StoredResult:
    return await store.put(b'"large"', tenant=claim.tenant, job_id=claim.job_id, epoch=claim.epoch)


async def end(connection: Connection, claim: Claim, ending: Ending, stored: StoredResult | None = None) -> bool:
    one = AttemptEnd(
        lease=Lease(job_id=claim.job_id, epoch=claim.epoch),
        ending=ending,
        transition=decide(ending, claim.budget, jitter=0),
        stored=stored,
    )
    return (await leases.end(connection, [one]))[0] is not None


async def test_only_what_nobody_refers_to_or_may_yet_refer_to_is_deleted(
    connection: Connection, store: ResultStore, folder: Path
) -> None:
    claimer = Claimer()
    (succeeded,) = await given.queued(connection)
    first = await claimer.claim_one(connection)
    stale = await put(store, first)
    assert await end(connection, first, Ending.HANDED_OVER)
    second = await claimer.claim_one(connection)
    assert await end(connection, second, Ending.SUCCEEDED, await put(store, second))
    assert not await end(connection, first, Ending.SUCCEEDED, stale)

    (running,) = await given.queued(connection)
    await put(store, await claimer.claim_one(connection))

    await store.put(b'"large"', tenant="acme", job_id=uuid4(), epoch=1)  # of a job that retention has deleted
    (failed,) = await given.queued(connection)
    third = await claimer.claim_one(connection)
    await put(store, third)
    assert await end(connection, third, Ending.CANCELLED)

    assert len(keys(folder)) == 5
    await look(connection, store, older_than_seconds=3600)
    assert len(keys(folder)) == 5  # too young
    await look(connection, store, older_than_seconds=-3600)
    assert keys(folder) == sorted([f"{succeeded}/2.json", f"{running}/1.json"])
    found = await jobs.read_result(connection, succeeded)
    assert found is not None
    assert found["stored"].key.endswith(f"{succeeded}/2.json")
    assert await given.state(connection, failed) == "cancelled"


async def test_a_result_goes_after_its_job(connection: Connection, store: ResultStore, folder: Path) -> None:
    await given.queued(connection)
    claim = await Claimer().claim_one(connection)
    await end(connection, claim, Ending.SUCCEEDED, await put(store, claim))
    await look(connection, store, older_than_seconds=-3600)
    assert len(keys(folder)) == 1
    assert await retention.purge(connection, older_than_seconds=-60) == 1
    await look(connection, store, older_than_seconds=-3600)
    assert keys(folder) == []


async def test_a_store_that_is_away_is_looked_at_again(
    connection: Connection, store: ResultStore, folder: Path
) -> None:
    await store.put(b'"large"', tenant="acme", job_id=uuid4(), epoch=1)
    with store_away(folder), pytest.raises(ResultStoreUnavailable):
        await look(connection, store, older_than_seconds=-3600)
    await look(connection, store, older_than_seconds=-3600)
    assert keys(folder) == []
