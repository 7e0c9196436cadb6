"""Frames on the socket between a worker's processes and its keeper.

A frame is eight bytes (two unsigned big-endian numbers: the length of the head, and of the payload), the head (a JSON
object with its `op`), and the payload (JSON text that is passed on as it is: a checkpoint or a result).

| from a pool child | answer |
|---|---|
| `Hello` first | none |
| `ClaimRequest` | `Claimed` or `NoJob` |
| `Progress`, `LogLine` | none |
| `Checkpoint`, with the state | `Saved` once it is safe, or `Refused` |
| `Finish`, with the result if there is one | `Finished` once the keeper has it |

| from Celery's main process | meaning |
|---|---|
| `Pulse` | its event loop ticks |
| `ChildExited` | a pool child ended |
| `DoorbellDropped` | a message in Redis was no doorbell |

| from the keeper, at any time | meaning |
|---|---|
| `Stop`, to a pool child | the job was cancelled, the pod must go, or the soft limit has passed |
| `Reap`, to Celery's main process | a pool child died: look now, and not only every few seconds |

Every frame about an attempt carries `job_id`, `epoch` and the sender's `pid`; a question carries a `number` and its answer
the same one.
"""

from __future__ import annotations

import struct
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from longhaul.states import Ending
from longhaul.values import MAX_MESSAGE_BYTES, MAX_TRACEBACK_BYTES

SOCKET_VARIABLE: Final = "LONGHAUL_KEEPER_SOCKET"
DOORBELLS_SOCKET: Final = "doorbells.sock"
"""Beside the keeper's: there while it rings by itself (`fallback.py`), a queue's name a line."""

HEADER: Final = struct.Struct("!II")
MAX_HEAD_BYTES: Final = 256 * 1024
"""Of a frame to the keeper: a log line with all its fields, escaped, and room to spare."""


class BrokenFrame(Exception):
    """What came over the socket is no frame, or says what its sender may not say."""


class Frame(BaseModel):
    """One message. `payload` is what follows the head."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, ser_json_bytes="utf8")

    op: str
    has_payload: ClassVar[bool] = False


class OfAttempt(Frame):
    """A frame about one attempt, by the process that runs it."""

    job_id: UUID
    epoch: int
    pid: int


class Hello(Frame):
    op: Literal["hello"] = "hello"
    pid: int


class ClaimRequest(Frame):
    op: Literal["claim"] = "claim"
    number: int
    queue: str


class Progress(OfAttempt):
    op: Literal["progress"] = "progress"
    fraction: float = Field(ge=0, le=1)
    message: str = Field(max_length=MAX_MESSAGE_BYTES)
    data: dict[str, JsonValue] = {}


class LogLine(OfAttempt):
    op: Literal["log"] = "log"
    level: str = Field(max_length=16)
    message: str = Field(max_length=MAX_MESSAGE_BYTES)
    fields: dict[str, JsonValue] = {}


class Checkpoint(OfAttempt):
    op: Literal["checkpoint"] = "checkpoint"
    number: int
    has_payload: ClassVar[bool] = True


class AttemptError(BaseModel):
    """Why an attempt did not succeed, as the job's `error` shows it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str = Field(max_length=64)
    message: str = Field(max_length=MAX_MESSAGE_BYTES)
    type: str = Field(max_length=256)
    traceback: str | None = Field(default=None, max_length=MAX_TRACEBACK_BYTES)


class Finish(OfAttempt):
    op: Literal["finish"] = "finish"
    number: int
    ending: Ending
    error: AttemptError | None = None
    delay_seconds: float | None = None
    has_payload: ClassVar[bool] = True


class Pulse(Frame):
    op: Literal["pulse"] = "pulse"


class ChildExited(Frame):
    op: Literal["exited"] = "exited"
    pid: int
    exit_code: int
    """Negative for a signal."""


class DoorbellDropped(Frame):
    op: Literal["dropped"] = "dropped"


class Limits(BaseModel):
    """What the keeper takes, so that a task learns at the call what is too large."""

    model_config = ConfigDict(frozen=True)

    checkpoint_bytes: int
    result_bytes: int


class Claimed(Frame):
    op: Literal["claimed"] = "claimed"
    number: int
    job_id: UUID
    epoch: int
    tenant: str
    task: str
    queue: str
    params: Any
    checkpoint: Any
    trace_context: str | None
    limits: Limits


class NoJob(Frame):
    op: Literal["nothing"] = "nothing"
    number: int


class Saved(Frame):
    op: Literal["saved"] = "saved"
    number: int


class Refused(Frame):
    """The question is not answered: it was about an attempt that is over, or its value can't be stored."""

    op: Literal["refused"] = "refused"
    number: int
    code: Literal["attempt_over", "unstorable"]
    message: str


class Finished(Frame):
    op: Literal["finished"] = "finished"
    number: int


class Stop(Frame):
    op: Literal["stop"] = "stop"
    job_id: UUID
    epoch: int
    reason: Literal["cancel", "drain", "soft_timeout"]


class Reap(Frame):
    op: Literal["reap"] = "reap"


FromChild: TypeAlias = Hello | ClaimRequest | Progress | LogLine | Checkpoint | Finish
FromMain: TypeAlias = Pulse | ChildExited | DoorbellDropped
Answer: TypeAlias = Claimed | NoJob | Saved | Refused | Finished

_TO_KEEPER: TypeAdapter[FromChild | FromMain] = TypeAdapter(Annotated[FromChild | FromMain, Field(discriminator="op")])
_FROM_KEEPER: TypeAdapter[Answer | Stop | Reap] = TypeAdapter(
    Annotated[Answer | Stop | Reap, Field(discriminator="op")]
)


def encode(frame: Frame, payload: bytes | None = None) -> bytes:
    """The bytes of one frame. A payload of None is no payload, and an empty one is not told apart from it."""
    head = frame.model_dump_json().encode()
    return HEADER.pack(len(head), len(payload or b"")) + head + (payload or b"")


def parse_header(header: bytes) -> tuple[int, int]:
    """The lengths of head and payload of a frame to the keeper. Raises BrokenFrame if the head is too long."""
    head_bytes, payload_bytes = HEADER.unpack(header)
    if not 0 < head_bytes <= MAX_HEAD_BYTES:
        raise BrokenFrame(f"a head of {head_bytes:,} bytes, and {MAX_HEAD_BYTES:,} is the limit")
    return head_bytes, payload_bytes


def parse_to_keeper(head: bytes, payload_bytes: int) -> FromChild | FromMain:
    """The frame of a head. Raises BrokenFrame."""
    try:
        frame = _TO_KEEPER.validate_json(head)
    except ValidationError as error:
        raise BrokenFrame(_first_problem(error)) from None
    if payload_bytes and not frame.has_payload:
        raise BrokenFrame(f"a payload of {payload_bytes:,} bytes with `{frame.op}`, which has none")
    return frame


def parse_from_keeper(head: bytes) -> Answer | Stop | Reap:
    """The frame of a head. Raises BrokenFrame."""
    try:
        return _FROM_KEEPER.validate_json(head)
    except ValidationError as error:
        raise BrokenFrame(_first_problem(error)) from None


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(map(str, problem['loc'])) or 'frame'}: {problem['msg']}"
