"""How the keeper explains the end of a pool child."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.unit.worker.session_ends import CLAIM, PoolProcess
from tests.waiting import eventually

from longhaul.ledger.workers import Worker
from longhaul_worker.outcome_spool import OutcomeSpool
from longhaul_worker.recorder import Recorder
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
        self.session = self.slots.join(PID, lambda _frame: None)
        claim = replace(CLAIM, queue="work")
        self.slots._start(self.slots._children[PID], claim, frames.ClaimRequest(number=1, queue="work"))

    async def explain_end(self) -> dict[str, Any]:
        """The error with which the attempt ended."""

        async def has_ended() -> bool:
            return bool(self.spool.load())

        await eventually(has_ended, what="the attempt has ended")
        (end,) = self.spool.load()
        assert end.error is not None
        return end.error


async def test_a_child_that_dies_together_with_celery_crashed(tmp_path: Path) -> None:
    """Nobody reports its exit code then. Its connection is closed for as long as the keeper waits for that."""
    pod = Pod(tmp_path)
    pod.slots.left(pod.session)
    pod.processes.process.death.set()
    assert (await pod.explain_end())["code"] == "crash"


async def test_a_child_that_closes_its_connection_and_lives_on_broke_the_protocol(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    pod.slots.left(pod.session)
    error = await pod.explain_end()
    assert (error["code"], pod.processes.process.death.is_set()) == ("protocol_error", True)
    assert "it closed its connection" in error["message"]
