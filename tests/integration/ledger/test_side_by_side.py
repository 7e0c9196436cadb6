"""Statements about several jobs, many of them at once: none waits in a circle, none finds what is just going."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from tests.integration.ledger import given

from longhaul.ids import new_job_id
from longhaul.ledger import jobs, retention
from longhaul.ledger.connection import Connection

pytestmark = pytest.mark.anyio


async def dead_letters(connection: Connection, count: int) -> list[UUID]:
    ids = await given.queued(connection, count)
    await connection.execute(
        "UPDATE jobs SET state = 'dead', error = '{}', finished_at = now() WHERE id = ANY(%s)", (ids,)
    )
    return ids


async def test_dead_letters_are_replayed_or_discarded_once_whoever_asks_in_whatever_order(
    connection: Connection, connections: list[Connection]
) -> None:
    ids = await dead_letters(connection, 300)
    orders = [ids, ids[::-1], ids[150:] + ids[:150]]

    async def replay(own: Connection, number: int) -> list[UUID]:
        new_ids = {id: new_job_id() for id in orders[number % 3]}
        rows = await jobs.replay(own, new_ids, submitted_by="test", trace_context=None, dead_letters=True)
        return [row["origin_id"] for row in rows]

    async def discard(own: Connection, number: int) -> list[UUID]:
        return await jobs.discard(own, orders[number % 3])

    does = [replay, discard, replay, replay, discard, discard]
    answers = await asyncio.gather(*(does[i](own, i) for i, own in enumerate(connections[: len(does)])))
    assert sorted(id for answer in answers for id in answer) == sorted(ids)
    assert len(await jobs.list_jobs(connection, tenant=None, dead_letters=True, limit=1000)) == 0


async def test_a_key_that_retention_frees_meanwhile_is_answered_with_a_job(
    connection: Connection, connections: list[Connection]
) -> None:
    """The job that held it is deleted between the insert that it kept from happening and the look for it."""

    answered = set()

    async def submit(own: Connection) -> None:
        for _ in range(60):
            job = given.new_job(idempotency_key="same", request_digest=jobs.digest("same"))
            (answer,) = await jobs.submit(own, [job])
            assert not answer.is_conflict
            answered.add(answer.row["id"])
            await jobs.cancel(own, answer.row["id"])

    async def purge(own: Connection) -> None:
        for _ in range(200):
            await retention.purge(own, older_than_seconds=0)

    await asyncio.gather(submit(connections[0]), purge(connections[1]), *map(submit, connections[2:5]))
    assert len(answered) > 1
