"""Tasks that say at random what may and what may not be said to their keeper."""

from __future__ import annotations

import math
import os
import socket
import stat
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from longhaul import Job, task
from longhaul.states import Ending
from longhaul_worker.session import frames


class Params(BaseModel):
    seed: int
    count: int


class Said(BaseModel):
    said: int = 0
    refused: int = 0


@task(name="fuzz.frames", timeout=120, retries=0, max_interruptions=0)
def say_frames(job: Job, params: Params) -> Said:
    """Well-formed frames about attempts that it does not run, over the connection of its process, and then one that breaks
    the protocol, which must be its end."""
    random = Random(params.seed)
    connection = own_connection()
    for _ in range(params.count):
        connection.sendall(other_frame(random, job))
    connection.sendall(broken_frame(random, job))
    while True:
        job.progress(0.5)


@task(name="fuzz.values", timeout=120, retries=0)
def say_values(job: Job, params: Params) -> Said:
    """Anything, in each call that takes something."""
    random = Random(params.seed)
    said = Said()
    for number in range(params.count):
        value = any_value(random)
        try:
            match number % 4:
                case 0:
                    job.progress(value, any_text(random), value=value)
                case 1:
                    job.progress(random.random(), any_text(random), **{any_text(random)[:20]: value})
                case 2:
                    job.checkpoint(value)
                case _:
                    job.log(value, level=any_text(random), value=value)
            said.said += 1
        except Exception:  # noqa: BLE001 - what is refused, at the call, says so; the next one is another
            said.refused += 1
    return said


def own_connection() -> socket.socket:
    """The one to the keeper."""
    path = os.environ[frames.SOCKET_VARIABLE]
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers
        number = int(name)
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                connection = socket.socket(fileno=os.dup(number))
                if connection.family == socket.AF_UNIX and connection.getpeername() == path:
                    return connection
        except OSError:
            continue
    raise LookupError(Path(path))


def other_frame(random: Random, job: Job) -> bytes:
    """Of another job, of another epoch, or by another process."""
    identity: dict[str, Any] = {"job_id": job.id, "epoch": job.epoch, "pid": os.getpid()}
    identity |= random.choice(
        [
            {"job_id": UUID(int=random.getrandbits(128))},
            {"epoch": random.choice([-1, 0, job.epoch + 1, 2**40])},
            {"pid": random.choice([0, 1, os.getppid(), 2**22])},
        ]
    )
    number = random.getrandbits(40)
    frame = random.choice(
        [
            frames.Progress(**identity, fraction=random.random(), message="ghost"),
            frames.LogLine(**identity, level="info", message="ghost"),
            frames.Checkpoint(**identity, number=number),
            frames.Finish(**identity, number=number, ending=random.choice(list(Ending))),
        ]
    )
    return frames.encode(frame, b'{"ghost":1}' if frame.has_payload else None)


def broken_frame(random: Random, job: Job) -> bytes:
    """One that this child may not say now, or that is none."""
    own: dict[str, Any] = {"job_id": job.id, "epoch": job.epoch, "pid": os.getpid()}
    whole = frames.encode(frames.Progress(**own, fraction=0.5, message="x"))
    flipped = bytearray(whole)
    flipped[random.randrange(frames.HEADER.size, len(flipped))] ^= 0x80
    return random.choice(
        [
            random.randbytes(random.randint(8, 5000)),
            frames.HEADER.pack(2**31, 0),
            frames.HEADER.pack(0, 0),
            frames.HEADER.pack(3, 0) + b"{}}",
            bytes(flipped),
            whole.replace(b'"progress"', b'"progres5"'),
            whole.replace(b"0.5", b"1.5"),
            whole.replace(b"0.5", b"NaN"),
            frames.encode(frames.Hello(pid=os.getpid())),
            frames.encode(frames.ClaimRequest(number=1, queue="default")),
            frames.encode(frames.Pulse()),
            frames.encode(frames.ChildExited(pid=os.getpid(), exit_code=0)),
            frames.encode(frames.NoJob(number=1)),
        ]
    )


def any_text(random: Random) -> str:
    return random.choice(
        ["", "x", "caf\udce9", "a\0b", "\ufffe", "\N{GRINNING FACE}" * 300, "x" * 50_000, "\x1b[2J", "\u202e", "\r\n"]
    )


def any_value(random: Random, depth: int = 0) -> Any:
    simple: list[Any] = [
        None,
        True,
        0,
        -1,
        2**63,
        10**400,
        0.5,
        1e-60,
        1e308,
        math.nan,
        -math.inf,
        b"bytes",
        object(),
        random.random(),
        any_text(random),
    ]
    if depth > 3 or random.random() < 0.7:
        return random.choice(simple)
    if random.random() < 0.05:
        deep: Any = []
        for _ in range(3000):
            deep = [deep]
        return deep
    if random.random() < 0.5:
        return [any_value(random, depth + 1) for _ in range(random.randint(0, 5))]
    return {
        random.choice([any_text(random)[:50], random.randint(0, 9)]): any_value(random, depth + 1)
        for _ in range(random.randint(0, 5))
    }
