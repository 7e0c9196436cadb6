"""How the keeper explains the end of a pool child."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from tests.unit.worker.session_ends import CLAIM, PoolProcess, read_head
from tests.waiting import eventually

from longhaul.ledger.workers import Worker
from longhaul_worker import slots
from longhaul_worker.celery.app import settings
from longhaul_worker.outcome_spool import OutcomeSpool
from longhaul_worker.recorder import Grant, Recorder
from longhaul_worker.session import frames
from longhaul_worker.settings import WorkerSettings
from longhaul_worker.slots import Slots

pytestmark = pytest.mark.anyio

PID = 4711


class MortalProcess(PoolProcess):
    """Lives until the test, or its keeper, ends it."""

    def __init__(self) -> None:
        self.death = asyncio.Event()

    def kill(self) -> None:
        self.death.set()

    async def wait_dead(self) -> None:
        await self.death.wait()


class OneProcess:
    """`Processes`, of which there is one."""

    def __init__(self) -> None:
        self.process = MortalProcess()

    def is_main(self, _pid: int) -> bool:
        return False

    def is_pool_child(self, _pid: int) -> bool:
        return True

    def open(self, _pid: int) -> MortalProcess:
        return self.process

    def read_oom_kills(self) -> int:
        return 0


@asynccontextmanager
async def no_ledger() -> Any:
    raise ConnectionError
    yield


class Pod:
    """A pool child that runs a job, in a keeper whose outcomes stay on disk."""

    def __init__(self, folder: Path) -> None:
        settings = WorkerSettings(
            database_url="postgresql://nobody/longhaul", redis_url="redis://nobody/0", tasks=["none"], queues=["work"]
        )
        worker = Worker(id=uuid4(), name="one", pool="default", queues=["work"], slots=1, version="0")
        self.spool = OutcomeSpool(folder)
        recorder = Recorder(settings, worker, [], OutcomeSpool(folder), lambda _written: None, no_ledger)
        self.processes = OneProcess()
        self.slots = Slots(settings, recorder, self.processes)
        self.answers: list[dict[str, Any]] = []
        self.session = self.slots.join(PID, self._sent)
        claim = replace(CLAIM, queue="work")
        self.slots._start(self.slots._children[PID], Grant(claim, 1e12), frames.ClaimRequest(number=1, queue="work"))

    def _sent(self, frame: bytes) -> None:
        self.answers.append(orjson.loads(read_head(frame)))

    async def explain_end(self) -> dict[str, Any]:
        """The error with which the attempt ended."""

        async def has_ended() -> bool:
            return bool(self.spool.load())

        await eventually(has_ended, what="the attempt has ended")
        (end,) = self.spool.load()
        assert end.error is not None
        return end.error


async def test_a_child_that_dies_together_with_celery_crashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reports its exit code then, and nobody waits for it."""
    monkeypatch.setattr(slots, "EXIT_REPORT_SECONDS", 3600.0)
    pod = Pod(tmp_path)
    pod.slots.hear_main(frames.Pulse(), lambda _frame: None)
    pod.slots.left(pod.session)
    pod.processes.process.death.set()
    await asyncio.sleep(0)
    pod.slots.main_left()
    assert (await pod.explain_end())["code"] == "crash"


def test_celery_has_the_time_to_tell_an_exit_code_while_it_waits_for_redis() -> None:
    """It tries to connect, and again after a second."""
    connecting_seconds = settings("redis://nobody/0")["broker_transport_options"]["socket_connect_timeout"]
    assert connecting_seconds + 1 < slots.EXIT_REPORT_SECONDS


async def test_a_child_that_closes_its_connection_and_lives_on_broke_the_protocol(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    pod.slots.left(pod.session)
    error = await pod.explain_end()
    assert (error["code"], pod.processes.process.death.is_set()) == ("protocol_error", True)
    assert "it closed its connection" in error["message"]


async def test_a_checkpoint_that_is_too_large_to_be_read_is_refused_and_replaces_none(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    attempt = pod.session.attempt
    assert attempt is not None
    names: dict[str, Any] = {"job_id": CLAIM.job_id, "epoch": CLAIM.epoch, "pid": PID}
    await pod.session.receive(frames.Checkpoint(number=1, **names), b'{"step":1}')
    await pod.session.receive(frames.Checkpoint(number=2, **names), None)
    (refused,) = (answer for answer in pod.answers if answer.get("number") == 2)
    assert (refused["op"], refused["code"]) == ("refused", "unstorable")
    assert attempt.take().checkpoint == '{"step":1}'
