"""F45: what PostgreSQL refuses ends the attempt that brought it, also from the spool; all others are committed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from tests.pods import Platform
from tests.waiting import eventually

from longhaul.ledger import claims, workers
from longhaul.ledger.leases import AttemptEnd, Lease
from longhaul.ledger.workers import Worker
from longhaul.states import Ending, State, Transition
from longhaul_worker.outcome_spool import OutcomeSpool

pytestmark = [pytest.mark.anyio, pytest.mark.fault("F45")]

LEASE_SECONDS = 60.0
SUCCEEDED = AttemptEnd(
    lease=Lease(job_id=uuid4(), epoch=1),
    ending=Ending.SUCCEEDED,
    transition=Transition(state=State.SUCCEEDED, event="succeeded"),
    result='{"echo":1}',
)
REFUSED = {
    "a result that is no JSON": replace(SUCCEEDED, result="NaN"),
    "a checkpoint that is no JSON": replace(SUCCEEDED, checkpoint="{"),
    "a state that there is none": replace(SUCCEEDED, result=None),
    "a delay past all times": replace(
        SUCCEEDED,
        ending=Ending.TRANSIENT,
        result=None,
        transition=Transition(state=State.QUEUED, event="retrying", retries_used=1, delay_seconds=1e15),
    ),
}


async def test_spooled_outcomes_that_postgresql_refuses_end_their_attempts_alone(
    here: Platform, tmp_path: Path
) -> None:
    """As an earlier keeper left them: among good ones, more than once, and the file is put aside."""
    spool = OutcomeSpool(tmp_path / "spool")
    here.start_worker(LONGHAUL_QUEUES="other").end()  # publishes the tasks
    earlier = Worker(id=uuid4(), name="earlier", pool="default", queues=["default"], slots=20, version="0")
    bad: list[UUID] = []
    good: list[UUID] = []
    async with await here.connect() as connection:
        await workers.register(connection, earlier)
        for end in [one for refused in REFUSED.values() for one in (SUCCEEDED, refused)]:
            await here.submit("demo.echo", {"payload": 1}, ring=False)
            (claim,) = await claims.claim(
                connection,
                queue="default",
                slots=[0],
                tasks=["demo.echo"],
                worker_id=earlier.id,
                worker=earlier.name,
                lease_seconds=LEASE_SECONDS,
            )
            (good if end is SUCCEEDED else bad).append(claim.job_id)
            spool.save(replace(end, lease=Lease(job_id=claim.job_id, epoch=claim.epoch)))
    worker = here.start_worker()
    for job_id in good:
        assert (await here.wait_state(job_id, "succeeded"))["result"] == {"echo": 1}
    for job_id in bad:
        job = await here.wait_state(job_id, "failed")
        assert (job["error"]["code"], job["result"]) == ("unstorable", None)
    new = await here.submit("demo.echo", {"payload": 2})
    assert (await here.wait_state(new, "succeeded"))["attempt"] == 1

    async def all_are_put_aside() -> bool:
        return len(list((tmp_path / "spool").glob("*.refused"))) == len(bad)

    await eventually(all_are_put_aside, timeout_seconds=10, what="the refused outcomes are put aside")
    assert list((tmp_path / "spool").glob("*.json")) == []
    assert worker.probe("/livez") is not None
