"""F50: whatever a duty raises, and if it hangs, is its own failure: counted, reported, tried again. The others go on."""

from __future__ import annotations

import pkgutil
import signal
from collections.abc import Awaitable, Callable, Iterator
from importlib import import_module
from pathlib import Path
from uuid import uuid4

import orjson
import pytest
import redis.asyncio as redis
from tests.integration.controller.injection import FAULTS
from tests.integration.controller.replica import Replica
from tests.integration.kubernetes_api import KubernetesApi
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer
from tests.pods import free_port
from tests.stores import keys
from tests.waiting import eventually, wait_for

import longhaul_controller
from longhaul import doorbell
from longhaul.ledger import jobs, queues, webhooks, workers
from longhaul.ledger.connection import Connection
from longhaul.ledger.workers import Worker
from longhaul.results import ResultStore
from longhaul.states import Ending
from longhaul_controller.duty import Duty

pytestmark = [pytest.mark.anyio, pytest.mark.fault("F50")]

Condition = Callable[[], Awaitable[bool]]
TICK_SECONDS = "0.2"


class Work:
    """Something to do for each duty, by its name: makes it, and returns whether it is done."""

    def __init__(self, connection: Connection, client: redis.Redis, api: KubernetesApi, store: Path) -> None:
        self._connection = connection
        self._client = client
        self._api = api
        self._store = store

    async def reap(self) -> Condition:
        queue, claimer = await self._queue(), Claimer()
        (id,) = await given.queued(self._connection, queue=queue)
        await claimer.claim_one(self._connection, queue=queue)
        await given.expired(self._connection, id)

        async def is_queued() -> bool:
            return await given.state(self._connection, id) == "queued"

        return is_queued

    async def rering(self) -> Condition:
        queue = await self._queue()
        await given.queued(self._connection, 3, queue=queue)

        async def is_rung() -> bool:
            return await doorbell.count(self._client, [queue]) == {queue: 3}

        return is_rung

    async def demand(self) -> Condition:
        pool = await self._busy_worker()

        async def is_published() -> bool:
            return await self._client.scard(doorbell.running_key(pool)) == 1

        return is_published

    async def deletion_cost(self) -> Condition:
        name = await self._busy_worker()
        self._api.pods[name] = {}

        async def is_marked() -> bool:
            return bool(self._api.pods[name])

        return is_marked

    async def purge_expired(self) -> Condition:
        id = await given.finished(self._connection, Ending.SUCCEEDED, queue=await self._queue())
        await self._connection.execute("UPDATE jobs SET finished_at = now() - interval '2 hours' WHERE id = %s", [id])

        async def is_deleted() -> bool:
            return not await jobs.read(self._connection, [id])

        return is_deleted

    async def webhooks(self) -> Condition:
        url = f"http://127.0.0.1:{free_port()}/"
        id = await given.finished(self._connection, Ending.SUCCEEDED, queue=await self._queue(), webhook_url=url)

        async def is_tried() -> bool:
            found = await webhooks.read(self._connection, id)
            return found is not None and found["last_error"] is not None

        return is_tried

    async def delete_orphaned_results(self) -> Condition:
        id = uuid4()
        await ResultStore(f"file://{self._store}").put(b"1", tenant="acme", job_id=id, epoch=1)

        async def is_deleted() -> bool:
            return f"{id}/1.json" not in keys(self._store)

        return is_deleted

    async def _queue(self) -> str:
        queue = f"queue-{uuid4().hex[:8]}"
        await queues.declare(self._connection, [queue])
        return queue

    async def _busy_worker(self) -> str:
        """A worker that runs a job; its name is that of its pool."""
        name, queue = f"pool-{uuid4().hex[:8]}", await self._queue()
        claimer = Claimer(id=uuid4(), name=name)
        worker = Worker(id=claimer.id, name=name, pool=name, queues=[queue], slots=1, version="0")
        await workers.register(self._connection, worker)
        await given.queued(self._connection, queue=queue)
        await claimer.claim(self._connection, queue=queue, lease_seconds=600)
        return name


