"""`Job`: what a task function sees of the job that it runs."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from pydantic import BaseModel, JsonValue


class Line(Protocol):
    """The way from a running task to its keeper. `longhaul_worker` has the real one; `longhaul.testing` records."""

    def progress(self, fraction: float, message: str, data: dict[str, JsonValue]) -> None: ...
    def checkpoint(self, state: JsonValue) -> None: ...
    def log(self, level: str, message: str, fields: dict[str, JsonValue]) -> None: ...
    def raise_if_stopped(self) -> None: ...
    @property
    def cancelled(self) -> bool: ...
    @property
    def draining(self) -> bool: ...


class Job:
    """The running job, as its task sees it. Its methods may be called from any thread."""

    def __init__(
        self,
        *,
        id: UUID,
        task: str,
        attempt: int,
        epoch: int,
        checkpointed: JsonValue,
        line: Line,
        tenant: str = "default",
    ) -> None:
        self.id = id
        self.task = task
        self.tenant = tenant
        self.attempt = attempt
        """1 for the first; counted when the job is claimed."""
        self.epoch = epoch
        """The fencing token: use it where the task writes to a system of its own."""
        self.checkpointed = checkpointed
        """The last saved checkpoint of an earlier attempt (JSON), or None: start from there."""
        self._line = line

    def progress(self, fraction: float, message: str = "", **data: JsonValue) -> None:
        """Report progress: `fraction` from 0 to 1, a message for people, data for programs.

        Cheap enough for an inner loop: the keeper writes the latest at most every half second.
        Raises Cancelled where the job was cancelled.
        """
        self._line.progress(min(1.0, max(0.0, float(fraction))), message, data)
        if self._line.cancelled:
            self._line.raise_if_stopped()

    def checkpoint(self, state: JsonValue | BaseModel) -> None:
        """Save `state` (JSON or a pydantic model, 1 MiB by default): the next attempt finds it in `checkpointed`.

        Returns once the state is safe. Raises Cancelled, or HandOver where this pod must go: the state is saved then.
        """
        self._line.checkpoint(state.model_dump(mode="json") if isinstance(state, BaseModel) else state)
        self._line.raise_if_stopped()

    def log(self, message: str, *, level: str = "info", **fields: JsonValue) -> None:
        """Write a line to the job's log, which `GET /v1/jobs/{id}/logs` and the event stream show."""
        self._line.log(level, message, fields)

    @property
    def cancelled(self) -> bool:
        """Whether someone has cancelled the job. `progress` and `checkpoint` raise then, so few tasks need this."""
        return self._line.cancelled

    @property
    def draining(self) -> bool:
        """Whether this pod must go soon: a task may save a checkpoint early, which hands the job over."""
        return self._line.draining
