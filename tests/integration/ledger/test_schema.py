"""The schema goes up, down and up again, and a newer one serves the code of the version before."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer

from longhaul.errors import LedgerUnavailable, SchemaMismatch
from longhaul.ids import new_job_id
from longhaul.ledger import catalogue, events, jobs, keys, leases, queues, reaping, retention, schema, webhooks, workers
from longhaul.ledger.connection import Connection, connect
from longhaul.ledger.workers import Worker
from longhaul.states import Ending, State
from longhaul.task import TaskSpec

NEXT_MIGRATION = """
ALTER TABLE jobs ADD COLUMN weight integer;
ALTER TABLE job_events ADD COLUMN source text;
ALTER TABLE workers ADD COLUMN zone text DEFAULT 'a';
ALTER TABLE tasks ADD COLUMN weight integer;
ALTER TABLE queues ADD COLUMN weight integer;
ALTER TABLE api_keys ADD COLUMN expires_at timestamptz;
CREATE TABLE job_webhooks (job_id uuid NOT NULL, url text NOT NULL);
UPDATE alembic_version SET version_num = '9999';
"""
"""The first half of an expand and contract: what an API of this version meets while a newer one rolls out."""

SCHEMA = """
SELECT 'column', table_name::text, column_name::text, concat_ws(' ', data_type, is_nullable, column_default)
FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'
UNION ALL
SELECT 'index', tablename::text, indexname::text, indexdef FROM pg_indexes
WHERE schemaname = 'public' AND tablename <> 'alembic_version'
UNION ALL
SELECT 'trigger', tgrelid::regclass::text, tgname::text, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT 'function', '', proname::text, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
ORDER BY 1, 2, 3
"""


def read_schema(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(SCHEMA).fetchall()


def test_up_down_and_up_again_is_the_same_schema(empty_database_url: str) -> None:
    assert schema.migrate(empty_database_url) == schema.HEAD
    first = read_schema(empty_database_url)
    assert {name for kind, name, *_ in first if kind == "column"} == {
        "jobs",
        "job_events",
        "workers",
        "tasks",
        "queues",
        "api_keys",
        "webhook_deliveries",
        "leader",
    }
    assert schema.migrate(empty_database_url) == schema.HEAD  # nothing to do
    assert schema.migrate(empty_database_url, "base") == "base"
    assert read_schema(empty_database_url) == []
    assert schema.migrate(empty_database_url, schema.HEAD) == schema.HEAD
    assert read_schema(empty_database_url) == first


def test_migrations_that_start_at_once_take_turns(empty_database_url: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(schema.migrate, [empty_database_url] * 4)) == [schema.HEAD] * 4


def test_a_database_that_is_away_is_told_in_a_sentence() -> None:
    with pytest.raises(LedgerUnavailable, match=r"^The database can't be reached: "):
        schema.migrate("postgresql://nobody@127.0.0.1:1/nothing")


def test_a_revision_that_this_version_does_not_know_is_refused(empty_database_url: str) -> None:
    schema.migrate(empty_database_url)
    with pytest.raises(SchemaMismatch, match=r"'0042'.*migrate with the version that made the newer one"):
        schema.migrate(empty_database_url, "0042")


@pytest.mark.anyio
async def test_a_database_behind_is_refused_with_what_to_do(empty_database_url: str) -> None:
    async with await connect(empty_database_url, application_name="test") as connection:
        assert await schema.read_revision(connection) is None
    with pytest.raises(SchemaMismatch, match=r"is at nothing, and this version needs .*: run `longhaul migrate`"):
        schema.check(None)
    with pytest.raises(SchemaMismatch, match="is at 0000, and this version needs"):
        schema.check("0000")
    schema.migrate(empty_database_url)
    async with await connect(empty_database_url, application_name="test") as connection:
        schema.check(await schema.read_revision(connection))
    schema.migrate(empty_database_url, "base")
    async with await connect(empty_database_url, application_name="test") as connection:
        assert await schema.read_revision(connection) is None


def test_a_schema_that_contracted_serves_code_from_its_revision_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "HEAD", "0006")
    for revision in ("0006", "0009", "0009_serves_0006", "0009_serves_0003"):
        schema.check(revision)
    with pytest.raises(SchemaMismatch, match="is at 0009_serves_0007, and this version knows those up to 0006: update"):
        schema.check("0009_serves_0007")
    monkeypatch.setattr(schema, "HEAD", "0009_serves_0007")
    for revision in ("0009_serves_0007", "0010_serves_0007", "0012_serves_0009"):
        schema.check(revision)
    for revision in ("0008", "0010_serves_0010"):
        with pytest.raises(SchemaMismatch):
            schema.check(revision)


def test_a_migration_that_contracts_is_one_for_alembic_too(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(schema.MIGRATIONS, tmp_path, dirs_exist_ok=True)
    before, after = schema.HEAD, "9000_serves_9000"
    (tmp_path / "versions" / f"{after}_next.py").write_text(
        f"revision, down_revision, branch_labels, depends_on = {after!r}, {before!r}, None, None\n"
        "def upgrade(): pass\ndef downgrade(): pass\n"
    )
    schema.migrate(empty_database_url)
    monkeypatch.setattr(schema, "MIGRATIONS", tmp_path)
    monkeypatch.setattr(schema, "HEAD", schema.revisions()[-1])
    assert schema.migrate(empty_database_url) == schema.HEAD == after
    assert schema.migrate(empty_database_url, before) == before


def test_no_revision_forgets_which_code_the_ones_before_cut_off() -> None:
    served = [schema.oldest_served(revision) for revision in schema.revisions()]
    assert served == sorted(served)


@pytest.fixture
async def expanded(connection: Connection, database_url: str) -> Connection:
    """A connection of this version that was at work while the next version migrated: its statements are prepared."""
    for _ in range(7):  # psycopg prepares a statement at its sixth use
        await live_through_everything(connection)
    with psycopg.connect(database_url) as migration:
        migration.execute(NEXT_MIGRATION)
    return connection


@pytest.mark.anyio
async def test_this_version_works_on_the_next_versions_schema(expanded: Connection, database_url: str) -> None:
    schema.check(await schema.read_revision(expanded))
    await live_through_everything(expanded)
    async with await connect(database_url, application_name="test started later") as fresh:
        await live_through_everything(fresh)


@pytest.mark.anyio
async def test_this_version_leaves_the_next_versions_schema_alone(expanded: Connection, database_url: str) -> None:
    expected = read_schema(database_url)
    assert schema.migrate(database_url) == "9999"
    for revision in ("base", schema.HEAD):
        with pytest.raises(SchemaMismatch, match="migrate with the version that made the newer one"):
            schema.migrate(database_url, revision)
    assert read_schema(database_url) == expected


async def live_through_everything(connection: Connection) -> None:
    """Every function of the ledger once, with its answer looked at."""
    claimer = Claimer()
    await catalogue.publish(connection, [TaskSpec(name=given.TASK, queue=given.QUEUE)], registered_by="pod-1")
    assert given.TASK in await catalogue.read(connection)
    worker = Worker(id=claimer.id, name="pod-1", pool="default", queues=[given.QUEUE], slots=4, version="1")
    await workers.register(connection, worker)
    assert await workers.beat(connection, claimer.id, draining=False)

    key = str(uuid4())
    first = given.new_job(idempotency_key=key, request_digest="00")
    again = given.new_job(idempotency_key=key, request_digest="00")
    assert [(one.row["id"], one.is_replay) for one in await jobs.submit(connection, [first, again])] == [
        (first.id, False),
        (first.id, True),
    ]
    others = await given.queued(connection, 4)
    assert (await queues.count_due(connection))[given.QUEUE] == 5
    claims = await claimer.claim(connection, slots=4)
    assert [claim.job_id for claim in claims] == [first.id, *others[:3]]
    assert await claimer.renew(connection, *map(given.lease, claims)) == dict.fromkeys(
        [claim.job_id for claim in claims], False
    )
    (written,) = await leases.record(
        connection, [given.said(given.lease(claims[0]), "progress", "log", progress=0.5, checkpoint='{"row": 1}')]
    )
    assert written is not None
    assert [one.seq for one in written] == [3, 4]
    (health,) = await queues.read(connection, lease_seconds=15, threshold=100, name=given.QUEUE)
    assert (health["waiting"], health["running"], health["healthy"]) == (1, 4, True)
    assert len((await queues.read_running_by_pool(connection))["default"]) >= 4
    running = {one["id"]: one["running"] for one in await workers.list_workers(connection, lease_seconds=15)}
    assert running[claimer.id] == 4

    for claim, ending in zip(
        claims, (Ending.SUCCEEDED, Ending.PERMANENT, Ending.CRASHED, Ending.TRANSIENT), strict=True
    ):
        assert await given.ended(connection, claim, ending)
    assert (await jobs.cancel(connection, others[3]) or {})["state"] == "cancelled"
    dying = await claimer.claim(connection, slots=2)
    assert {claim.job_id for claim in dying} == {others[1], others[2]}
    await given.expired(connection, *(claim.job_id for claim in dying))
    assert {one.job_id for one in await reaping.reap(connection)} == {claim.job_id for claim in dying}
    for id in others[1:3]:
        await jobs.cancel(connection, id)

    (replay,) = await jobs.replay(connection, {others[0]: new_job_id()}, submitted_by="test", trace_context=None)
    assert replay["origin_id"] == others[0]
    await jobs.cancel(connection, replay["id"])
    dead = await given.dead(connection)
    assert [one["id"] for one in await jobs.list_jobs(connection, tenant="acme", dead_letters=True)] == [dead]
    assert await jobs.discard(connection, [dead]) == [dead]

    result = await jobs.read_result(connection, first.id)
    assert result is not None
    assert result["result"] == '{"total": 6}'
    rows = await jobs.read(connection, [first.id, *others])
    assert jobs.view(rows[first.id])["state"] == State.SUCCEEDED
    assert len(await jobs.list_jobs(connection, tenant=None, states=[State.CANCELLED])) >= 4
    history = await events.read(connection, first.id, after=0)
    assert [one["type"] for one in history] == ["queued", "started", "progress", "log", "succeeded"]
    assert len(await events.read_logs(connection, first.id, after=0)) == 1
    assert (await events.read_attempts(connection, first.id))[0]["ending"] == "succeeded"
    assert await events.read_last_ids(connection, [first.id]) == {first.id: 5}
    await live_through_the_keys(connection)
    await live_through_the_webhooks(connection)
    await workers.leave(connection, claimer.id)
    await workers.forget(connection, silent_seconds=3600)
    assert await retention.purge(connection, older_than_seconds=0) == 8
    assert await leftovers(connection) == []


async def live_through_the_keys(connection: Connection) -> None:
    key = await keys.create(connection, name="ci", tenant="acme", scopes=["submit"])
    found = await keys.find(connection, key)
    assert found is not None
    assert await keys.revoke(connection, found.id)
    assert await keys.list_keys(connection)


async def live_through_the_webhooks(connection: Connection) -> None:
    (id,) = await given.queued(connection, webhook_url="https://example.com/hook")
    await jobs.cancel(connection, id)
    assert (await webhooks.count_waiting(connection)).first == 1
    (delivery,) = await webhooks.claim(connection, limit=5, hold_seconds=60)
    assert (delivery.job_id, delivery.host, delivery.state) == (id, "example.com", "cancelled")
    await webhooks.settle(connection, [webhooks.Outcome(job_id=id, tries=1, state="delivered", last_status=200)])
    assert await webhooks.redeliver(connection, id)
    view = await webhooks.read(connection, id)
    assert view is not None
    assert (view["state"], view["tries"], view["last_status"]) == ("waiting", 0, 200)


async def leftovers(connection: Connection) -> list[UUID]:
    cursor = await connection.execute(
        "SELECT id FROM jobs UNION SELECT job_id FROM job_events UNION SELECT job_id FROM webhook_deliveries"
    )
    return [one["id"] for one in await cursor.fetchall()]
