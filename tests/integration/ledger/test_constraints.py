"""What the states mean is held by the database itself: each broken row is refused, whoever writes it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import psycopg
import pytest
from tests.integration.ledger import given

from longhaul.ledger import jobs, leases
from longhaul.ledger.connection import Connection
from longhaul.states import Ending

pytestmark = pytest.mark.anyio

WORKER, SLOT, LEASE = "worker_id = gen_random_uuid()", "slot = 0", "lease_expires_at = now()"
EPOCH, STARTED, ENDED = "epoch = 1", "started_at = now()", "finished_at = now()"


BROKEN = [
    ("running_has_owner_and_lease", f"state = 'running', {EPOCH}, {STARTED}"),
    ("running_has_owner_and_lease", f"state = 'running', {SLOT}, {LEASE}, {EPOCH}, {STARTED}"),
    ("running_has_owner_and_lease", f"state = 'running', {WORKER}, {LEASE}, {EPOCH}, {STARTED}"),
    ("running_has_owner_and_lease", f"state = 'running', {WORKER}, {SLOT}, {EPOCH}, {STARTED}"),
    ("running_has_owner_and_lease", WORKER),
    ("running_has_owner_and_lease", SLOT),
    ("running_has_owner_and_lease", LEASE),
    ("running_has_owner_and_lease", f"state = 'cancelled', {ENDED}, {WORKER}, {SLOT}, {LEASE}, {EPOCH}, {STARTED}"),
    ("running_was_claimed", f"state = 'running', {WORKER}, {SLOT}, {LEASE}, {STARTED}"),
    ("running_was_claimed", f"state = 'running', {WORKER}, {SLOT}, {LEASE}, {EPOCH}"),
    ("terminal_is_finished", ENDED),
    ("terminal_is_finished", "state = 'cancelled'"),
    ("terminal_is_finished", "state = 'succeeded', result = '1'"),
    ("terminal_is_finished", "state = 'dead', error = '{}'"),
    ("succeeded_has_result", f"state = 'succeeded', {ENDED}"),
    ("succeeded_has_result", f"state = 'failed', error = '{{}}', result = '1', {ENDED}"),
    ("succeeded_has_result", "result = '1'"),
    ("failed_has_error", f"state = 'failed', {ENDED}"),
    ("failed_has_error", f"state = 'dead', {ENDED}"),
    ("only_dead_letters_are_resolved", "resolution = 'discarded'"),
    ("only_dead_letters_are_resolved", f"state = 'cancelled', resolution = 'replayed', {ENDED}"),
    ("jobs_resolution_check", f"state = 'dead', error = '{{}}', resolution = 'lost', {ENDED}"),
    ("jobs_state_check", "state = 'paused'"),
    ("jobs_epoch_check", "epoch = -1"),
    ("jobs_priority_check", "priority = 10"),
    ("jobs_priority_check", "priority = -10"),
    ("jobs_progress_check", "progress = 1.01"),
    ("jobs_progress_check", "progress = -0.01"),
    ("jobs_progress_check", "progress = 'NaN'"),
    ("jobs_retries_max_check", "retries_max = -1"),
    ("jobs_max_interruptions_check", "max_interruptions = -1"),
    ("jobs_timeout_seconds_check", "timeout_seconds = 0"),
    ("jobs_soft_timeout_seconds_check", "soft_timeout_seconds = 0"),
    ("jobs_backoff_seconds_check", "backoff_seconds = -1"),
    ("jobs_backoff_max_seconds_check", "backoff_max_seconds = -1"),
    ("jobs_idempotency_key_check", "idempotency_key = ''"),
    ("jobs_idempotency_key_check", "idempotency_key = repeat('k', 256)"),
    ("jobs_run_after_check", "run_after = 'infinity'"),
    ("jobs_run_after_check", "run_after = '10000-01-01 UTC'"),
]
"""The constraint that must refuse, and what would break it on a queued job."""


async def test_a_row_that_no_job_can_be_is_refused(connection: Connection, subtests: pytest.Subtests) -> None:
    (id,) = await given.queued(connection)
    before = await given.row(connection, id)
    for constraint, change in BROKEN:
        with subtests.test(constraint=constraint, change=change):
            with pytest.raises(psycopg.errors.CheckViolation) as raised:
                await connection.execute(f"UPDATE jobs SET {change} WHERE id = %s".encode(), (id,))
            assert raised.value.diag.constraint_name == constraint
            assert await given.row(connection, id) == before


async def test_two_jobs_cant_share_an_idempotency_key(connection: Connection) -> None:
    first, second = await given.queued(connection, 2)
    await connection.execute("UPDATE jobs SET idempotency_key = 'k' WHERE id = %s", (first,))
    with pytest.raises(psycopg.errors.UniqueViolation):
        await connection.execute("UPDATE jobs SET idempotency_key = 'k' WHERE id = %s", (second,))


async def test_two_events_of_a_job_cant_share_a_number(connection: Connection) -> None:
    (id,) = await given.queued(connection)
    with pytest.raises(psycopg.errors.UniqueViolation):
        await connection.execute(
            "INSERT INTO job_events (job_id, seq, type, epoch, data) VALUES (%s, 1, 'log', 0, '{}')", (id,)
        )


async def test_a_success_without_a_result_takes_nothing_else_of_its_batch_along(connection: Connection) -> None:
    """One statement a job, one transaction: the keeper tries the whole batch again."""
    await given.queued(connection, 2)
    claims = await given.Claimer().claim(connection, slots=2)
    good, bad = (given.attempt_end(given.lease(claim), claim.budget, Ending.SUCCEEDED) for claim in claims)
    with pytest.raises(psycopg.errors.CheckViolation):
        await leases.end(connection, [good, replace(bad, result=None)])
    assert await given.count_running(connection) == 2


async def test_a_time_that_python_cant_read_back_is_refused_before_the_commit(connection: Connection) -> None:
    too_late = replace(given.new_job(), run_after=datetime.fromisoformat("9999-12-31T23:59:59-05:00"))
    with pytest.raises(psycopg.errors.CheckViolation):
        await jobs.submit(connection, [given.new_job(), too_late])
    assert await jobs.list_jobs(connection, tenant=None) == []
