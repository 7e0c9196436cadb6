"""The ledger stays quick when it is full: the hot statements go by their indexes, renewals stay on their pages."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from psycopg import AsyncClientCursor
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer

from longhaul.ledger import claims, jobs, leases, queues, reaping, retention, webhooks
from longhaul.ledger.connection import Connection, read_clock
from longhaul.states import Ending

pytestmark = pytest.mark.anyio

QUEUED, FINISHED = 50_000, 5_000

FILL = """
INSERT INTO jobs (id, tenant, submitted_by, task, queue, priority, params, metadata, retries_max, max_interruptions,
    timeout_seconds, backoff_seconds, backoff_max_seconds, interruptible, state, event_seq, run_after, rank_at,
    idempotency_key, request_digest, finished_at, result)
SELECT gen_random_uuid(), 'acme', 'test', 'test.work', 'work', 0, json_build_object('rows', i), '{}', 3, 5, 60, 2, 600,
    false, CASE WHEN i % 11 = 0 THEN 'succeeded' ELSE 'queued' END, 1, now() - interval '1 hour', now() - interval '1 hour'
    - i * interval '1 ms', 'key-' || i, '\\x00', CASE WHEN i % 11 = 0 THEN now() END, CASE WHEN i % 11 = 0 THEN '1'::json END
