"""The catalogue: the tasks that workers published. The API validates and limits by it; it holds no task code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import structlog

from longhaul.ledger import queues as ledger_queues
from longhaul.ledger.connection import Connection, dumps
from longhaul.task import TaskSpec

_log = structlog.get_logger(__name__)

# Publishers take turns, so that of two that start together the second sees, and tells, what it replaces.
_TAKE_TURNS = "SELECT pg_advisory_xact_lock(hashtextextended('longhaul:catalogue', 0))"

# Keeps: the newest registration wins. The old spec comes back, so that a change can be told.
_PUBLISH = """
WITH before AS (SELECT spec FROM tasks WHERE name = %(name)s)
INSERT INTO tasks (name, queue, version, concurrency, spec, registered_by)
VALUES (%(name)s, %(queue)s, %(version)s, %(concurrency)s, %(spec)s, %(registered_by)s)
ON CONFLICT (name) DO UPDATE SET queue = excluded.queue, version = excluded.version,
    concurrency = excluded.concurrency, spec = excluded.spec, registered_by = excluded.registered_by, registered_at = now()
RETURNING (SELECT spec FROM before) AS spec_before
"""


async def publish(connection: Connection, specs: Iterable[TaskSpec], *, registered_by: str) -> None:
    """Publish tasks. Where another spec stood under a name, the newer wins, and the change is logged."""
    async with connection.transaction():
        await connection.execute(_TAKE_TURNS)
        for spec in specs:
            cursor = await connection.execute(
                _PUBLISH,
                {
                    "name": spec.name,
                    "queue": spec.queue,
                    "version": spec.version,
                    "concurrency": spec.concurrency,
                    "spec": dumps(asdict(spec)),
                    "registered_by": registered_by,
                },
            )
            row = await cursor.fetchone()
            before = row["spec_before"] if row else None
            if isinstance(before, dict) and before != asdict(spec):
                changed = sorted(name for name, value in asdict(spec).items() if before.get(name) != value)
                _log.warning(
                    "task_redefined", task=spec.name, changed=changed, version=spec.version, registered_by=registered_by
                )
            await ledger_queues.declare(connection, [spec.queue])


async def read(connection: Connection) -> dict[str, TaskSpec]:
    """All published tasks by name. One whose spec lacks what this version needs is logged and left out."""
    cursor = await connection.execute("SELECT name, spec FROM tasks ORDER BY name")
    specs = {}
    for row in await cursor.fetchall():
        try:
            specs[row["name"]] = _spec(row["spec"])
        except TypeError as error:
            _log.warning("task_unreadable", task=row["name"], reason=str(error))
    return specs


def _spec(value: Any) -> TaskSpec:
    # A newer worker may publish fields that this version does not know.
    return TaskSpec(**{name: value[name] for name in TaskSpec.__dataclass_fields__ if name in value})
