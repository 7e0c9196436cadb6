"""A process of Celery's pool: a real `ChildSession`, and a job that speaks through it.

It does what `execute.Executor` does, one await at a time: waiting for an answer takes virtual time here.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tests.faults.simulation import tasks
from tests.faults.simulation.kernel import Process, ProcessExit
from tests.faults.simulation.tasks import Fortune, Params
from tests.faults.simulation.wire import PIPE_SECONDS, ChildWire, Connection

from longhaul.errors import AttemptOver, Cancelled, HandOver, Permanent, Retryable, SoftTimeout
from longhaul.job import Job
from longhaul.ledger.leases import Lease
from longhaul.states import Ending
from longhaul.values import encode_json
from longhaul_worker.child import execute
from longhaul_worker.child.execute import Outcome
from longhaul_worker.session import frames
from longhaul_worker.session.child import EXIT_KEEPER_GONE, AttemptChannel, ChildSession, _Call
from longhaul_worker.session.frames import Answer, Claimed, Refused

if TYPE_CHECKING:
    from tests.faults.simulation.celery import Celery

EX_RECYCLE = 155


class AwaitedReply:
    """`session.child.Reply`, whose answer is awaited."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answer: asyncio.Future[Answer | None] = loop.create_future()

    def put(self, answer: Answer | None, /) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def get(self) -> Answer | None:
        raise AssertionError("nothing waits in real time here")