FROM generate_series(1, 55000) AS i
"""


@pytest.fixture
async def full(connection: Connection) -> Connection:
    """A ledger with 50,000 jobs that wait and 5,000 that ended, as autovacuum leaves it."""
    await connection.execute("SET statement_timeout = '60s'")
    # An autovacuum of these rows would hold back the pruning that updates are to be measured with.
    await connection.execute("ALTER TABLE jobs SET (autovacuum_enabled = off)")
    await connection.execute(FILL)
    await connection.execute("VACUUM (ANALYZE) jobs")
    return connection


async def figures(connection: Connection) -> dict[str, int]:
    """What PostgreSQL counted of the table `jobs` and of its indexes until now."""
    await connection.execute("SELECT pg_stat_force_next_flush()")
    cursor = await connection.execute(
        "SELECT seq_scan, n_tup_upd, n_tup_hot_upd,"
        " (SELECT json_object_agg(indexrelname, idx_scan) FROM pg_stat_user_indexes WHERE relname = 'jobs') AS indexes"
        " FROM pg_stat_user_tables WHERE relname = 'jobs'"
    )
    row = await cursor.fetchone()
    assert row is not None
    return {**row.pop("indexes"), **row}


async def plan(connection: Connection, statement: str, query: dict[str, Any]) -> list[dict[str, Any]]:
    """All nodes of the plan of a statement."""
    cursor: AsyncClientCursor[Any] = AsyncClientCursor(connection)
    await cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}".encode(), query)
    row = await cursor.fetchone()
    assert row is not None
    nodes, pending = [], [row["QUERY PLAN"][0]["Plan"]]
    while pending:
        node = pending.pop()
        nodes.append(node)
        pending.extend(node.get("Plans", []))
    return nodes


def claim_query(claimer: Claimer) -> dict[str, Any]:
    return {
        "queue": given.QUEUE,
        "tasks": list(claimer.tasks),
        "worker_id": claimer.id,
        "worker": claimer.name,
        "lease_seconds": given.LEASE_SECONDS,
        "slot": 0,
    }


async def test_a_claim_reads_the_next_due_job_from_its_index(full: Connection) -> None:
    nodes = await plan(full, claims._CLAIM, claim_query(Claimer()))
    on_jobs = [node for node in nodes if node.get("Relation Name") == "jobs" or node.get("Index Name")]
    assert "jobs_due" in {node.get("Index Name") for node in on_jobs}
    assert not [node for node in on_jobs if node["Node Type"] == "Seq Scan"]
    assert not [node for node in nodes if node["Node Type"] == "Sort"]  # the index has the order of claims


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
async def test_a_jobs_whole_life_scans_no_table(full: Connection, plans: str) -> None:
    """Both kinds of plan: psycopg prepares what it often sends, and PostgreSQL may plan that once for all values."""
    await full.execute(f"SET plan_cache_mode = {plans}".encode())
    claimer = Claimer()
    before = await figures(full)
    key: dict[str, Any] = {"idempotency_key": "key-11", "request_digest": "00"}
    for _ in range(8):
        (new, known) = await jobs.submit(full, [given.new_job(), given.new_job(**key)])
        assert known.is_replay
        claims = await claimer.claim(full, slots=2)
        held = [given.lease(claim) for claim in claims]
        assert len(await claimer.renew(full, *held)) == 2
        await leases.record(full, [given.said(lease, "log") for lease in held])
        await leases.end(full, [given.attempt_end(held[0], claims[0].budget, Ending.SUCCEEDED)])
        await given.expired(full, claims[1].job_id)
        assert await reaping.touch_late_lease(full, as_of=await read_clock(full), late_seconds=0)
        assert len(await reaping.reap(full)) == 1
        await jobs.read(full, [new.row["id"]])
        await jobs.cancel(full, new.row["id"])
        assert len(await jobs.list_jobs(full, tenant="acme", limit=20)) == 20
        assert await jobs.list_jobs(full, tenant="acme", dead_letters=True) == []
    assert await retention.purge(full, older_than_seconds=-60, limit=100) == 100
    after = await figures(full)
    assert after["seq_scan"] == before["seq_scan"]
    assert after["jobs_due"] >= before["jobs_due"] + 16
    assert after["jobs_idempotency"] > before["jobs_idempotency"]


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
async def test_webhooks_that_are_due_are_found_among_many_that_were_delivered(full: Connection, plans: str) -> None:
    await full.execute(
        "INSERT INTO webhook_deliveries (job_id, host, state, finished_at)"
        " SELECT id, 'example.com', 'delivered', now() FROM jobs WHERE finished_at IS NOT NULL"
    )
    await full.execute("VACUUM (ANALYZE) webhook_deliveries")
    for id in await given.queued(full, 20, webhook_url="https://example.com"):
        await jobs.cancel(full, id)
    await full.execute(f"SET plan_cache_mode = {plans}".encode())
    query = {"limit": 16, "hold_seconds": 30, "busy_hosts": []}
    assert not [one for one in await plan(full, webhooks._CLAIM, query) if one["Node Type"] == "Seq Scan"]
    assert len(await webhooks.claim(full, limit=16, hold_seconds=30)) == 16
    assert len(await webhooks.claim(full, limit=16, hold_seconds=30)) == 4


async def test_a_finished_job_leaves_the_claims_index(full: Connection) -> None:
    """However much has ended, a claim looks at what waits."""
    cursor = await full.execute("SELECT reltuples::bigint AS entries FROM pg_class WHERE relname = 'jobs_due'")
    assert (await cursor.fetchone() or {})["entries"] == pytest.approx(QUEUED, rel=0.03)  # VACUUM estimates


async def test_renewals_are_hot_updates(full: Connection) -> None:
    """They change no indexed column; a page that has no room yet gives it once what died there is pruned."""
    claimer = Claimer()
    held = [given.lease(claim) for claim in await claimer.claim(full, slots=200)]
    for _ in range(3):
        await claimer.renew(full, *held)
    before = await figures(full)
    for _ in range(10):
        assert len(await claimer.renew(full, *held)) == 200
    after = await figures(full)
    renewed = after["n_tup_upd"] - before["n_tup_upd"]
    assert renewed == 2000
    assert (after["n_tup_hot_upd"] - before["n_tup_hot_upd"]) / renewed >= 0.95


async def test_what_the_controller_asks_each_second_is_answered_soon(full: Connection) -> None:
    async with full.transaction():
        await full.execute("SET LOCAL statement_timeout = '1s'")
        due = await queues.count_due(full)
        (health,) = await queues.read(full, lease_seconds=15, threshold=100)
    assert due == {given.QUEUE: QUEUED}
    assert health["waiting"] == QUEUED


async def test_a_thousand_leases_are_one_statement(full: Connection) -> None:
    claimer = Claimer()
    held = [given.lease(claim) for _ in range(5) for claim in await claimer.claim(full, slots=200)]
    async with full.transaction():
        await full.execute("SET LOCAL statement_timeout = '1s'")
        answer: dict[UUID, bool] = await claimer.renew(full, *held)
    assert set(answer) == {lease.job_id for lease in held}
    nodes = await plan(
        full,
        leases._RENEW,
        {
            "ids": [lease.job_id for lease in held],
            "epochs": [lease.epoch for lease in held],
            "worker_id": claimer.id,
            "lease_seconds": 15,
        },
    )
    # A loop over leases in the loop over jobs would be a million comparisons: the planner expects few jobs of a worker.
    assert {node["Node Type"] for node in nodes} == {"ModifyTable", "Index Scan", "Function Scan"}
