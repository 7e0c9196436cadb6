"""For unit tests of tasks: a `Job` that records what its task says, with no platform behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID, uuid4

import orjson
from pydantic import JsonValue

from longhaul.errors import Cancelled, HandOver
from longhaul.job import Job


@dataclass
class RecordingChannel:
    """Keeps all that the task reported. Set `cancelled` or `hand_over` to see how the task takes it."""

    fractions: list[float] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    checkpoints: list[JsonValue] = field(default_factory=list)
    logs: list[tuple[str, str, dict[str, JsonValue]]] = field(default_factory=list)
    cancelled: bool = False
    hand_over: bool = False

    @property
    def draining(self) -> bool:
        return self.hand_over

    def progress(self, fraction: float, message: str, data: dict[str, JsonValue]) -> None:  # noqa: ARG002 - the protocol's
        self.fractions.append(fraction)
        self.messages.append(message)

    def checkpoint(self, state: bytes) -> None:
        self.checkpoints.append(orjson.loads(state))

    def log(self, level: str, message: str, fields: dict[str, JsonValue]) -> None:
        self.logs.append((level, message, fields))

    def raise_if_stopped(self) -> None:
        if self.cancelled:
            raise Cancelled
        if self.hand_over:
            raise HandOver


def recording_job(
    *,
    channel: RecordingChannel | None = None,
    checkpointed: JsonValue = None,
    id: UUID | None = None,
    task: str = "test.task",
) -> tuple[Job, RecordingChannel]:
    """A job to call a task with, and the channel that records what it does."""
    channel = channel or RecordingChannel()
    job = Job(id=id or uuid4(), task=task, attempt=1, epoch=1, checkpointed=checkpointed, channel=channel)
    return job, channel
