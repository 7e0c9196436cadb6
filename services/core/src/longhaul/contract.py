"""The API's contract, v1: what goes over the wire. The API documents itself with these models, the client parses them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, StringConstraints
from pydantic_core import PydanticCustomError

from longhaul.states import Ending, State
from longhaul.task import NAME_PATTERN

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=128)]

IdempotencyKey = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,255}$")]
"""Visible ASCII."""


_WEBHOOK_URL = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?(?:[/?][!\"$-~]*)?")


def _webhook_url(url: str) -> str:
    found = _WEBHOOK_URL.fullmatch(url)
    if not found or not 1 <= int(found[1] or 443) <= 65535:
        raise PydanticCustomError(
            "url", "must look like https://example.com/path, in ASCII, without user, password and fragment"
        )
    return url


WebhookUrl = Annotated[
    str,
    Field(max_length=2000, json_schema_extra={"format": "uri", "pattern": f"^{_WEBHOOK_URL.pattern}$"}),
    AfterValidator(_webhook_url),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SubmitRequest(_Strict):
    """A job to run."""

    task: Name = Field(description="A task that a worker published: see GET /v1/tasks.")
    params: dict[str, JsonValue] = Field(default_factory=dict, description="Must fit the task's JSON Schema.")
    queue: Name | None = Field(default=None, description="Another queue than the task's own.")
    priority: int = Field(default=0, ge=-9, le=9, description="One step is worth five minutes of waiting.")
    run_after: AwareDatetime | None = Field(
        default=None,
        ge=datetime(1970, 1, 1, tzinfo=UTC),
        le=datetime(9000, 1, 1, tzinfo=UTC),  # what every client's clock and calendar can hold
        description="Not before this time.",
    )
    timeout: float | None = Field(
        default=None,
        gt=0,
        le=30 * 24 * 3600,
        description="Hard limit of one attempt in seconds, instead of the task's.",
    )
    metadata: dict[str, JsonValue] = Field(default_factory=dict, description="Kept with the job, never looked into.")
    webhook: WebhookUrl | None = Field(
        default=None, description="Is told, signed, when the job has ended, where this installation delivers webhooks."
    )


class BatchItem(SubmitRequest):
    """A job of a batch, with its own idempotency key."""

    idempotency_key: IdempotencyKey | None = None


class BatchRequest(_Strict):
    """Jobs to run, answered one by one."""

    jobs: list[BatchItem] = Field(min_length=1, max_length=1000)


class ProblemView(BaseModel):
    """An error (RFC 9457, application/problem+json). `code` is stable; `detail` says what to do next."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str | None = None


class ProgressView(BaseModel):
    """How far a job is."""

    fraction: float = Field(ge=0, le=1)
    message: str


class ErrorView(BaseModel):
    """Why an attempt ended as it did."""

    model_config = ConfigDict(extra="allow")

    code: str
    message: str


class JobView(BaseModel):
    """A job as it stands."""

    id: UUID
    task: str
    queue: str
    priority: int
    state: State
    progress: ProgressView = Field(description="As the task last reported it; 1 once it has succeeded.")
    attempt: int = Field(description="The number of the newest attempt: its epoch, and so its fencing token.")
    retries: int = Field(description="How often a transient error was retried.")
    retries_max: int = Field(description="How often it may be, before the job is dead.")
    interruptions: int = Field(description="Attempts that ended by a crash or a lost lease: they use up no retry.")
    cancel_requested: bool = Field(description="Someone has cancelled it; a running attempt is stopping.")
    timeout_seconds: float = Field(description="Hard limit of one attempt.")
    params: JsonValue
    metadata: JsonValue
    error: ErrorView | None = Field(description="Why the newest attempt that ended badly did so.")
    resolution: Literal["replayed", "discarded"] | None = Field(description="What became of a dead letter.")
    origin_id: UUID | None = Field(description="The job that this one replays.")
    created_at: datetime
    updated_at: datetime
    run_after: datetime = Field(description="Not due before: asked for, or a retry's backoff.")
    started_at: datetime | None = Field(description="When the newest attempt began.")
    checkpointed_at: datetime | None = Field(
        description="When the checkpoint was saved that another attempt would resume."
    )
    finished_at: datetime | None
    last_event_id: int = Field(description="The id of its newest event.")
    webhook: str | None = Field(
        default=None, description="What is told when it has ended; how far that is: GET /v1/jobs/{id}/webhook."
    )


