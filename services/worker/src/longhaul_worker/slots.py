"""The slots of this pod: its pool children, what each of them runs, and what became of those that died."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

import msgspec
import structlog

from longhaul import telemetry
from longhaul.ledger.claims import Claim
from longhaul.ledger.leases import AttemptEnd
from longhaul.states import Ending
from longhaul_worker import evidence, metrics
from longhaul_worker.attempt import Attempt
from longhaul_worker.pool_process import PoolProcess, Processes
from longhaul_worker.recorder import Grant, Recorder
from longhaul_worker.result_upload import ResultUpload
from longhaul_worker.session import frames
from longhaul_worker.session.frames import FromChild, FromMain
from longhaul_worker.session.server import KeeperSession
from longhaul_worker.settings import WorkerSettings

_log = structlog.get_logger(__name__)

SAMPLE_EVERY_SECONDS: Final = 1.0
_AWAY_PAUSE_SECONDS: Final = 1.0
"""What a doorbell costs a slot whose keeper can't reach the ledger: others, which can, hear the next ones."""
LAST_WORDS_SECONDS: Final = 5.0
"""How long it may take to hear the rest of what a dead child said."""
EXIT_REPORT_SECONDS: Final = 5.0
"""How long the report of a dead child's exit code may take. Only Celery's main process knows it, and while Redis fails it
waits outside of its loop: 2 s for a connection, and 1 s until the next try."""
_DESERTION_SECONDS: Final = 1.0
"""How long a child may live on without its connection. As a rule it is dying, and its death tells more."""


class PoolChild:
    """One process of Celery's pool: its session, and its life."""

    def __init__(self, session: KeeperSession, process: PoolProcess, slot: int) -> None:
        self.session = session
        self.process = process
        self.slot = slot
        self.left = asyncio.Event()
        """All that it said was heard."""
        self.is_dead = False

    @property
    def pid(self) -> int:
        return self.session.pid

    @property
    def attempt(self) -> Attempt | None:
        return self.session.attempt

    def tell(self, reason: Any, claim: Claim) -> None:
        """See `attempt.Child`."""
        self.session.send(frames.Stop(job_id=claim.job_id, epoch=claim.epoch, reason=reason))

    def kill(self, attempt: Attempt) -> None:
        """See `attempt.Child`. Its death is then noticed like any other."""
        if self.attempt is attempt:
            self.process.kill()


