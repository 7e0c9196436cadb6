"""The catalogue as the API uses it: the published tasks with their compiled schemas, and the queues there are."""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import Awaitable, Callable, Mapping, Set
from dataclasses import dataclass
from itertools import islice
from typing import Any

import jsonschema_rs
import structlog

from longhaul.errors import InvalidParams, UnknownQueue, UnknownTask
from longhaul.task import TaskSpec
from longhaul_api.json_body import MAX_ERRORS, pointer

MESSAGE_LENGTH = 300
"""Of one complaint about params: it may quote the value, which may be long."""

_log = structlog.get_logger(__name__)


class PublishedTask:
    """A task that a worker published, ready to check params."""

    def __init__(self, spec: TaskSpec) -> None:
        self.spec = spec
        self._validator = _compile(spec)

    def check(self, params: Mapping[str, Any]) -> None:
        """Raises InvalidParams that says which field (a JSON pointer into the request) and why."""
        if self._validator is None:
            raise UnknownTask(
                f"The schema that a worker published for {self.spec.name!r} can't be used: "
                "publish the task again with a valid one."
            )
        if self._validator.is_valid(params):
            return
        errors = [
            {"field": f"/params{pointer(error.instance_path)}", "message": error.message[:MESSAGE_LENGTH]}
            for error in islice(self._validator.iter_errors(params), MAX_ERRORS)
        ]
        raise InvalidParams(errors=errors)


@dataclass(frozen=True)
class Snapshot:
    """What the ledger knew at one moment."""

    tasks: Mapping[str, PublishedTask]
    queues: frozenset[str]

    def task(self, name: str) -> PublishedTask:
        """The task of this name. Raises UnknownTask."""
        found = self.tasks.get(name)
        if found is None:
            matches = difflib.get_close_matches(name, self.tasks, n=3)
            hint = f" Did you mean {' or '.join(repr(one) for one in matches)}?" if matches else ""
            raise UnknownTask(
                f"No worker has published a task {name!r}: see GET /v1/tasks for those that exist.{hint}",
                matches=matches,
            )
        return found

    def require_queue(self, name: str) -> None:
        """Raises UnknownQueue unless a task or a worker has named this queue."""
        if name not in self.queues:
            raise UnknownQueue(f"There is no queue {name!r}: see GET /v1/queues for those that exist.")


class Catalogue:
    """Reads the ledger at most every `refresh_seconds`, and at once for a name that it does not know.

    `read` gives the specs by name and the names of the queues. A stale snapshot is used while a fresh one is on its way.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[tuple[Mapping[str, TaskSpec], frozenset[str]]]],
        *,
        refresh_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._refresh_seconds = refresh_seconds
        self._clock = clock
        self._snapshot = Snapshot({}, frozenset())
        self._fresh_until = float("-inf")
        self._refreshing: asyncio.Task[None] | None = None

    async def snapshot(self, *, tasks: Set[str], queues: Set[str]) -> Snapshot:
        """What is published, read anew where one of these names is not in it. Raises LedgerUnavailable then only.

        However many names are unknown: it is one reading, so that a batch of them takes no longer than one.
        """
        if not (tasks <= self._snapshot.tasks.keys() and queues <= self._snapshot.queues):
            await self.refresh()
        elif self._clock() >= self._fresh_until:
            self._refresh_behind()
        return self._snapshot

    async def specs(self) -> list[TaskSpec]:
        """All published tasks by name, as old as `refresh_seconds` at most. Raises LedgerUnavailable."""
        if self._clock() >= self._fresh_until:
            await self.refresh()
        return [one.spec for one in self._snapshot.tasks.values()]

    async def refresh(self) -> None:
        """Read the ledger now; those who ask while it is read share the next reading. Raises LedgerUnavailable."""
        if self._refreshing is not None:
            # It may have begun before the caller's task was published, so it only tells whether the ledger answers.
            await asyncio.shield(self._refreshing)
        await asyncio.shield(self._refresh_behind())

    def _refresh_behind(self) -> asyncio.Task[None]:
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._load())
            self._refreshing.add_done_callback(self._loaded)
        return self._refreshing

    async def _load(self) -> None:
        specs, queues = await self._read()
        before = self._snapshot.tasks
        tasks = {
            name: before[name] if name in before and before[name].spec == spec else PublishedTask(spec)
            for name, spec in specs.items()
        }
        self._snapshot = Snapshot(tasks, queues)
        self._fresh_until = self._clock() + self._refresh_seconds

    def _loaded(self, task: asyncio.Task[None]) -> None:
        self._refreshing = None
        if not task.cancelled() and task.exception():
            # Asked again in a while: until then what was known serves.
            self._fresh_until = self._clock() + self._refresh_seconds


def _compile(spec: TaskSpec) -> jsonschema_rs.Validator | None:
    try:
        return jsonschema_rs.validator_for(spec.params_schema, retriever=_refuse)
    except ValueError as error:
        _log.warning("task_schema_unusable", task=spec.name, reason=str(error))
        return None


def _refuse(uri: str) -> Any:
    """A published schema makes the API fetch nothing."""
    raise ValueError(f"the schema refers to {uri}, outside of itself")
