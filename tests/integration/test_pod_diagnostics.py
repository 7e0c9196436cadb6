"""What a lost worker's pod tells of its end becomes its jobs' evidence; a Kubernetes API that is away costs only that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.integration.controller.replica import LEASE_SECONDS, Replica
from tests.integration.kubernetes_api import KubernetesApi
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer
from tests.waiting import eventually

from longhaul.ledger import events, queues, workers
from longhaul.ledger.connection import Connection, connect
from longhaul.ledger.workers import Worker

pytestmark = [pytest.mark.anyio, pytest.mark.fault("F3")]

LATER, BEFORE = timedelta(seconds=5), timedelta(hours=-1)
OOM = {"reason": "OOMKilled", "exitCode": 137}
EVICTED = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}

UNKNOWN = {"reason": "ContainerStatusUnknown", "exitCode": 137, "startedAt": None, "finishedAt": None}


def restarted(end: dict[str, Any], ended: timedelta = LATER) -> dict[str, Any]:
    """The status of a pod whose container ended so, so long after the worker came, and was started again."""
    at = (datetime.now(UTC) + ended).strftime("%Y-%m-%dT%H:%M:%SZ")
    status = {"name": "worker", "state": {"running": {}}, "lastState": {"terminated": {**end, "finishedAt": at}}}
    return {"phase": "Running", "containerStatuses": [status]}


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    api = KubernetesApi("pod-1")
    yield api
    api.close()


@pytest.fixture
def controller(api: KubernetesApi, database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Replica]:
    """A controller that knows Kubernetes."""
    api.write_kubeconfig(tmp_path / "kubeconfig")
    controller = Replica(
        "controller",
        database_url,
        redis_url,
        tmp_path,
        LONGHAUL_DELETION_COST="true",
        LONGHAUL_WORKER_SELECTOR="app.kubernetes.io/component=worker",
        POD_NAMESPACE="longhaul",
        KUBECONFIG=str(tmp_path / "kubeconfig"),
    )
    yield controller
    controller.end()


@pytest.fixture
async def connection(controller: Replica, database_url: str) -> AsyncIterator[Connection]:
    """The controller's ledger."""
    async with await connect(database_url, application_name="test") as connection:
        await queues.declare(connection, [given.QUEUE])
        yield connection


async def lose_a_job(connection: Connection, worker: str = "pod-1") -> UUID:
    """A job whose worker goes silent."""
    (id,) = await given.queued(connection)
    lost = Claimer(name=worker)
    await workers.register(
        connection, Worker(id=lost.id, name=worker, pool="default", queues=[given.QUEUE], slots=1, version="0")
    )
    await lost.claim(connection, lease_seconds=LEASE_SECONDS)
    return id


async def read_end(connection: Connection, id: UUID) -> dict[str, Any]:
    """How the first attempt ended, once it has."""
    attempt: dict[str, Any] = {}

    async def ended() -> bool:
        attempt.update((await events.read_attempts(connection, id))[0])
        return attempt["ending"] is not None

    await eventually(ended, timeout_seconds=40, what="the lost job is reaped")
    assert attempt["ending"] == "lease_lost"
    assert attempt["evidence"].pop("overdue_seconds") > 0
    return attempt


@pytest.mark.parametrize(
    ("status", "code", "message", "evidence"),
    [
        (
            lambda: restarted(OOM),
            "out_of_memory",
            "The container that ran this job was killed for memory (limit 512Mi), with all that ran in it.",
            {"pod": "OOMKilled", "oom_killed": True, "exit_code": 137, "signal": "SIGKILL", "memory_limit": "512Mi"},
        ),
        (
            lambda: restarted({"reason": "Error", "exitCode": 3}),
            "lease_lost",
            "The container that ran this job ended with exit code 3.",
            {"pod": "Error", "oom_killed": False, "exit_code": 3},
        ),
        (
            lambda: EVICTED,
            "lease_lost",
            "The pod that ran this job is gone (Evicted): The node was low on resource: memory.",
            {"pod": "Evicted", "pod_message": EVICTED["message"]},
        ),
        (  # as the kubelet reports a container that it lost with an evicted pod
            lambda: {**EVICTED, "containerStatuses": [{"name": "worker", "state": {"terminated": UNKNOWN}}]},
            "lease_lost",
            "The pod that ran this job is gone (Evicted): The node was low on resource: memory.",
            {"pod": "Evicted", "pod_message": EVICTED["message"]},
        ),
        # What an earlier container of the pod died of is not this worker's end.
        (
            lambda: restarted(OOM, BEFORE),
            "lease_lost",
            "The worker that ran this job was not heard of for a whole lease.",
            {},
        ),
    ],
    ids=["killed for memory", "exited", "evicted", "lost with an evicted pod", "runs on"],
)
async def test_the_pod_tells_how_it_ended(
    connection: Connection,
    api: KubernetesApi,
    status: Callable[[], dict[str, Any]],
    code: str,
    message: str,
    evidence: dict[str, Any],
) -> None:
    api.statuses["pod-1"] = status()
    end = await read_end(connection, await lose_a_job(connection))
    assert end["error"] == {"code": code, "message": message}
    assert end["evidence"] == evidence


async def test_a_pod_that_is_not_there_was_deleted(connection: Connection) -> None:
    end = await read_end(connection, await lose_a_job(connection, worker="pod-9"))
    assert end["evidence"] == {"pod": "Deleted"}


@pytest.mark.parametrize("how", ["refuses", "hangs"])
async def test_without_kubernetes_a_job_is_reaped_all_the_same(
    connection: Connection, api: KubernetesApi, how: str
) -> None:
    if how == "hangs":
        api.hang()
    else:
        api.refusal = 403
    end = await read_end(connection, await lose_a_job(connection))
    assert (end["error"]["code"], end["evidence"]) == ("lease_lost", {})


@pytest.mark.fault("F49")
@pytest.mark.parametrize(
    "answer",
    [
        None,
        [None],
        "a pod",
        {"status": None, "spec": []},
        {"status": {"containerStatuses": {"worker": 1}, "reason": 7}},
        {"status": {"containerStatuses": [None, {"state": {"terminated": {"exitCode": "137", "finishedAt": 12}}}]}},
        b'{"status": ',
        b'{"status": {"reason": "\\ud800"}}',
        b"\xff" * 1000,
    ],
    ids=str,
)
async def test_a_pod_that_cannot_be_read_costs_its_job_no_more_than_evidence(
    connection: Connection, api: KubernetesApi, controller: Replica, answer: object
) -> None:
    api.objects["pod-1"] = answer
    end = await read_end(connection, await lose_a_job(connection))
    assert end["error"]["code"] == "lease_lost"
    assert controller.metrics()["longhaul_controller_duty_failures_total{reap}"] == 0
