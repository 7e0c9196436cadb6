"""Frames between a pool child (or Celery's main process) and its keeper: one JSON object a line on a Unix socket.

| from the child | answer |
|---|---|
| `hello {pid}` first | none |
| `claim {queue}` | `claimed {claim}` or `nothing` |
| `progress {fraction, message, data}`, `log {level, message, fields}` | none |
| `checkpoint {state}` | `saved` or `refused {message}`, once the state is safe |
| `finish {ending, result_bytes, error, delay_seconds}`, then the bytes of the result | none: the keeper has it |

| from the keeper, at any time | meaning |
|---|---|
| `cancel` | someone cancelled the job: stop soon, or be killed |
| `drain` | save a checkpoint and hand over |
| `soft_timeout` | the soft limit has passed |

| from Celery's main process | meaning |
|---|---|
| `pulse` | its event loop ticks |
| `exited {pid, exit_code}` | a child ended; negative codes are signals |
| `dropped` | a message in Redis was no doorbell |

The keeper tells Celery's main process `reap` when a child died: by itself it looks only every few seconds.

Frames from the keeper carry the epoch they are about, so that one that is late meets no other job.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson

SOCKET_VARIABLE: Final = "LONGHAUL_KEEPER_SOCKET"
DOORBELLS_SOCKET: Final = "doorbells.sock"
"""Beside the keeper's: there while it rings by itself (`fallback.py`), a queue's name a line."""
FRAME_LIMIT_BYTES: Final = 16 * 1024 * 1024


def encode(op: str, **fields: Any) -> bytes:
    """One frame."""
    return orjson.dumps({"op": op, **fields}) + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The frame of one line. Raises ValueError where it is none."""
    frame = orjson.loads(line)
    if not isinstance(frame, dict) or "op" not in frame:
        raise ValueError("a frame is a JSON object with an op")
    return frame


async def read_bytes(reader: asyncio.StreamReader, size: int, *, limit: int) -> bytes | None:
    """What follows a frame; None where it is more than `limit`: then it is read and dropped. Raises EOFError."""
    if size <= limit:
        return await reader.readexactly(size)
    while size > 0:
        size -= len(await reader.readexactly(min(size, 65_536)))
    return None
