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
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from longhaul.states import Ending
from longhaul.values import MAX_MESSAGE_BYTES, MAX_TRACEBACK_BYTES

SOCKET_VARIABLE: Final = "LONGHAUL_KEEPER_SOCKET"
DOORBELLS_SOCKET: Final = "doorbells.sock"
"""Beside the keeper's: there while it rings by itself (`fallback.py`), a queue's name a line."""

HEADER: Final = struct.Struct("!II")
MAX_HEAD_BYTES: Final = 256 * 1024
"""Of a frame to the keeper: a log line with all its fields, escaped, and room to spare."""

_Message: TypeAlias = Annotated[str, Meta(max_length=MAX_MESSAGE_BYTES)]


class BrokenFrame(Exception):
    """What came over the socket is no frame, or says what its sender may not say."""


class Frame(Struct, forbid_unknown_fields=True, tag_field="op"):
    """One message. `payload` is what follows the head."""

    has_payload: ClassVar[bool] = False

    @property
    def op(self) -> str:
        """Which frame it is."""
        return str(self.__struct_config__.tag)


class OfAttempt(Frame):
    """A frame about one attempt, by the process that runs it."""

    job_id: UUID
    epoch: int
    pid: int


class Hello(Frame, tag="hello"):
    pid: int


class ClaimRequest(Frame, tag="claim"):
    number: int
    queue: str


class Progress(OfAttempt, tag="progress"):
    fraction: Annotated[float, Meta(ge=0, le=1)]
    message: _Message
    data: dict[str, Any] = {}


class LogLine(OfAttempt, tag="log"):
    level: Annotated[str, Meta(max_length=16)]
    message: _Message
    fields: dict[str, Any] = {}


class Checkpoint(OfAttempt, tag="checkpoint"):
    number: int
    has_payload: ClassVar[bool] = True


class AttemptError(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Why an attempt did not succeed, as the job's `error` shows it."""

    code: Annotated[str, Meta(max_length=64)]
    message: _Message
    type: Annotated[str, Meta(max_length=256)]
    traceback: Annotated[str, Meta(max_length=MAX_TRACEBACK_BYTES)] | None = None


class Finish(OfAttempt, tag="finish"):
    number: int
    ending: Ending
    error: AttemptError | None = None
    delay_seconds: float | None = None
    has_payload: ClassVar[bool] = True


class Pulse(Frame, tag="pulse"):
    pass


class ChildExited(Frame, tag="exited"):
    pid: int
    exit_code: int
    """Negative for a signal."""


class DoorbellDropped(Frame, tag="dropped"):
    pass


class Limits(Struct, frozen=True):
    """What the keeper takes, so that a task learns at the call what is too large."""

    checkpoint_bytes: int
    result_bytes: int


class Claimed(Frame, tag="claimed"):
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
    start_by: float
    """By CLOCK_MONOTONIC: the lease may have run out then, and the job be another worker's."""


class NoJob(Frame, tag="nothing"):
    number: int


class Saved(Frame, tag="saved"):
    number: int


class Refused(Frame, tag="refused"):
    """The question is not answered: it was about an attempt that is over, or its value can't be stored."""

    number: int
    code: Literal["attempt_over", "unstorable"]
    message: str


class Finished(Frame, tag="finished"):
    number: int


class Stop(Frame, tag="stop"):
    job_id: UUID
    epoch: int
    reason: Literal["cancel", "drain", "soft_timeout"]


class Reap(Frame, tag="reap"):
    pass


FromChild: TypeAlias = Hello | ClaimRequest | Progress | LogLine | Checkpoint | Finish
FromMain: TypeAlias = Pulse | ChildExited | DoorbellDropped
Answer: TypeAlias = Claimed | NoJob | Saved | Refused | Finished

_TO_KEEPER: msgspec.json.Decoder[FromChild | FromMain] = msgspec.json.Decoder(FromChild | FromMain)
_FROM_KEEPER: msgspec.json.Decoder[Answer | Stop | Reap] = msgspec.json.Decoder(Answer | Stop | Reap)
_FrameType = TypeVar("_FrameType")


def encode(frame: Frame, payload: bytes | None = None) -> bytes:
    """The bytes of one frame. A payload of None is no payload, and an empty one is not told apart from it."""
    head = msgspec.json.encode(frame)
    return HEADER.pack(len(head), len(payload or b"")) + head + (payload or b"")


def parse_header(header: bytes) -> tuple[int, int]:
    """The lengths of head and payload of a frame to the keeper. Raises BrokenFrame if the head is too long."""
    head_bytes, payload_bytes = HEADER.unpack(header)
    if not 0 < head_bytes <= MAX_HEAD_BYTES:
        raise BrokenFrame(f"a head of {head_bytes:,} bytes, and {MAX_HEAD_BYTES:,} is the limit")
    return head_bytes, payload_bytes


def parse_to_keeper(head: bytes, payload_bytes: int) -> FromChild | FromMain:
    """The frame of a head. Raises BrokenFrame."""
    frame = _parse(_TO_KEEPER, head)
    if payload_bytes and not frame.has_payload:
        raise BrokenFrame(f"a payload of {payload_bytes:,} bytes with `{frame.op}`, which has none")
    return frame


def parse_from_keeper(head: bytes) -> Answer | Stop | Reap:
    """The frame of a head. Raises BrokenFrame."""
    return _parse(_FROM_KEEPER, head)


def _parse(decoder: msgspec.json.Decoder[_FrameType], head: bytes) -> _FrameType:
    try:
        return decoder.decode(head)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BrokenFrame(str(error)) from None
