"""Celery's prefork pool, with two differences. It tells the keeper how each child ended: only its parent learns the exit code.
And it trusts no pipe that a task can write to: a child that says anything but a short list of numbers is killed, where Celery's
own pool would unpickle whatever comes, or wait for the rest of it.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from struct import Struct
from types import NoneType
from typing import Any, Final

import orjson
import structlog
from billiard.pool import ACK, DEATH, READY
from celery.concurrency import asynpool
from celery.concurrency.prefork import TaskPool

_log = structlog.get_logger(__name__)

on_exit: Callable[[int, int], None] | None = None
"""Called with a child's pid and exit code (negative: the signal); set by `app` in Celery's main process."""

Message = tuple[int, tuple[Any, ...]]
"""What a child says, as Celery's pool has it: a kind, and its values."""

_SIZE: Final = Struct("!i")
_MAX_REPORT_BYTES: Final = 256
"""With its size less than PIPE_BUF: a report is written and read as a whole, or it is none."""
_VALUES: Final[dict[int, tuple[type, ...]]] = {
    asynpool.WORKER_UP: (int,),  # type: ignore[attr-defined]  # celery-types leaves it out
    ACK: (int, NoneType, float, int, NoneType),
    READY: (int, NoneType, int),
    DEATH: (int, int),
}
_ANSWERED: Final = (True, (0, None, 0.0))
"""The result of every doorbell: it succeeded, returned nothing, and took no time. How a job ended is between child and keeper."""


class BrokenReport(OSError):
    """What a child said is no report. An OSError, since Celery's pool takes that for the end of the child's pipe."""


class _Reports:
    """The end of a pipe that its child writes to."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def put(self, message: Message) -> None:
        kind, values = message
        if kind == READY:
            job, index, _result, descriptor = values
            values = (job, index, descriptor)
        self._queue.send_payload(orjson.dumps([kind, *values]))


def read_report(descriptor: int) -> Message:
    """Read the next report of a pipe that has something to read. Never waits for the rest of one.

    Raises EOFError if the pipe is closed, and BrokenReport.
    """
    head = os.read(descriptor, _SIZE.size)
    if not head:
        raise EOFError
    size = _SIZE.unpack(head)[0] if len(head) == _SIZE.size else 0
    if not 0 < size <= _MAX_REPORT_BYTES or not _is_readable(descriptor):
        raise BrokenReport("a report has no such size")
    try:
        kind, *values = orjson.loads(os.read(descriptor, size))
        types = _VALUES[kind]
        if len(values) != len(types) or not all(map(isinstance, values, types)):
            raise BrokenReport(f"a report of kind {kind} has no such values")
    except (ValueError, TypeError, LookupError) as error:
        raise BrokenReport("a report is a list of numbers in JSON") from error
    if kind == READY:
        job, index, descriptor = values
        return kind, (job, index, _ANSWERED, descriptor)
    return kind, tuple(values)


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


class _Worker(asynpool.Worker):
    """In the child: what Celery runs there."""

    inq: Any
    outq: Any
    pool_queues: dict[tuple[Any, ...], Any]

    def on_loop_start(self, pid: int) -> None:
        # A task that writes to a wrong descriptor must not reach another child's pipes.
        for queue in (queue for queues in self.pool_queues for queue in queues if queue):
            if queue not in (self.inq, self.outq):
                queue.close()
        self.outq = _Reports(self.outq)
        super().on_loop_start(pid)


class _ResultHandler(asynpool.ResultHandler):
    """In Celery's main process: reads what the children say."""

    fileno_to_outq: dict[int, Any]

    def _recv_message(
        self, add_reader: Callable[..., None], fd: int, callback: Callable[[Message], None]
    ) -> Iterator[None]:
        try:
            message = read_report(fd)
            add_reader(fd, self.handle_event, fd)
            callback(message)
        except BlockingIOError:
            add_reader(fd, self.handle_event, fd)
        except EOFError:
            raise
        except Exception as error:
            _kill(self.fileno_to_outq[fd], error)
            raise BrokenReport from error
        yield from ()


class _ReportingPool(asynpool.AsynPool):
    Worker = _Worker
    ResultHandler = _ResultHandler
    _pool: list[Any]
    _queues: dict[tuple[Any, ...], Any]

    def WorkerProcess(self, worker: _Worker) -> Any:  # noqa: N802 - the name of billiard
        worker.pool_queues = self._queues
        return super().WorkerProcess(worker)

    def create_process_queues(self) -> Any:
        _, outq, _ = queues = super().create_process_queues()
        reader = _reader_of(outq)
        reader.recv = partial(read_report, reader.fileno())
        return queues

    def process_flush_queues(self, proc: Any) -> None:
        super().process_flush_queues(proc)
        with suppress(OSError):  # a child in this one's place gets its pipes, and may not find its garbage
            while _is_readable(descriptor := _reader_of(proc.outq).fileno()) and os.read(descriptor, 65_536):
                pass

    def _repopulate_pool(self, exit_codes: Any) -> None:
        # A child that is forked while an exception is handled lives in that handler for ever: each error of its jobs would
        # have the exception as its context. Celery's consumer empties the pool while it handles one of Redis; the event
        # loop asks again.
        if sys.exception() is None:
            super()._repopulate_pool(exit_codes)  # type: ignore[misc]  # billiard has no types

    def _join_exited_workers(self, shutdown: bool = False) -> Any:
        before = list(self._pool)
        try:
            return super()._join_exited_workers(shutdown)  # type: ignore[misc]  # billiard has no types
        finally:
            # Only now: a child that becomes waitable during the call is joined by it, and never seen again.
            for worker in before:
                if on_exit is not None and worker not in self._pool and worker.exitcode is not None:
                    on_exit(worker.pid, worker.exitcode)


def _reader_of(queue: Any) -> Any:
    return queue._reader  # noqa: SLF001 - Celery's pool takes it from there as well


def _kill(process: Any, reason: Exception) -> None:
    if process.exitcode is None:
        os.kill(process.pid, signal.SIGKILL)
    _log.warning("pool_child_broken", pid=process.pid, reason=repr(reason))


class Pool(TaskPool):
    """`worker_pool = "longhaul_worker.celery.pool:Pool"`."""

    Pool = _ReportingPool
