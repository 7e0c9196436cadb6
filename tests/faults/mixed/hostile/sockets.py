"""Tasks that speak with the keeper themselves: over a connection of their own, or over that of their process."""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults.mixed.hostile.acts import act
from tests.faults.mixed.working import Working

SOCKET_VARIABLE = "LONGHAUL_KEEPER_SOCKET"
ANSWER_SECONDS = 0.3
FLOOD_BYTES = 32 * 1024 * 1024
FLOOD_SECONDS = 5.0
QUEUE = "default"


def frames(work: Working) -> Iterator[bytes]:
    """What a child of this or another version may say, and what it never says."""
    payload = work.payload
    other = {"job_id": "00000000-0000-7000-8000-000000000000", "epoch": 1}
    own = {"job_id": payload.job_id, "epoch": payload.epoch}
    ghost = payload.ghost(0)
    for identity in (own, other, {"job_id": payload.job_id, "epoch": payload.epoch + 1}):
        yield from (
            json.dumps({**frame, **identity, "number": 1, "pid": os.getpid()}).encode() + b"\n"
            for frame in (
                {"op": "hello"},
                {"op": "claim", "queue": QUEUE},
                {"op": "progress", "fraction": 0.666, "message": ghost, "data": {}},
                {"op": "log", "level": "info", "message": ghost, "fields": {}},
                {"op": "checkpoint", "state": json.dumps({"step": 666, "digest": ghost})},
            )
        )
    yield from (b"\n", b"not json\n", b"{}\n", b"[]\n", b'{"op": "log"}\n', b"\x00\xff\xfe\n", b"\x7f\xff\xff\xff" * 8)


@act("socket.second")
def second(work: Working) -> str:
    """Opens a connection of its own and says all that there is to say; returns what it was answered."""
    path = os.environ.get(SOCKET_VARIABLE)
    if not path:
        return "There is no socket to be found."
    answers = b""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(path)
            for frame in frames(work):
                connection.sendall(frame)
            while answer := connection.recv(65_536):
                answers += answer
    except OSError as error:
        answers += repr(error).encode()
    return answers.decode(errors="replace")


@act("socket.junk")
def junk(work: Working) -> None:
    """Says what it should not say over the connection of its process."""
    chosen = list(frames(work))[work.variant % 22 :][:3]
    for descriptor in _own_connections():
        for frame in chosen:
            _send(descriptor, frame)
    work.sleep(ANSWER_SECONDS)


@act("socket.half_frame")
def half_frame(work: Working) -> None:
    """Begins what it never ends."""
    for descriptor in _own_connections():
        _send(descriptor, b'{"op": "log", "message": "' + b"x" * (1 + work.variant))
    work.sleep(ANSWER_SECONDS)


@act("socket.flood")
def flood(work: Working) -> None:
    """Megabytes without an end of the line."""
    until, block = time.monotonic() + FLOOD_SECONDS, b"x" * 65_536
    for descriptor in _own_connections():
        sent = 0
        while sent < FLOOD_BYTES and time.monotonic() < until:
            count = _send(descriptor, block)
            if count < 0:
                break
            sent += count
    work.sleep(ANSWER_SECONDS)


@act("socket.closed")
def closed(work: Working) -> None:
    """Closes whatever it did not open, as some libraries do before they fork."""
    for descriptor in _own_connections():
        os.close(descriptor)


@act("socket.shut")
def shut(work: Working) -> None:
    """Leaves the connection half open."""
    for descriptor in _own_connections():
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            connection.shutdown((socket.SHUT_WR, socket.SHUT_RD)[work.variant % 2])
    work.sleep(ANSWER_SECONDS)


def _own_connections() -> list[int]:
    """The Unix sockets of this process: the one to its keeper is among them."""
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - only numbers are of interest
        try:
            if stat.S_ISSOCK(Path(f"/proc/self/fd/{name}").stat().st_mode):
                with socket.socket(fileno=os.dup(int(name))) as one:
                    if one.family == socket.AF_UNIX and one.type == socket.SOCK_STREAM:
                        found.append(int(name))
        except OSError:
            continue  # it was that of the listing
    return found


def _send(descriptor: int, data: bytes) -> int:
    """How many bytes went out, without waiting; -1 if nobody hears them any more."""
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        try:
            return connection.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            time.sleep(0.01)
            return 0
        except OSError:
            return -1