class Child:
    """One process of the pool: one job at a time, and no line to the ledger but through its keeper."""

    def __init__(self, celery: Celery, *, starts_in: float) -> None:
        self.celery, self.world, self.kernel = celery, celery.world, celery.world.kernel
        self.keeper = celery.keeper
        self.pid = self.world.new_pid()
        self.process = Process(self.kernel, f"{self.keeper.name}/child-{self.pid}", celery.pod.name)
        self.exit_code = -9
        self.is_busy = True
        """As Celery's main process sees it: it has a doorbell, or is not there yet."""
        self.lease: Lease | None = None
        """What it runs."""
        self.session: ChildSession | None = None
        self._fork_pid: int | None = None
        self._jobs = 0
        self._doorbells: asyncio.Queue[str] = asyncio.Queue()
        self._threads: list[Coroutine[Any, Any, None]] = []
        self.process.start(self._live(starts_in))

    @property
    def is_idle(self) -> bool:
        return self.process.is_alive and not self.is_busy

    @property
    def works(self) -> bool:
        """It computes; one that has reported its end only waits for the answer."""
        return self.session is not None and self.session.channel is not None

    def kill(self, exit_code: int = -9, *, cause: str = "killed") -> None:
        """By a fault: what it runs, or was just given, was broken by that."""
        if self.process.is_alive:
            self.blame(cause)
            self.exit_code = exit_code
            self.process.kill()

    def blame(self, cause: str) -> None:
        """Note what became of the attempt that this process has, as far as anyone knows."""
        for lease in filter(None, {self.lease, self.keeper.attempt_of(self.pid)}):
            self.world.checker.log_of(lease).causes.add(cause)

    def hear_doorbell(self, queue: str) -> None:
        self._doorbells.put_nowait(queue)

    # Its life.

    async def _live(self, starts_in: float) -> None:
        await asyncio.sleep(starts_in)
        connection = Connection(self.process, self.keeper, self.pid, self._hear, self._lose_keeper)
        self._wire = ChildWire(self.process, connection, self._on_line)
        session = self.session = ChildSession(
            self._wire,
            new_reply=lambda: AwaitedReply(self.process.loop),
            current_pid=lambda: self._fork_pid or self.pid,
            exit=self._exit,
        )
        await asyncio.sleep(PIPE_SECONDS)
        self._get_free()
        while True:
            queue = await self._doorbells.get()
            claimed = session.claimed(await _answer(session.ask_claim(queue)))
            may_go_on = claimed is None or await self._execute(session, claimed)
            if claimed is not None:
                self._jobs += 1
            if not may_go_on or self._jobs >= self.celery.pod.jobs_per_child:
                self._exit(EX_RECYCLE)
            self._get_free()

    def _get_free(self) -> None:
        self.celery.process.after(PIPE_SECONDS, self.celery.hear_free, self)

    def _exit(self, code: int) -> None:
        if self.process.is_alive:
            self.exit_code = code
            self.blame("exits")
        self.process.exit()

    def _lose_keeper(self) -> None:
        self._exit(EXIT_KEEPER_GONE)

    def _hear(self, frame: Answer | frames.Stop | frames.Reap) -> None:
        assert self.session is not None
        self.session.receive(frame)

    def _on_line(self, message: str) -> None:
        if self.lease is not None:
            self.world.checker.log_of(self.lease).lines.append(message)

    # A job, to its one reported end.

    async def _execute(self, session: ChildSession, claimed: Claimed) -> bool:
        channel = session.channel
        assert channel is not None
        self.lease = Lease(job_id=claimed.job_id, epoch=claimed.epoch)
        if self.process.loop.time() > claimed.start_by:
            outcome = Outcome(ending=Ending.HANDED_OVER)
        else:
            self.world.checker.log_of(self.lease).is_started = True
            outcome = await self._run(claimed, channel)
        session.end_attempt()
        if self.kernel.random.random() < 0.1:
            await asyncio.sleep(self.kernel.random.random() * 0.2)  # what it started ends first
        self.world.checker.log_of(self.lease).outcome = outcome.ending
        reply = session.ask_finish(
            channel,
            outcome.ending,
            result=outcome.result,
            error=outcome.error,
            delay_seconds=outcome.delay_seconds,
        )
        session.finished(await _answer(reply))
        self.lease = None
        return outcome.ending is not Ending.CRASHED

    async def _run(self, claimed: Claimed, channel: AttemptChannel) -> Outcome:
        raised: BaseException | None = None
        result: bytes | None = None
        try:
            result = await self._call(claimed, channel)
        except ProcessExit:
            raise
        except BaseException as error:  # noqa: BLE001 - as in `execute`: whatever leaves the task is its end
            raised = error
        channel.in_task = False
        if raised is None:
            return Outcome(ending=Ending.SUCCEEDED, result=result)
        outcome = execute._describe(raised, tasks.TASK, channel)
        raised.__traceback__ = None
        return outcome

    async def _call(self, claimed: Claimed, channel: AttemptChannel) -> bytes:
        params = Params.model_validate(claimed.params)
        run = Run(self, claimed, channel, params)
        channel.in_task = True
        if params.is_async:
            result = await execute._call_async(run.work(), channel)
        else:
            result = await self._call_sync(run.work(), channel)
        return execute._encode(tasks.TASK, result, channel.limits.result_bytes)

    async def _call_sync(self, work: Coroutine[Any, Any, object], channel: AttemptChannel) -> object:
        """A signal handler raises between two awaits of the task."""
        current, stoppable = asyncio.current_task(), execute._Stoppable(work)
        assert current is not None

        def handle_signal() -> None:
            if self.session is None or self.session.channel is not channel:
                return
            try:
                channel.on_soft_limit_signal()
            except SoftTimeout as error:
                stoppable.reason = error
                current.cancel()

        channel.interrupt = lambda: self.process.after(0.0, handle_signal)
        return await stoppable


async def _answer(reply: Any) -> Answer | None:
    answer: Answer | None = await reply.answer
    return answer