class Slots:
    """`session.server.Owner` and `Peers`: what the sessions ask for. `heard_at` and the pulse tell the probes how Celery is."""

    def __init__(
        self,
        settings: WorkerSettings,
        recorder: Recorder,
        processes: Processes,
        *,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.heard_at = self._loop.time()
        """When a doorbell was last heard, or an attempt ended."""
        self.pulse_at: float | None = None
        """When Celery's main loop last ticked; None until it does."""
        self.jobs_left = settings.exit_after_jobs
        """Jobs that may still be claimed here; None: any number."""
        self.claimed = asyncio.Event()
        """A job was claimed. For one who waits, and clears it."""
        self._settings = settings
        self._recorder = recorder
        self._processes = processes
        self._upload = ResultUpload(settings, random=random)
        self._limits = frames.Limits(
            checkpoint_bytes=settings.checkpoint_limit_bytes, result_bytes=self._upload.limit_bytes
        )
        self._children: dict[int, PoolChild] = {}
        self._turns = asyncio.Semaphore(self.jobs_left) if self.jobs_left is not None else None
        self._exits: dict[int, asyncio.Future[int | None]] = {}
        self._send_to_main: Callable[[bytes], None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._oom_kills = processes.read_oom_kills()
        self._random = random

    @property
    def free(self) -> int:
        """Slots that run no job."""
        return self._settings.slots - sum(child.attempt is not None for child in self._children.values())

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
                    peak = child.process.read_peak_memory_bytes()
                    child.attempt.peak_memory_bytes = peak or child.attempt.peak_memory_bytes
            await asyncio.sleep(SAMPLE_EVERY_SECONDS)

    # `Peers`: who is there.

    def may_join(self, pid: int) -> bool:
        return pid not in self._children and self._processes.is_pool_child(pid)

    def is_main(self, pid: int) -> bool:
        return self._processes.is_main(pid)

    def join(self, pid: int, send: Callable[[bytes], None]) -> KeeperSession:
        taken = {child.slot for child in self._children.values()}
        slot = next(number for number in range(len(taken) + 1) if number not in taken)
        child = self._children[pid] = PoolChild(KeeperSession(pid, send, self), self._processes.open(pid), slot)
        self._spawn(self._reap_child(child))
        return child.session

    def left(self, session: KeeperSession) -> None:
        child = self._children.get(session.pid)
        if child is not None and child.session is session:
            child.left.set()
            self._loop.call_later(_DESERTION_SECONDS, self._kill_deserter, child)

    def kill_broken(self, session: KeeperSession, reason: str) -> None:
        child = self._children.get(session.pid)
        if child is None or child.session is not session:
            return
        if session.attempt is not None:
            message = f"The process that ran this job broke the protocol with its keeper: {reason}."
            session.attempt.kill(Ending.CRASHED, {"code": "protocol_error", "message": message[:1000]})
        child.process.kill()

    def _kill_deserter(self, child: PoolChild) -> None:
        if not child.is_dead:
            self.kill_broken(child.session, "it closed its connection")

    def payload_limit(self, frame: FromChild | FromMain) -> int:
        if isinstance(frame, frames.Finish):
            return self._limits.result_bytes
        return self._limits.checkpoint_bytes

    def hear_main(self, frame: FromMain, send: Callable[[bytes], None]) -> None:
        self._send_to_main = send
        if isinstance(frame, frames.Pulse):
            self.pulse_at = self._loop.time()
        elif isinstance(frame, frames.DoorbellDropped):
            metrics.DROPPED.inc()
        else:
            report = self._exit_report(frame.pid)
            if not report.done():
                report.set_result(frame.exit_code)
            if frame.pid not in self._children:
                del self._exits[frame.pid]  # it never said hello, or is reaped

    def main_left(self) -> None:
        self._send_to_main = None
        for report in self._exits.values():
            if not report.done():
                report.set_result(None)  # nobody else can make it

    # `Owner`: what they ask for.

    def claim(self, session: KeeperSession, request: frames.ClaimRequest) -> None:
        self._spawn(self._claim(session, request), on_failure=lambda: self._kill(session))

    def checkpoint(
        self, session: KeeperSession, attempt: Attempt, frame: frames.Checkpoint, state: bytes | None
    ) -> None:
        if state is None:
            message = f"The checkpoint is larger than {self._limits.checkpoint_bytes:,} bytes."
            session.send(frames.Refused(number=frame.number, code="unstorable", message=message))
            return
        saved = attempt.checkpoint(state)
        saved.add_done_callback(lambda _: session.send(frames.Saved(number=frame.number)))

    def finish(self, session: KeeperSession, attempt: Attempt, frame: frames.Finish, result: bytes | None) -> None:
        self._spawn(self._finish(session, attempt, frame, result), on_failure=lambda: self._kill(session))

    async def _claim(self, session: KeeperSession, request: frames.ClaimRequest) -> None:
        queue = request.queue
        if queue not in self._settings.queues:
            metrics.DROPPED.inc()  # forged: nobody rings here for a queue that this pod does not serve
            session.answer_nothing(request)
            return
        self.heard_at = self._loop.time()
        child = self._children.get(session.pid)
        if child is None:
            return  # it died while it asked
        grant = await self._take_turn(queue, child.slot)
        if grant is None and not self._recorder.is_up:
            await asyncio.sleep(_AWAY_PAUSE_SECONDS)
        if grant is not None and self._children.get(child.pid) is not child:
            self._recorder.give_back(grant.claim)  # it died while it asked
            return
        metrics.DOORBELLS.labels(queue, str(grant is not None).lower()).inc()
        if grant is None:
            session.answer_nothing(request)
        else:
            self._start(child, grant, request)

    def _start(self, child: PoolChild, grant: Grant, request: frames.ClaimRequest) -> None:
        claim = grant.claim
        attempt = Attempt(
            claim,
            child,
            cancel_grace_seconds=self._settings.cancel_grace_seconds,
            progress_interval_seconds=self._settings.progress_interval_seconds,
            on_dirty=self._recorder.wake,
            on_end=self._ended,
            random=self._random,
        )
        # Now too, since it may die before the first sample.
        attempt.peak_memory_bytes = child.process.read_peak_memory_bytes()
        metrics.WAIT_SECONDS.labels(claim.queue).observe(claim.waited_seconds)
        metrics.SLOTS_BUSY.inc()
        self._recorder.watch(attempt)
        self.claimed.set()
        child.session.assign(
            attempt,
            frames.Claimed(
                number=request.number,
                job_id=claim.job_id,
                epoch=claim.epoch,
                tenant=claim.tenant,
                task=claim.task,
                queue=claim.queue,
                params=claim.params,
                checkpoint=claim.checkpoint,
                trace_context=claim.trace_context,
                limits=self._limits,
                start_by=grant.start_by,
            ),
        )
        _log.info("attempt_started", **_names(claim), pid=child.pid)

    async def _take_turn(self, queue: str, slot: int) -> Grant | None:
        if self._turns is None:
            return await self._recorder.claim(queue, slot)
        # A child that has no job left to claim waits here until the drain, and so hears no doorbells in vain.
        await self._turns.acquire()
        grant = None
        try:
            grant = await self._recorder.claim(queue, slot)
        finally:
            if grant is None:
                self._turns.release()
            else:
                assert self.jobs_left is not None
                self.jobs_left -= 1
        return grant

    async def _finish(
        self, session: KeeperSession, attempt: Attempt, frame: frames.Finish, result: bytes | None
    ) -> None:
        if frame.ending is not Ending.SUCCEEDED:
            error = msgspec.to_builtins(frame.error) if frame.error is not None else None
            attempt.finish(frame.ending, error=error, delay_seconds=frame.delay_seconds)
        elif result is not None:
            await self._upload.finish(attempt, result)
        else:
            message = f"The result is larger than {self._limits.result_bytes:,} bytes: store it and return where it is."
            attempt.finish(Ending.PERMANENT, error={"code": "result_too_large", "message": message})
        session.answer_finished(frame)

    def _ended(self, attempt: Attempt, end: AttemptEnd) -> None:
        attempt.child = None
        self.heard_at = self._loop.time()
        ran_seconds = self._loop.time() - attempt.started
        metrics.SLOTS_BUSY.dec()
        metrics.ENDINGS.labels(attempt.claim.task, end.ending).inc()
        metrics.RUN_SECONDS.labels(attempt.claim.task).observe(ran_seconds)
        self._recorder.end(end)
        _log.info("attempt_ended", **_names(attempt.claim), ending=end.ending, seconds=round(ran_seconds, 3))

    # How children end.

    async def _reap_child(self, child: PoolChild) -> None:
        await child.process.wait_dead()
        child.is_dead = True
        if child.attempt is not None:
            child.attempt.hear_the_rest()
        if self._send_to_main is not None:
            self._send_to_main(frames.encode(frames.Reap()))
        exit_code = await self._last_words(child)
        self._exits.pop(child.pid, None)
        if self._children.get(child.pid) is child:
            del self._children[child.pid]
        attempt, child.session.attempt = child.attempt, None
        if attempt is None or attempt.is_over:
            if attempt is not None and attempt.child is not None:  # its lease was lost
                metrics.SLOTS_BUSY.dec()
            return
        oom_kills, before = self._processes.read_oom_kills(), self._oom_kills
        self._oom_kills = oom_kills
        attempt.died(
            evidence.describe_exit(
                exit_code,
                oom_killed=exit_code == -signal.SIGKILL and oom_kills > before,
                peak_memory_bytes=attempt.peak_memory_bytes,
            )
        )

    async def _last_words(self, child: PoolChild) -> int | None:
        """Its exit code, after all that it said was heard; both as far as they come in time."""
        report = self._exit_report(child.pid)
        if child.attempt is not None and not child.attempt.is_over:
            with suppress(TimeoutError):
                await asyncio.wait_for(child.left.wait(), LAST_WORDS_SECONDS)
            if self._send_to_main is not None:
                with suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(report), EXIT_REPORT_SECONDS)
        return report.result() if report.done() else None

    def _exit_report(self, pid: int) -> asyncio.Future[int | None]:
        return self._exits.setdefault(pid, self._loop.create_future())

    def _kill(self, session: KeeperSession) -> None:
        self.kill_broken(session, "its keeper could not answer it")

    def _spawn(self, work: Coroutine[Any, Any, None], on_failure: Callable[[], None] | None = None) -> None:
        """Run beside everything else. What goes wrong ends one child at the most, and never this keeper."""
        task = self._loop.create_task(work)
        self._tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                metrics.SESSIONS_BROKEN.inc()
                if on_failure is not None:
                    on_failure()
                _log.error("session_failed", exc_info=error)

        task.add_done_callback(done)


def _names(claim: Claim) -> dict[str, Any]:
    """What ties a log line to its job, and to its trace if there is one."""
    names = {"job_id": str(claim.job_id), "epoch": claim.epoch, "queue": claim.queue, "task": claim.task}
    trace_id = telemetry.trace_id_of(claim.trace_context)
    return names | ({"trace_id": trace_id} if trace_id else {})
