"""The socket that pool children speak to, and what each of them runs.

A child is known by its pid. Its death is seen at once through a pidfd, whatever its sockets do.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from longhaul import telemetry
from longhaul.ledger.claims import Claim
from longhaul.ledger.leases import AttemptEnd
from longhaul.states import Ending
from longhaul_worker import evidence, metrics, protocol
from longhaul_worker.attempt import Attempt
from longhaul_worker.recorder import Recorder
from longhaul_worker.settings import WorkerSettings
from longhaul_worker.shelf import Shelf

_log = structlog.get_logger(__name__)

SAMPLE_EVERY_SECONDS = 1.0
_AWAY_PAUSE_SECONDS = 1.0
"""What a doorbell costs a slot whose keeper can't reach the ledger: others, which can, hear the next ones."""
EXIT_REPORT_SECONDS = 1.0
"""How long the report of a dead child's exit code may take: Celery's main process knows it, and may be dead too."""


class PoolChild:
    """One process of Celery's pool, and the attempt that it runs."""

    def __init__(self, pid: int, slot: int, writer: asyncio.StreamWriter) -> None:
        self.pid = pid
        self.slot = slot
        self.attempt: Attempt | None = None
        self._writer = writer
        # A pidfd keeps meaning this process, also once its number is used again.
        self._pidfd = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
        self._is_dead = False

    def tell(self, op: str, claim: Claim) -> None:
        """Push a frame about an attempt; a process that is already gone hears nothing."""
        if not self._writer.is_closing():
            self._writer.write(protocol.encode(op, job_id=claim.job_id, epoch=claim.epoch))

    def kill(self) -> None:
        """End it now. Its death is then noticed like any other. Nothing where it is dead already."""
        if self._is_dead:
            return  # its pidfd is closed, and the number may be that of another child's
        with suppress(ProcessLookupError):
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGKILL)

    async def wait_dead(self, connection_closed: asyncio.Event) -> None:
        """Until the process is dead; without pidfds, until its connection is closed."""
        if self._pidfd is None:
            await connection_closed.wait()
            return
        loop, dead = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._pidfd, dead.set)
        try:
            await dead.wait()
        finally:
            self._is_dead = True
            loop.remove_reader(self._pidfd)
            os.close(self._pidfd)