class Faults:
    """What the controller's duties suffer."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.end()

    def inject(self, duty: str, *faults: str) -> None:
        self._write({"duty": duty, "faults": faults})

    def end(self) -> None:
        self._write({"duty": None, "faults": []})

    def _write(self, plan: object) -> None:
        new = self.file.with_suffix(".new")
        new.write_bytes(orjson.dumps(plan))
        new.replace(self.file)


@pytest.fixture
def faults(tmp_path: Path) -> Faults:
    return Faults(tmp_path / "faults.json")


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    api = KubernetesApi()
    yield api
    api.close()


@pytest.fixture
def replica(api: KubernetesApi, database_url: str, redis_url: str, tmp_path: Path, faults: Faults) -> Iterator[Replica]:
    """A leader with every duty that there is."""
    api.write_kubeconfig(tmp_path / "kubeconfig")
    replica = Replica(
        "controller",
        database_url,
        redis_url,
        tmp_path,
        program=["python", "-m", "tests.integration.controller.injection", str(faults.file)],
        PYTHONPATH=str(Path(__file__).parents[3]),
        LONGHAUL_TICK_SECONDS=TICK_SECONDS,
        LONGHAUL_RETENTION_SECONDS="3600",
        LONGHAUL_RETENTION_INTERVAL_SECONDS=TICK_SECONDS,
        LONGHAUL_RESULT_STORE_URL=f"file://{tmp_path}/store",
        LONGHAUL_RESULT_ORPHAN_SECONDS="0",
        LONGHAUL_RESULT_COLLECT_INTERVAL_SECONDS=TICK_SECONDS,
        LONGHAUL_WEBHOOK_SECRET="a secret that is long enough for every purpose",
        LONGHAUL_WEBHOOK_ALLOW_PRIVATE="true",
        LONGHAUL_DELETION_COST="true",
        LONGHAUL_DELETION_COST_INTERVAL_SECONDS=TICK_SECONDS,
        LONGHAUL_WORKER_SELECTOR="app.kubernetes.io/component=worker",
        POD_NAMESPACE="longhaul",
        KUBECONFIG=str(tmp_path / "kubeconfig"),
    )
    replica.wait_leads()
    yield replica
    replica.end()


@pytest.fixture
def work(connection: Connection, client: redis.Redis, api: KubernetesApi, tmp_path: Path) -> Work:
    return Work(connection, client, api, tmp_path / "store")


def duties() -> list[str]:
    """The names of all duties that there are in the package."""
    for module in pkgutil.iter_modules(longhaul_controller.__path__):
        import_module(f"longhaul_controller.{module.name}")
    return sorted(
        duty.name for duty in Duty.__subclasses__() if duty.__module__.startswith(longhaul_controller.__name__)
    )


def failures(replica: Replica) -> dict[str, float]:
    """How often each duty has failed."""
    name = "longhaul_controller_duty_failures_total{"
    return {key[len(name) : -1]: value for key, value in replica.metrics().items() if key.startswith(name)}


async def fails_alone(duty: str, replica: Replica, work: Work, faults: Faults) -> None:
    """Let a duty fail in every way, and see the others work; then let it be, and see it work again."""
    before = failures(replica)
    faults.inject(duty, *FAULTS)
    others = {name: await getattr(work, name)() for name in duties() if name != duty}
    for name, is_done in others.items():
        await eventually(is_done, timeout_seconds=20, what=f"{name} goes on while {duty} fails")
    wait_for(
        lambda: failures(replica)[duty] >= before[duty] + len(FAULTS),
        timeout_seconds=60,
        what=f"{duty} failed in every way",
    )
    is_failing = f"longhaul_controller_duty_failing{{{duty}}}"
    assert replica.metrics()[is_failing] == 1
    faults.end()
    await eventually(await getattr(work, duty)(), timeout_seconds=20, what=f"{duty} goes on")
    wait_for(lambda: replica.metrics()[is_failing] == 0, what=f"{duty} is in order")
    after = failures(replica)
    assert [after[name] for name in others] == [before[name] for name in others]


@pytest.mark.timeout(300)
async def test_a_duty_that_fails_in_any_way_leaves_the_others_alone_and_is_tried_again(
    replica: Replica, work: Work, faults: Faults
) -> None:
    assert sorted(failures(replica)) == duties()
    for duty in duties():
        await fails_alone(duty, replica, work, faults)
    assert replica.leads()
    assert "not_leading" not in replica.log
    replica.send(signal.SIGTERM)  # each of its duties raises when it is closed
    assert replica.wait_exit(10) == 0
    assert replica.log.count("injected into close") >= len(duties())


async def test_a_failure_is_reported_once_for_each_change(replica: Replica, work: Work, faults: Faults) -> None:
    """With the way to it, if it is not simply a server that is away."""

    def reported() -> list[str]:
        return [line for line in replica.log.splitlines() if "duty_failed" in line]

    faults.inject("rering", "an error")
    wait_for(lambda: failures(replica)["rering"] >= 5, what="it failed again and again")
    faults.inject("rering", "another error")
    wait_for(lambda: failures(replica)["rering"] >= 10, what="it failed again and again, otherwise")
    first, second = reported()
    assert "RuntimeError: injected" in first
    assert "LedgerUnavailable" in second
    assert replica.log.count("Traceback (most recent call last)") == 1
    faults.end()
    await eventually(await work.rering(), what="it goes on")
    wait_for(lambda: "duty_recovered" in replica.log, what="it says so, once its run has ended")
    assert replica.log.count("duty_recovered") == 1
