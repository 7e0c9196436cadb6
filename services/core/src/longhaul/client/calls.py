"""What a client can ask of the API: each call as data, before anything is sent. Both clients share them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote
from uuid import UUID, uuid4

from pydantic import BaseModel, JsonValue, TypeAdapter
from pydantic_core import to_json

from longhaul.contract import (
    AttemptView,
    BatchAnswer,
    BatchAnswers,
    BatchItem,
    BulkAnswer,
    DeadLetterView,
    EventView,
    JobPage,
    JobView,
    QueueView,
    ResultView,
    TaskView,
    WebhookView,
    WorkerView,
)
from longhaul.states import State

T = TypeVar("T")
Params = Mapping[str, Any] | BaseModel
JobId = UUID | str


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    """One request, and how its answer is read."""

    method: str
    path: str
    parse: Callable[[bytes], T]
    """Raises ValueError where the body is not what it should be."""
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    is_repeatable: bool = True
    """Sending it twice does no more than sending it once, so it may be retried where the answer was lost."""
    patience_seconds: float = 0.0
    """How long the API may hold the answer back, on top of what it usually takes."""

    def with_query(self, **more: Any) -> Call[T]:
        return replace(self, query={**self.query, **more})


# Jobs.


def submit(
    task: str,
    params: Params | None = None,
    *,
    queue: str | None = None,
    priority: int = 0,
    run_after: datetime | None = None,
    timeout: float | None = None,
    metadata: Mapping[str, JsonValue] | None = None,
    webhook: str | None = None,
    idempotency_key: str | None = None,
) -> Call[JobView]:
    """Submit a job; returns it as it was accepted.

    `timeout` limits one attempt, in seconds, instead of the task's own limit. `webhook` is a URL that is told when the
    job has ended. `idempotency_key` names what you ask for:
    the same key gives the same job. Without one the client makes one, so that its own retries are safe.
    Raises UnknownTask, InvalidParams, IdempotencyConflict.
    """
    request = {
        "task": task,
        "params": params,
        "queue": queue,
        "priority": priority,
        "run_after": run_after,
        "timeout": timeout,
        "metadata": metadata,
        "webhook": webhook,
    }
    return _send(
        "POST",
        "/v1/jobs",
        _one(JobView),
        body={name: value for name, value in request.items() if value is not None},
        headers={"Idempotency-Key": idempotency_key or str(uuid4())},
    )


def submit_batch(jobs: Iterable[BatchItem]) -> Call[list[BatchAnswer]]:
    """Submit up to 1,000 jobs at once; answers in their order, each a job or its own error."""
    items = [
        item.model_dump(mode="json", exclude_none=True) | {"idempotency_key": item.idempotency_key or str(uuid4())}
        for item in jobs
    ]
    return _send(
        "POST", "/v1/jobs:batch", lambda body: BatchAnswers.model_validate_json(body).jobs, body={"jobs": items}
    )


def get(id: JobId) -> Call[JobView]:
    """A job as it stands. Raises UnknownJob."""
    return _get(_job(id), _one(JobView))


def result(id: JobId) -> Call[JsonValue]:
    """What a job returned. Raises NoResult where it has not succeeded, or not yet."""
    return _get(_job(id, "/result"), lambda body: ResultView.model_validate_json(body).result)


def attempts(id: JobId) -> Call[list[AttemptView]]:
    """The attempts at a job, with how each ended and the evidence."""
    return _get(_job(id, "/attempts"), _many(AttemptView))


def logs(id: JobId, *, after: int = 0, limit: int = 500) -> Call[list[EventView]]:
    """At most `limit` (1,000) lines that a job logged, oldest first, with an event id above `after`."""
    return _get(_job(id, "/logs"), _many(EventView), after=after, limit=limit)


def cancel(id: JobId) -> Call[JobView]:
    """Cancel a job; a running one is asked to stop, then killed. Raises JobFinished."""
    return _send("POST", _job(id, "/cancel"), _one(JobView))


def replay(id: JobId) -> Call[JobView]:
    """Submit a failed or dead job again: returns the new one. Raises NotReplayable."""
    return _send("POST", _job(id, "/replay"), _one(JobView), is_repeatable=False)


def webhook(id: JobId) -> Call[WebhookView]:
    """How far the telling of a job's end is. Raises UnknownWebhook where the job has no webhook."""
    return _get(_job(id, "/webhook"), _one(WebhookView))


def redeliver(id: JobId) -> Call[WebhookView]:
    """Tell a job's end again, from the first try. Raises UnknownWebhook, also where the job has not ended yet."""
    return _send("POST", _job(id, "/webhook/redeliver"), _one(WebhookView))


