"""The history of a job, read in pages, and its attempts as it tells them."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import orjson
import pytest
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer

from longhaul.contract import AttemptView, EventView
from longhaul.ledger import events, jobs, leases
from longhaul.ledger.connection import Connection
from longhaul.states import Ending

pytestmark = pytest.mark.anyio


async def test_a_history_is_read_in_pages(connection: Connection) -> None:
    (id,) = await given.queued(connection)
    claim = await Claimer().claim_one(connection)
    await leases.record(connection, [given.said(given.lease(claim), *["log"] * 20)])
    pages, after = [], 0
    while page := await events.read(connection, id, after=after, limit=5):
        pages.append(page)
        after = page[-1]["id"]
    assert [event["id"] for page in pages for event in page] == list(range(1, 23))
    assert [len(page) for page in pages] == [5, 5, 5, 5, 2]
    assert await events.read(connection, uuid4(), after=0) == []


async def test_several_pages_are_one_question(connection: Connection) -> None:
    first, second = await given.queued(connection, 2)
    claims = {claim.job_id: claim for claim in await Claimer().claim(connection, slots=2)}
    await leases.record(connection, [given.said(given.lease(claims[first]), *["log"] * 5)])
    unknown = uuid4()
    wanted = [(first, 0), (first, 4), (second, 1), (second, 9), (unknown, 0)]
    pages = await events.read_pages(connection, wanted, limit=3)
    assert list(pages) == wanted
    for (id, after), page in pages.items():
        assert page == await events.read(connection, id, after=after, limit=3)
    assert [event["id"] for event in pages[first, 4]] == [5, 6, 7]


async def test_an_event_is_told_as_the_contract_says(connection: Connection) -> None:
    (id,) = await given.queued(connection)
    claim = await Claimer(name="pod-3").claim_one(connection)
    _, started = await events.read(connection, id, after=0)
    view = EventView.model_validate(started)
    assert (view.job_id, view.id, view.type, view.attempt, view.data) == (id, 2, "started", 1, {"worker": "pod-3"})
    sent = events.encode(id, claim.event_seq, "started", claim.claimed_at, claim.epoch, {"worker": "pod-3"})
    assert EventView.model_validate(orjson.loads(sent)) == view


async def test_logs_are_read_alone_and_changes_without_reports(connection: Connection) -> None:
    (id,) = await given.queued(connection)
    claim = await Claimer().claim_one(connection)
    await leases.record(connection, [given.said(given.lease(claim), "progress", "log", "checkpoint", "log")])
    await given.ended(connection, claim, Ending.SUCCEEDED)
    assert [event["id"] for event in await events.read_logs(connection, id, after=0)] == [4, 6]
    assert [event["id"] for event in await events.read_logs(connection, id, after=4)] == [6]
    assert [event["id"] for event in await events.read_logs(connection, id, after=0, limit=1)] == [4]
    changes = await events.read_changes(connection, id, after=0, until=7)
    assert [event["type"] for event in changes] == ["queued", "started", "succeeded"]
    assert await events.read_changes(connection, id, after=1, until=6) == changes[1:2]


async def test_the_newest_number_of_many_jobs_is_one_question(connection: Connection) -> None:
    first, second = await given.queued(connection, 2)
    await jobs.cancel(connection, second)
    assert await events.read_last_ids(connection, [first, second, uuid4()]) == {first: 1, second: 2}


async def test_attempts_are_told_by_the_events(connection: Connection) -> None:
    (id,) = await given.queued(connection)
    assert await events.read_attempts(connection, id) == []
    endings = [Ending.TRANSIENT, Ending.CRASHED, Ending.HANDED_OVER, Ending.LEASE_LOST, Ending.SUCCEEDED]
    for number, ending in enumerate(endings):
        claim = await Claimer(name=f"pod-{number}").claim_one(connection)
        running = (await events.read_attempts(connection, id))[-1]
        assert (running["attempt"], running["ended_at"], running["ending"]) == (number + 1, None, None)
        await leases.record(connection, [given.said(given.lease(claim), "log")])
        end = replace(given.attempt_end(given.lease(claim), claim.budget, ending), evidence={"number": number})
        assert await leases.end(connection, [end])
    attempts = [AttemptView.model_validate(one) for one in await events.read_attempts(connection, id)]
    assert [one.attempt for one in attempts] == [1, 2, 3, 4, 5]
    assert [one.worker for one in attempts] == [f"pod-{number}" for number in range(5)]
    assert [one.ending for one in attempts] == endings
    assert [one.error.code if one.error else None for one in attempts] == [
        "transient",
        "crashed",
        None,
        "lease_lost",
        None,
    ]
    assert [one.evidence for one in attempts] == [{"number": number} for number in range(5)]
    for one in attempts:
        assert one.ended_at is not None
        assert one.started_at < one.ended_at


async def test_a_cancel_between_two_attempts_leaves_the_first_as_it_ended(connection: Connection) -> None:
    (id,) = await given.queued(connection)
    await given.ended(connection, await Claimer().claim_one(connection), Ending.TRANSIENT)
    (before,) = await events.read_attempts(connection, id)
    await jobs.cancel(connection, id)
    assert await events.read_attempts(connection, id) == [before]
    assert (before["ending"], before["error"]["code"]) == ("transient", "transient")


async def test_a_cancel_of_a_running_attempt_is_its_ending_once_it_stopped(connection: Connection) -> None:
    (id,) = await given.queued(connection)
    claim = await Claimer().claim_one(connection)
    await jobs.cancel(connection, id)
    assert (await events.read_attempts(connection, id))[0]["ended_at"] is None
    await given.ended(connection, claim, Ending.CANCELLED)
    (attempt,) = await events.read_attempts(connection, id)
    assert attempt["ending"] == "cancelled"
