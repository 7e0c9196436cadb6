"""What Celery's main process takes from a pipe that tasks can write to as well: the reports of a pool child, and nothing else."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Iterator

import pytest
from billiard.pool import ACK, READY
from billiard.queues import _SimpleQueue  # type: ignore[attr-defined]  # celery-types leaves it out

from longhaul_worker.celery.pool import BrokenReport, _Reports, read_report


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def frame(body: bytes) -> bytes:
    return struct.pack("!i", len(body)) + body


def test_a_report_comes_through_without_the_result() -> None:
    queue = _SimpleQueue()
    reports = _Reports(queue)
    reports.put((ACK, (7, None, 1.5, os.getpid(), None)))
    reports.put((READY, (7, None, (False, RuntimeError("of a task")), 5)))
    descriptor = queue._reader.fileno()
    assert read_report(descriptor) == (ACK, (7, None, 1.5, os.getpid(), None))
    assert read_report(descriptor) == (READY, (7, None, (True, (0, None, 0.0)), 5))
    queue.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"ga",
        b"garbage\n" * 20,
        bytes(64),
        b"\xff\xff\xff\xff",
        struct.pack("!i", 10),  # and nothing follows
        struct.pack("!i", 10) + b"[1,",  # nor all of it
        frame(pickle.dumps((ACK, (7, None, 1.5, 1, None)))),
        frame(b'{"a":1}'),
        frame(b"[]"),
        frame(b"[99,1]"),
        frame(b"[[],1]"),
        frame(b'[1,"7",null,5]'),
        frame(b"[1,7]"),
    ],
)
def test_anything_else_is_an_error_at_once(pipe: tuple[int, int], garbage: bytes) -> None:
    reader, writer = pipe
    os.write(writer, garbage)
    with pytest.raises(BrokenReport):
        read_report(reader)