class Run:
    """The task's own code, for one attempt."""

    def __init__(self, child: Child, claimed: Claimed, channel: AttemptChannel, params: Params) -> None:
        self._child = child
        self._kernel = child.kernel
        self._wire = child._wire
        self._channel = channel
        self._params = params
        self._epoch = claimed.epoch
        self._id = claimed.job_id
        self._fortune = params.fortune(claimed.epoch)
        self._lines = 0
        self._resumed = claimed.checkpoint
        self._job = Job(
            id=claimed.job_id,
            task=claimed.task,
            attempt=claimed.epoch,
            epoch=claimed.epoch,
            checkpointed=claimed.checkpoint,
            channel=channel,
        )

    @property
    def _ignores_all(self) -> bool:
        return self._fortune in (Fortune.HANGS, Fortune.SENDS_HALF_A_FRAME) or not self._params.obeys

    async def work(self) -> tasks.Result:
        """The function of the task."""
        fortune, params = self._fortune, self._params
        done = int(self._resumed["step"]) if self._resumed else 0
        if fortune is Fortune.ENDS_AT_ITS_LIMIT:
            await self._sleep(params.timeout_seconds - 0.01 * self._kernel.random.random())
        while done < params.steps or fortune is Fortune.HANGS:
            if fortune is not Fortune.ENDS_AT_ITS_LIMIT:
                await self._sleep(params.step_seconds)
            if fortune is Fortune.HANGS:
                continue
            done += 1
            if done * 2 >= params.steps:
                await self._meet_fortune(done)
            await self._say(done)
        self._fail()
        return self._result()

    async def _sleep(self, seconds: float) -> None:
        """Compute for so long, whatever is raised in it if this task ignores that."""
        ends_at = self._kernel.now + seconds
        while self._kernel.now < ends_at:
            try:
                await asyncio.sleep(ends_at - self._kernel.now)
            except SoftTimeout:
                if not self._ignores_all:
                    raise

    async def _say(self, step: int) -> None:
        params = self._params
        for _ in range(params.lines):
            await self._log(self._next_line())
        try:
            if params.is_interruptible:
                await self._checkpoint(tasks.state(params, self._epoch, step))
            else:
                self._job.progress(step / params.steps, tasks.message(params, self._epoch, step), step=step)
        except (Cancelled, HandOver, SoftTimeout):
            if not self._ignores_all:
                raise

    def _next_line(self) -> str:
        self._lines += 1
        return tasks.line(self._params, self._epoch, self._lines)

    async def _log(self, message: str, **fields: Any) -> None:
        await self._wire.drain()
        self._job.log(message, **fields)

    async def _checkpoint(self, state: Any) -> None:
        """`Job.checkpoint`, which would wait in real time."""
        channel = self._channel
        with _Call(channel) as session:
            answer = await _answer(channel.ask_checkpoint(session, encode_json(state, what="job.checkpoint()")))
        if answer is None:
            raise AttemptOver
        if isinstance(answer, Refused):
            raise AttemptOver if answer.code == "attempt_over" else Permanent(answer.message)
        world, lease = self._child.world, Lease(job_id=self._id, epoch=self._epoch)
        if self._child.keeper.recorder.is_up:  # otherwise it is safe with the keeper
            world.checker.saved(lease, world.database.rows[self._id], state)
        channel.raise_if_stopped()

    # What may go wrong in it.

    async def _meet_fortune(self, step: int) -> None:
        params, epoch, poison = self._params, self._epoch, tasks.POISON
        match self._fortune:
            case Fortune.EXITS:
                self._child._exit(self._kernel.random.choice((0, 1, 42, 127)))
            case Fortune.POISONS_ITS_LOG:
                await self._log(f"{self._next_line()}{poison}")
            case Fortune.POISONS_ITS_PROGRESS:
                self._job.progress(step / params.steps, tasks.message(params, epoch, step), step=step, why=poison)
                await self._sleep(2.0)
            case Fortune.POISONS_ITS_CHECKPOINT:
                await self._checkpoint({**tasks.state(params, epoch, step), "why": poison})
            case Fortune.SENDS_GARBAGE | Fortune.SENDS_HALF_A_FRAME | Fortune.CLAIMS_WHILE_IT_RUNS:
                await self._break_the_protocol()
            case Fortune.SPEAKS_FOR_OTHERS:
                self._speak_for_others()
            case Fortune.FORKS:
                self._fork(step)
            case Fortune.IS_INTERRUPTED:
                await self._be_interrupted(step)
            case Fortune.SPEAKS_TOO_LATE:
                self._child.process.start(self._go_on_after_the_end())
            case Fortune.FLOODS:
                for _ in range(150):
                    await self._log(self._next_line(), padding="x" * 200)

    async def _break_the_protocol(self) -> None:
        causes = self._child.world.checker.log_of(Lease(job_id=self._id, epoch=self._epoch)).causes
        match self._fortune:
            case Fortune.SENDS_GARBAGE:
                causes.add("broke")
                self._wire.inject(self._kernel.random.randbytes(64))
            case Fortune.SENDS_HALF_A_FRAME:
                self._wire.inject(frames.HEADER.pack(300, 0) + b'{"op":"log"')
                while True:
                    await self._sleep(60.0)
            case Fortune.CLAIMS_WHILE_IT_RUNS:
                causes.add("broke")
                self._wire.inject(frames.encode(frames.ClaimRequest(number=999, queue=tasks.QUEUE)))
                await self._sleep(30.0)

    def _fail(self) -> None:
        where = f"{self._params.token} {self._epoch}"
        match self._fortune:
            case Fortune.FAILS:
                raise Retryable(f"{where} fails", delay_seconds=self._kernel.random.choice((None, 0.0, 1.0)))
            case Fortune.ERRS:
                raise ValueError(f"{where} errs")
            case Fortune.POISONS_ITS_ERROR:
                raise ValueError(f"{where} errs {tasks.POISON}")

    def _result(self) -> tasks.Result:
        result = tasks.result(self._params, self._id, self._epoch)
        match self._fortune:
            case Fortune.HAS_NO_NUMBER:
                return result.model_copy(update={"number": math.nan})
            case Fortune.IS_TOO_LARGE:
                return result.model_copy(update={"text": "x" * 20_000})
            case Fortune.POISONS_ITS_RESULT:
                return result.model_copy(update={"text": tasks.POISON})
        return result

    def _speak_for_others(self) -> None:
        other = [job for job in self._child.world.database.rows if job != self._id]
        id, epoch = (other[0], 1) if other else (self._id, self._epoch - 1)
        self._inject_frames(id, epoch, self._child.pid)

    def _fork(self, step: int) -> None:
        child = self._child
        child._fork_pid = child.pid + 100_000
        try:
            self._job.progress(step / self._params.steps, "by a fork")
        except AttemptOver:
            pass
        else:
            self._kernel.fail("I7: a process that the task forked could speak for it")
        finally:
            child._fork_pid = None
        self._inject_frames(self._id, self._epoch, child.pid + 100_000)

    def _inject_frames(self, id: UUID, epoch: int, pid: int) -> None:
        """By someone who found the socket: nothing of it may be booked."""
        of: dict[str, Any] = {"job_id": id, "epoch": epoch, "pid": pid}
        foreign = [
            frames.LogLine(**of, level="info", message="booked to another"),
            frames.Progress(**of, fraction=0.5, message="booked to another"),
            frames.Checkpoint(**of, number=2_000_000),
            frames.Finish(**of, number=2_000_001, ending=Ending.SUCCEEDED),
        ]
        for frame in foreign:
            self._wire.inject(frames.encode(frame, b"{}" if frame.has_payload else None))

    async def _be_interrupted(self, step: int) -> None:
        """`signal.alarm` while it waits: the answer to that checkpoint comes when nobody waits for it."""
        for _ in range(3):
            try:
                async with asyncio.timeout(self._kernel.random.random() * 0.01):
                    await self._checkpoint(tasks.state(self._params, self._epoch, step))
            except TimeoutError:
                continue

    async def _go_on_after_the_end(self) -> None:
        """A thread of the task's, which holds its job for longer than it runs."""
        for number in range(20):
            await asyncio.sleep(self._kernel.random.random())
            is_over = self._channel.is_over
            try:
                if is_over and number % 2:
                    self._job.progress(0.5, "too late")
                else:
                    assert self._job.cancelled in (True, False)
            except AttemptOver:
                if not is_over:
                    self._kernel.fail("a thread could not speak for an attempt that runs")
            else:
                if is_over:
                    self._kernel.fail("I7: a thread could speak for an attempt that is over")
