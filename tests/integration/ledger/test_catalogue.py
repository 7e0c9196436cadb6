"""The catalogue: what workers publish, and what becomes of two that disagree."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer

from longhaul.ledger import catalogue, queues
from longhaul.ledger.connection import Connection
from longhaul.task import TaskSpec

pytestmark = pytest.mark.anyio

SPEC = TaskSpec(
    name="reports.build",
    queue="reports",
    retries=1,
    timeout_seconds=7200.5,
    soft_timeout_seconds=7000.0,
    interruptible=True,
    concurrency=4,
    version="2",
    description="Builds.",
    params_schema={"type": "object", "properties": {"rows": {"type": "integer", "minimum": 1}}},
    result_schema={"type": "object"},
)


async def test_what_is_published_is_read_as_it_was(connection: Connection) -> None:
    other = TaskSpec(name="a.first")
    await catalogue.publish(connection, [SPEC, other], registered_by="pod-1")
    assert await catalogue.read(connection) == {"a.first": other, "reports.build": SPEC}
    assert {"reports", "default"} <= await queues.read_names(connection)


async def test_the_newest_registration_wins_and_the_change_is_logged(connection: Connection) -> None:
    await catalogue.publish(connection, [SPEC], registered_by="pod-1")
    newer = replace(SPEC, version="3", params_schema={"type": "object"}, concurrency=None)
    with capture_logs() as logs:
        await catalogue.publish(connection, [newer], registered_by="pod-2")
    assert await catalogue.read(connection) == {"reports.build": newer}
    assert logs == [
        {
            "event": "task_redefined",
            "log_level": "warning",
            "task": "reports.build",
            "changed": ["concurrency", "params_schema", "version"],
            "version": "3",
            "registered_by": "pod-2",
        }
    ]
    cursor = await connection.execute("SELECT concurrency, registered_by FROM tasks")
    assert await cursor.fetchall() == [{"concurrency": None, "registered_by": "pod-2"}]


async def test_the_same_registration_again_is_no_change(connection: Connection) -> None:
    with capture_logs() as logs:
        for pod in ("pod-1", "pod-2", "pod-1"):
            await catalogue.publish(connection, [SPEC], registered_by=pod)
    assert logs == []


async def test_of_workers_that_start_at_once_each_after_the_first_tells_what_it_replaced(
    connection: Connection, connections: list[Connection]
) -> None:
    with capture_logs() as logs:
        await asyncio.gather(
            *(
                catalogue.publish(own, [replace(SPEC, version=str(i))], registered_by=f"pod-{i}")
                for i, own in enumerate(connections)
            )
        )
    assert [one["changed"] for one in logs] == [["version"]] * (len(connections) - 1)


async def test_workers_that_start_at_once_do_not_wait_in_a_circle(
    connection: Connection, connections: list[Connection]
) -> None:
    specs = [TaskSpec(name=f"task-{i}", queue=f"queue-{i % 3}") for i in range(20)]
    for _ in range(3):
        await asyncio.gather(
            *(
                catalogue.publish(own, specs[:: 1 if i % 2 else -1], registered_by=f"pod-{i}")
                for i, own in enumerate(connections)
            )
        )
    assert len(await catalogue.read(connection)) == 20


async def test_fields_of_a_newer_version_are_passed_over(connection: Connection) -> None:
    await catalogue.publish(connection, [SPEC], registered_by="pod-1")
    await connection.execute("""UPDATE tasks SET spec = (spec::jsonb || '{"gpu": true}')::json""")
    assert await catalogue.read(connection) == {"reports.build": SPEC}


async def test_a_new_limit_holds_from_the_next_claim_on(connection: Connection) -> None:
    await given.limited_task(connection, "reports.build", None)
    await given.queued(connection, 5, task="reports.build")
    claimer = Claimer(tasks=("reports.build",))
    assert len(await claimer.claim(connection, slots=2)) == 2
    await given.limited_task(connection, "reports.build", 3)
    assert len(await claimer.claim(connection, slots=5)) == 1