def list_jobs(
    *,
    state: State | Iterable[State] | None = None,
    task: str | None = None,
    queue: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    page_size: int = 50,
) -> Call[JobPage]:
    """Jobs, newest first; further pages are fetched while you iterate. `since` and `until` compare with `created_at`."""
    states = [state] if isinstance(state, str) else list(state or [])
    return _get(
        "/v1/jobs",
        _one(JobPage),
        state=[str(one) for one in states],
        task=task,
        queue=queue,
        since=since.isoformat() if since else None,
        until=until.isoformat() if until else None,
        limit=page_size,
    )


# What runs them.


def tasks() -> Call[list[TaskView]]:
    """The tasks that workers published."""
    return _get("/v1/tasks", _many(TaskView))


def queues() -> Call[list[QueueView]]:
    """The queues with their figures and their health."""
    return _get("/v1/queues", _many(QueueView))


def pause(name: str) -> Call[QueueView]:
    """Pause a queue: jobs that run go on, none is started. Raises UnknownQueue."""
    return _send("POST", f"/v1/queues/{_segment(name)}/pause", _one(QueueView))


def resume(name: str) -> Call[QueueView]:
    """Let a paused queue go on. Raises UnknownQueue."""
    return _send("POST", f"/v1/queues/{_segment(name)}/resume", _one(QueueView))


def limit(name: str, max_running: int | None) -> Call[QueueView]:
    """Let at most so many jobs of a queue run at once; None: no limit. Raises UnknownQueue."""
    return _send("PATCH", f"/v1/queues/{_segment(name)}", _one(QueueView), body={"max_running": max_running})


def workers() -> Call[list[WorkerView]]:
    """The workers, those too that were not heard of lately."""
    return _get("/v1/workers", _many(WorkerView))


# Dead letters.


def dead_letters(*, task: str | None = None, queue: str | None = None, page_size: int = 50) -> Call[JobPage]:
    """Dead jobs that nobody has replayed or discarded, newest first; further pages are fetched while you iterate."""
    return _get("/v1/dead-letters", _one(JobPage), task=task, queue=queue, limit=page_size)


def dead_letter(id: JobId) -> Call[DeadLetterView]:
    """A dead job, with all that is known of why it is. Raises UnknownJob, and NotDeadLettered where it is not dead."""
    return _get(f"/v1/dead-letters/{quote(str(id), safe='')}", _one(DeadLetterView))


def replay_dead_letters(
    ids: Iterable[JobId] | None = None, *, task: str | None = None, queue: str | None = None
) -> Call[BulkAnswer]:
    """Replay dead letters: these, or all (of a task or a queue), 1,000 at once. `done` are the ids of the new jobs."""
    return _send(
        "POST",
        "/v1/dead-letters:replay",
        _one(BulkAnswer),
        body=_selection(ids, task=task, queue=queue),
        is_repeatable=False,
    )


def discard(
    ids: Iterable[JobId] | None = None, *, task: str | None = None, queue: str | None = None
) -> Call[BulkAnswer]:
    """Take jobs out of the dead-letter queue for good: these, or all (of a task or a queue), 1,000 at once."""
    return _send("POST", "/v1/dead-letters:discard", _one(BulkAnswer), body=_selection(ids, task=task, queue=queue))


# How calls are made.

M = TypeVar("M", bound=BaseModel)


def _get(path: str, parse: Callable[[bytes], T], **query: Any) -> Call[T]:
    return Call(method="GET", path=path, parse=parse, query={k: v for k, v in query.items() if v is not None})


def _send(
    method: str,
    path: str,
    parse: Callable[[bytes], T],
    *,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    is_repeatable: bool = True,
) -> Call[T]:
    content = None if body is None else to_json(body)
    typed = {"Content-Type": "application/json"} if content is not None else {}
    return Call(
        method=method,
        path=path,
        parse=parse,
        headers={**typed, **(headers or {})},
        body=content,
        is_repeatable=is_repeatable,
    )


def _one(model: type[M]) -> Callable[[bytes], M]:
    return model.model_validate_json


def _many(model: type[M]) -> Callable[[bytes], list[M]]:
    return TypeAdapter(list[model]).validate_json  # type: ignore[valid-type]  # a type that is known at run time


def _job(id: JobId, rest: str = "") -> str:
    return f"/v1/jobs/{_segment(str(id))}{rest}"


def _segment(text: str) -> str:
    return quote(text, safe="")


def _selection(ids: Iterable[JobId] | None, **filters: str | None) -> dict[str, Any]:
    chosen: dict[str, Any] = {name: value for name, value in filters.items() if value is not None}
    return chosen if ids is None else {"ids": [str(id) for id in ids], **chosen}