class Slots:
    """Serves the socket. `heard_at` and the pulse tell the probes how Celery is."""

    def __init__(self, settings: WorkerSettings, recorder: Recorder, socket_path: Path) -> None:
        self.heard_at = time.monotonic()
        """When a doorbell was last heard, or an attempt ended."""
        self.pulse_at: float | None = None
        """When Celery's main loop last ticked; None until it does."""
        self.jobs_left = settings.exit_after_jobs
        """Jobs that may still be claimed here; None: any number."""
        self.socket_path = socket_path
        self.claimed = asyncio.Event()
        """A job was claimed. For one who waits, and clears it."""
        self._settings = settings
        self._recorder = recorder
        self._shelf = Shelf(settings)
        self._children: dict[int, PoolChild] = {}
        self._turns = asyncio.Semaphore(self.jobs_left) if self.jobs_left is not None else None
        self._exits: dict[int, asyncio.Future[int]] = {}
        self._main: asyncio.StreamWriter | None = None
        self._burials: set[asyncio.Task[None]] = set()
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Gets the exception of a burial that went wrong: the keeper must not go on without seeing deaths."""
        self._oom_kills = evidence.read_oom_kills()
        self._random: Callable[[], float] = random.Random().random

    @property
    def free(self) -> int:
        """Slots that run no job."""
        return self._settings.slots - sum(child.attempt is not None for child in self._children.values())

    async def serve(self) -> asyncio.Server:
        """Listen, for this user only."""
        self.socket_path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._converse, self.socket_path, limit=protocol.FRAME_LIMIT_BYTES)
        self.socket_path.chmod(0o600)
        return server

    def stop_claims(self) -> None:
        """This pod must go: answer the children that wait for a job. The recorder gives them none any more."""
        if self._turns is not None:
            for _ in self._children:
                self._turns.release()

    async def sample_memory(self) -> None:
        """Note the peak memory of what runs, until cancelled: once a process is dead, nobody can tell it."""
        while True:
            for child in self._children.values():
                if child.attempt is not None:
                    peak = evidence.read_peak_memory_bytes(child.pid)
                    child.attempt.peak_memory_bytes = peak or child.attempt.peak_memory_bytes
            await asyncio.sleep(SAMPLE_EVERY_SECONDS)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        closed = asyncio.Event()
        child: PoolChild | None = None
        try:
            async for line in reader:
                frame = protocol.decode(line)
                if (size := frame.get("result_bytes")) is not None:
                    frame["result"] = await protocol.read_bytes(reader, size, limit=self._shelf.limit_bytes)
                if frame["op"] == "hello":
                    child = self._welcome(frame["pid"], writer, closed)
                elif child is None:
                    self._hear_main(frame, writer)
                else:
                    await self._hear_child(child, frame, writer)
        except (ConnectionError, EOFError, ValueError) as error:
            _log.warning("line_broken", pid=child.pid if child else None, error=str(error))
            if child is not None:
                child.kill()
        finally:
            closed.set()
            writer.close()

    def _welcome(self, pid: int, writer: asyncio.StreamWriter, closed: asyncio.Event) -> PoolChild:
        taken = {child.slot for child in self._children.values()}
        slot = next(number for number in range(len(taken) + 1) if number not in taken)
        child = self._children[pid] = PoolChild(pid, slot, writer)
        burial = asyncio.create_task(self._bury(child, closed))
        self._burials.add(burial)
        burial.add_done_callback(self._buried)
        return child

    def _buried(self, burial: asyncio.Task[None]) -> None:
        self._burials.discard(burial)
        if not burial.cancelled() and (error := burial.exception()) and not self.failure.done():
            self.failure.set_exception(error)

    def _hear_main(self, frame: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        self._main = writer
        if frame["op"] == "pulse":
            self.pulse_at = time.monotonic()
        elif frame["op"] == "dropped":
            metrics.DROPPED.inc()
        elif frame["op"] == "exited":
            report = self._exit_report(frame["pid"])
            if not report.done():
                report.set_result(frame["exit_code"])
            if frame["pid"] not in self._children:
                del self._exits[frame["pid"]]  # it never said hello, or is buried

    async def _hear_child(self, child: PoolChild, frame: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        match frame["op"]:
            case "claim":
                await self._claim(child, frame["queue"], writer)
            case "progress" if child.attempt:
                child.attempt.progress(frame["fraction"], frame["message"], frame["data"])
            case "log" if child.attempt:
                child.attempt.log(frame["level"], frame["message"], frame["fields"])
            case "checkpoint" if child.attempt:
                await self._checkpoint(child.attempt, frame["state"], writer)
            case "finish" if child.attempt:
                await self._finish(child.attempt, frame)

    async def _claim(self, child: PoolChild, queue: str, writer: asyncio.StreamWriter) -> None:
        if queue not in self._settings.queues:
            metrics.DROPPED.inc()  # forged: nobody rings here for a queue that this pod does not serve
            writer.write(protocol.encode("nothing"))
            return
        self.heard_at = time.monotonic()
        claim = await self._take_turn(queue, child.slot)
        if claim is None and not self._recorder.is_up:
            await asyncio.sleep(_AWAY_PAUSE_SECONDS)
        if claim is not None and self._children.get(child.pid) is not child:
            self._recorder.give_back(claim)  # it died while it asked
            return
        metrics.DOORBELLS.labels(queue, str(claim is not None).lower()).inc()
        if claim is None:
            writer.write(protocol.encode("nothing"))
            return
        child.attempt = Attempt(
            claim,
            child,
            cancel_grace_seconds=self._settings.cancel_grace_seconds,
            progress_interval_seconds=self._settings.progress_interval_seconds,
            on_dirty=self._recorder.wake,
            on_end=lambda attempt, end: self._ended(child, attempt, end),
            random=self._random,
        )
        # Now too, since it may die before the first sample.
        child.attempt.peak_memory_bytes = evidence.read_peak_memory_bytes(child.pid)
        self._recorder.watch(child.attempt)
        self.claimed.set()
        metrics.WAIT_SECONDS.labels(queue).observe(claim.waited_seconds)
        metrics.SLOTS_BUSY.inc()
        _log.info("attempt_started", **_names(claim), pid=child.pid)
        writer.write(
            protocol.encode(
                "claimed",
                claim={
                    "job_id": claim.job_id,
                    "epoch": claim.epoch,
                    "tenant": claim.tenant,
                    "task": claim.task,
                    "params": claim.params,
                    "checkpoint": claim.checkpoint,
                    "trace_context": claim.trace_context,
                },
            )
        )

    async def _take_turn(self, queue: str, slot: int) -> Claim | None:
        if self._turns is None:
            return await self._recorder.claim(queue, slot)
        # A child that has no job left to claim waits here until the drain, and so hears no doorbells in vain.
        await self._turns.acquire()
        claim = None
        try:
            claim = await self._recorder.claim(queue, slot)
        finally:
            if claim is None:
                self._turns.release()
            else:
                assert self.jobs_left is not None
                self.jobs_left -= 1
        return claim

    async def _checkpoint(self, attempt: Attempt, state: str, writer: asyncio.StreamWriter) -> None:
        limit = self._settings.checkpoint_limit_bytes
        if len(state) > limit:
            message = f"The checkpoint has {len(state)} bytes and the limit is {limit}: keep large state in files."
            writer.write(protocol.encode("refused", message=message))
            return
        saved = attempt.checkpoint(state)
        if not self._recorder.is_up:
            attempt.release_checkpoints()
        await saved
        writer.write(protocol.encode("saved"))

    async def _finish(self, attempt: Attempt, frame: dict[str, Any]) -> None:
        size, limit = frame["result_bytes"], self._shelf.limit_bytes
        if size is None:
            attempt.finish(Ending(frame["ending"]), error=frame["error"], delay_seconds=frame["delay_seconds"])
        elif (result := frame["result"]) is not None:
            await self._shelf.finish(attempt, result)
        else:
            message = f"The result has {size} bytes and the limit is {limit}: store it and return where it is."
            attempt.finish(Ending.PERMANENT, error={"code": "result_too_large", "message": message})

    def _ended(self, child: PoolChild, attempt: Attempt, end: AttemptEnd) -> None:
        if child.attempt is attempt:
            child.attempt = None
        attempt.child = None
        self.heard_at = time.monotonic()
        ran_seconds = asyncio.get_running_loop().time() - attempt.started
        metrics.SLOTS_BUSY.dec()
        metrics.ENDINGS.labels(attempt.claim.task, end.ending).inc()
        metrics.RUN_SECONDS.labels(attempt.claim.task).observe(ran_seconds)
        _log.info(
            "attempt_ended",
            **_names(attempt.claim),
            ending=end.ending,
            seconds=round(ran_seconds, 3),
        )
        self._recorder.end(end)

    async def _bury(self, child: PoolChild, closed: asyncio.Event) -> None:
        await child.wait_dead(closed)
        if self._main is not None and not self._main.is_closing():
            self._main.write(protocol.encode("reap"))
        report = self._exit_report(child.pid)
        if child.attempt is not None and not child.attempt.is_over:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(report), EXIT_REPORT_SECONDS)
        self._exits.pop(child.pid, None)
        if self._children.get(child.pid) is child:
            del self._children[child.pid]
        if (attempt := child.attempt) is None:
            return
        child.attempt = None
        if attempt.is_over:  # its lease was lost
            metrics.SLOTS_BUSY.dec()
            return
        oom_kills, before = evidence.read_oom_kills(), self._oom_kills
        self._oom_kills = oom_kills
        exit_code = report.result() if report.done() else None
        attempt.died(
            evidence.describe_exit(
                exit_code,
                oom_killed=exit_code == -signal.SIGKILL and oom_kills > before,
                peak_memory_bytes=attempt.peak_memory_bytes,
            )
        )

    def _exit_report(self, pid: int) -> asyncio.Future[int]:
        return self._exits.setdefault(pid, asyncio.get_running_loop().create_future())


def _names(claim: Claim) -> dict[str, Any]:
    """What ties a log line to its job, and to its trace where there is one."""
    names = {"job_id": str(claim.job_id), "epoch": claim.epoch, "queue": claim.queue, "task": claim.task}
    trace_id = telemetry.trace_id_of(claim.trace_context)
    return names | ({"trace_id": trace_id} if trace_id else {})
