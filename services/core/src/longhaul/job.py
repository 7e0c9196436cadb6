"""`Job`: what a task function sees of the job that it runs."""

from __future__ import annotations

import math
from typing import Protocol
from uuid import UUID

from pydantic import BaseModel, JsonValue

from longhaul.errors import Unstorable
from longhaul.values import clean_text, decode_data, encode_json, log_fields


class JobChannel(Protocol):
    """The way from a running task to its keeper. `longhaul_worker` has the real one; `longhaul.testing` records.

    What it gets is checked: finite numbers, texts that can be encoded, JSON that can be stored.
    """

    def progress(self, fraction: float, message: str, data: dict[str, JsonValue]) -> None: ...
    def checkpoint(self, state: bytes) -> None: ...
    def log(self, level: str, message: str, fields: dict[str, JsonValue]) -> None: ...
    def raise_if_stopped(self) -> None: ...
    @property
    def cancelled(self) -> bool: ...
    @property
    def draining(self) -> bool: ...


class Job:
    """The running job, as its task sees it. Its methods may be called from any thread of the process that runs it, until
    the attempt ends; from then on each raises AttemptOver.
    """

    def __init__(
        self,
        *,
        id: UUID,
        task: str,
        attempt: int,
        epoch: int,
        checkpointed: JsonValue,
        channel: JobChannel,
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
        self._channel = channel

    def progress(self, fraction: float, message: str = "", **data: JsonValue) -> None:
        """Report progress: `fraction` from 0 to 1, a message for people, data for programs.

        Cheap enough for an inner loop: the keeper writes the latest at most every half second.
        Raises Cancelled if the job was cancelled, Unstorable if `data` is not JSON of at most 32 KiB, and TypeError or
        ValueError if `fraction` is not a finite number or `message` is not a string.
        """
        if not isinstance(message, str):
            raise TypeError(f"job.progress() takes a string as its message, not {type(message).__name__}.")
        self._channel.progress(
            _fraction(fraction), clean_text(message), decode_data(data, what="job.progress()") if data else {}
        )
        if self._channel.cancelled:
            self._channel.raise_if_stopped()

    def checkpoint(self, state: JsonValue | BaseModel) -> None:
        """Save `state` (JSON or a pydantic model, 1 MiB by default): the next attempt finds it in `checkpointed`.

        Returns once the state is safe. Raises Cancelled, or HandOver if this pod must go (the state is saved then), and
        Unstorable if the state is too large or holds what JSON can't.
        """
        self._channel.checkpoint(_encode_state(state))
        self._channel.raise_if_stopped()

    def log(self, message: str, *, level: str = "info", **fields: JsonValue) -> None:
        """Write a line to the job's log, which `GET /v1/jobs/{id}/logs` and the event stream show.

        Never refuses: a message of more than 8 KiB loses its middle, and fields that are not JSON are logged as text.
        """
        self._channel.log(clean_text(level, max_bytes=16), clean_text(message), log_fields(fields))

    @property
    def cancelled(self) -> bool:
        """Whether someone has cancelled the job. `progress` and `checkpoint` raise then, so few tasks need this."""
        return self._channel.cancelled

    @property
    def draining(self) -> bool:
        """Whether this pod must go soon: a task may save a checkpoint early, which hands the job over."""
        return self._channel.draining


def _fraction(value: float) -> float:
    try:
        fraction = float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(
            f"job.progress() takes a number from 0 to 1, not {clean_text(value, max_bytes=200)!r}."
        ) from None
    if not math.isfinite(fraction):
        raise ValueError(f"job.progress() takes a number from 0 to 1, not {fraction}.")
    return min(1.0, max(0.0, fraction))


def _encode_state(state: JsonValue | BaseModel) -> bytes:
    what = "job.checkpoint()"
    if isinstance(state, BaseModel):
        try:
            state = state.model_dump(mode="json")
        except (TypeError, ValueError, RecursionError) as error:
            raise Unstorable(f"{what} takes a model that can be written as JSON: {clean_text(error)}.") from error
    return encode_json(state, what=what)