class WebhookView(BaseModel):
    """How far the telling of a job's end is."""

    url: str
    state: Literal["pending", "waiting", "delivered", "failed"] = Field(
        description="`pending`: the job has not ended. `waiting`: for the first or the next try. `failed`: given up."
    )
    tries: int
    last_status: int | None = Field(description="What the receiver answered last.")
    last_error: str | None = Field(description="Why the last try failed.")
    next_try_at: datetime | None
    finished_at: datetime | None = Field(description="When it was delivered, or given up.")


class JobPage(BaseModel):
    """Jobs, newest first. `next` is the cursor of the next page, null on the last."""

    jobs: list[JobView]
    next: str | None


class BatchAnswer(BaseModel):
    """What became of one item: a job, or the error that one request would have been answered with."""

    status: int = Field(description="202 accepted, 200 was there before, else the error's status.")
    job: JobView | None = None
    error: ProblemView | None = None


class BatchAnswers(BaseModel):
    """Answers in the order of the items."""

    jobs: list[BatchAnswer]


class ResultView(BaseModel):
    """What a job returned."""

    id: UUID
    result: JsonValue


class EventView(BaseModel):
    """Something that happened to a job. Ids count from 1 without gaps."""

    job_id: UUID
    id: int
    type: str
    at: datetime
    attempt: int
    data: dict[str, Any]


class AttemptView(BaseModel):
    """One attempt at a job."""

    attempt: int
    worker: str | None
    started_at: datetime
    ended_at: datetime | None
    ending: Ending | None
    error: ErrorView | None
    evidence: dict[str, Any] | None


class CheckpointView(BaseModel):
    """What an attempt saved, for the next to resume."""

    saved_at: datetime
    size_bytes: int
    state: JsonValue


class DeadLetterView(BaseModel):
    """A dead job, with all that is known of why it is."""

    job: JobView
    attempts: list[AttemptView] = Field(
        description="With the evidence of each: exit code, signal, peak memory and so on."
    )
    checkpoint: CheckpointView | None = Field(description="The last one.")
    logs: list[EventView] = Field(description="The last lines that it logged, at most 20, oldest first.")


class TaskView(BaseModel):
    """A task that a worker published."""

    name: str
    description: str
    queue: str
    version: str
    retries: int
    timeout_seconds: float
    soft_timeout_seconds: float | None
    interruptible: bool
    concurrency: int | None
    params_schema: dict[str, Any]
    result_schema: dict[str, Any]


class QueueView(BaseModel):
    """How a queue is."""

    name: str
    paused: bool
    max_running: int | None
    waiting: int = Field(description="Due jobs that no attempt runs.")
    delayed: int = Field(description="Jobs that are not due yet.")
    running: int
    oldest_wait_seconds: float
    workers_online: int
    slots: int
    slots_free: int
    threshold: int
    healthy: bool
    problems: list[str]


class WorkerView(BaseModel):
    """A worker pod."""

    id: UUID
    name: str
    pool: str
    queues: list[str]
    slots: int
    running: int
    version: str
    draining: bool
    online: bool
    started_at: datetime
    seen_at: datetime


class QueueUpdate(_Strict):
    """What to change about a queue."""

    max_running: int | None = Field(ge=1, le=2**31 - 1, description="At most so many at once; null: no limit.")


class BulkRequest(_Strict):
    """Dead letters to act on: by id, or all that a filter finds, at most 1,000 at once. An empty request means all."""

    ids: list[UUID] | None = Field(default=None, min_length=1, max_length=1000)
    task: Name | None = None
    queue: Name | None = None


class BulkAnswer(BaseModel):
    """What became of a bulk action: ids of the jobs it made or changed, and those it did not apply to."""

    done: list[UUID]
    skipped: list[UUID]
