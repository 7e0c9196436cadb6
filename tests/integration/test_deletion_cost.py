"""Deletion costs from a real ledger, written by a real controller; the Kubernetes API is a stand-in that can fail."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.integration.controller.replica import Replica
from tests.integration.kubernetes_api import KubernetesApi
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer
from tests.waiting import eventually, wait_for

from longhaul import doorbell
from longhaul.ledger import leases, workers
from longhaul.ledger.claims import Claim
from longhaul.ledger.connection import Connection
from longhaul.ledger.workers import Worker
from longhaul.states import Ending
from longhaul_controller.deletion_cost import COST, SAFE_TO_EVICT, UNINTERRUPTIBLE

pytestmark = pytest.mark.anyio

SELECTOR = "app.kubernetes.io/component=worker"
LONG_LEASE_SECONDS = 600.0


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    api = KubernetesApi("pod-1", "pod-2")
    yield api
    api.close()


@pytest.fixture
def start(api: KubernetesApi, database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Callable[..., Replica]]:
    """Start a controller that writes costs: `start(**environment)`."""
    started: list[Replica] = []
    api.write_kubeconfig(tmp_path / "kubeconfig")

    def start(**environment: str) -> Replica:
        settings = {
            "LONGHAUL_DELETION_COST": "true",
            "LONGHAUL_DELETION_COST_INTERVAL_SECONDS": "0.2",
            "LONGHAUL_WORKER_SELECTOR": SELECTOR,
            "POD_NAMESPACE": "longhaul",
            "KUBECONFIG": str(tmp_path / "kubeconfig"),
        }
        started.append(Replica("controller", database_url, redis_url, tmp_path, **{**settings, **environment}))
        return started[-1]

    yield start
    for one in started:
        one.end()


async def worker(connection: Connection, name: str) -> Claimer:
    """A worker that the ledger knows."""
    claimer = Claimer(id=uuid4(), name=name)
    await workers.register(
        connection, Worker(id=claimer.id, name=name, pool="default", queues=[given.QUEUE], slots=9, version="0")
    )
    return claimer


async def start_job(connection: Connection, on: Claimer, *, age_seconds: float = 0, **facts: Any) -> Claim:
    """A job that has run there for so long."""
    await given.queued(connection, **facts)
    (claim,) = await on.claim(connection, lease_seconds=LONG_LEASE_SECONDS)
    await connection.execute(
        "UPDATE jobs SET started_at = started_at - make_interval(secs => %s) WHERE id = %s",
        (age_seconds, claim.job_id),
    )
    return claim


async def test_lost_work_is_what_no_checkpoint_holds(connection: Connection) -> None:
    one, two, _idle = [await worker(connection, f"pod-{number}") for number in (1, 2, 3)]
    saved = await start_job(connection, one, age_seconds=500, interruptible=True)
    (written,) = await leases.record(connection, [given.said(given.lease(saved), "checkpoint", checkpoint="{}")])
    assert written
    await start_job(connection, one, age_seconds=30, interruptible=True)
    held = await start_job(connection, two, age_seconds=500, interruptible=False)
    await leases.record(connection, [given.said(given.lease(held), "checkpoint", checkpoint="{}")])
    work = {each.worker: each for each in await workers.read_work(connection)}
    assert work.keys() == {"pod-1", "pod-2"}
    assert work["pod-1"].is_interruptible
    assert work["pod-1"].lost_seconds == pytest.approx(30, abs=5)
    assert not work["pod-2"].is_interruptible
    assert work["pod-2"].lost_seconds == pytest.approx(500, abs=5)


async def test_a_checkpoint_of_an_earlier_attempt_saves_nothing_of_this_one(connection: Connection) -> None:
    one = await worker(connection, "pod-1")
    claim = await start_job(connection, one, age_seconds=100, interruptible=True)
    await connection.execute(
        "UPDATE jobs SET checkpointed_at = now() - interval '1 hour' WHERE id = %s", [claim.job_id]
    )
    (work,) = await workers.read_work(connection)
    assert work.lost_seconds == pytest.approx(100, abs=5)


async def test_a_keeper_that_restarted_stands_for_one_pod(connection: Connection) -> None:
    before, now = await worker(connection, "pod-1"), await worker(connection, "pod-1")
    await start_job(connection, before, age_seconds=100, interruptible=True)
    await start_job(connection, now, age_seconds=10, interruptible=False)
    (work,) = await workers.read_work(connection)
    assert (work.worker, work.is_interruptible) == ("pod-1", False)
    assert work.lost_seconds == pytest.approx(110, abs=5)


async def test_a_pod_carries_its_cost_while_it_is_busy(
    connection: Connection, api: KubernetesApi, start: Callable[..., Replica]
) -> None:
    api.pods["pod-2"] = {"prometheus.io/scrape": "true", COST: "961"}  # what an earlier leader left
    replica = start()
    replica.wait_leads()
    wait_for(lambda: COST not in api.pods["pod-2"], what="an idle pod carries none")
    claim = await start_job(connection, await worker(connection, "pod-1"), age_seconds=100, interruptible=False)
    wait_for(lambda: api.pods["pod-1"], timeout_seconds=3, what="a busy pod carries one")
    assert api.pods["pod-1"] == {COST: str(UNINTERRUPTIBLE + 61), SAFE_TO_EVICT: "false"}
    assert api.lists[-1] == {
        "labelSelector": [SELECTOR],
        "fieldSelector": ["status.phase=Running"],
        "resourceVersion": ["0"],
    }
    metrics = replica.metrics()
    assert metrics["longhaul_worker_pods{uninterruptible}"] == 1
    assert metrics["longhaul_worker_pods{idle}"] == 1
    wait_for(lambda: replica.metrics()["longhaul_pod_patches_total"] == 2, what="both patches are counted")
    await given.ended(connection, claim, Ending.SUCCEEDED)
    wait_for(lambda: not api.pods["pod-1"], timeout_seconds=3, what="it is idle again")
    assert api.pods["pod-2"] == {"prometheus.io/scrape": "true"}


async def test_no_more_pods_are_patched_in_a_second_than_allowed(
    connection: Connection, api: KubernetesApi, start: Callable[..., Replica]
) -> None:
    api.pods = {f"pod-{number}": {COST: "16"} for number in range(30)}
    busy = await worker(connection, "pod-29")
    api.pods["pod-29"] = {}
    await start_job(connection, busy)
    start(LONGHAUL_DELETION_COST_PATCHES_PER_SECOND="10")  # two an interval
    wait_for(lambda: len(api.patches) == 30, timeout_seconds=20, what="all pods are right")
    assert api.patches[0][0] == "pod-29"  # it became busy
    assert len(api.lists) >= 14


@pytest.mark.parametrize("fault", ["refuses", "hangs"])
async def test_a_kubernetes_api_that_fails_disturbs_nothing_else(
    connection: Connection, api: KubernetesApi, start: Callable[..., Replica], redis_url: str, fault: str
) -> None:
    if fault == "refuses":
        api.refusal = 403
    else:
        api.hang()
    replica = start()
    replica.wait_leads()
    lost = await start_job(connection, await worker(connection, "pod-1"), interruptible=True)
    reason = {"refuses": "403", "hangs": "unreachable"}[fault]
    wait_for(
        lambda: replica.metrics().get(f"longhaul_kubernetes_failures_total{{{reason}}}", 0) >= 2,
        timeout_seconds=20,
        what="failures are counted",
    )
    await given.expired(connection, lost.job_id)

    async def reaped_and_rung() -> bool:
        async with doorbell.create_client(redis_url) as client:
            rung = (await doorbell.count(client, [given.QUEUE]))[given.QUEUE]
        return rung == 1 and await given.state(connection, lost.job_id) == "queued"

    await eventually(reaped_and_rung, timeout_seconds=3, what="reaped and rung as ever")
    assert replica.log.count("deletion_costs_failed") == 1
    assert replica.metrics()["longhaul_controller_duty_failures_total{deletion_cost}"] == 0
    await start_job(connection, await worker(connection, "pod-2"), interruptible=True)
    api.refusal = None
    api.go_on()
    wait_for(lambda: api.pods["pod-2"] == {COST: "1"}, timeout_seconds=10, what="costs are written once it answers")


async def test_a_pod_that_goes_meanwhile_is_no_failure(
    connection: Connection, api: KubernetesApi, start: Callable[..., Replica]
) -> None:
    api.gone = {"pod-1"}
    for name in ("pod-1", "pod-2"):
        await start_job(connection, await worker(connection, name), interruptible=True)
    replica = start()
    wait_for(lambda: api.pods["pod-2"], timeout_seconds=20, what="the other one is written")
    assert "longhaul_kubernetes_failures_total" not in "".join(replica.metrics())


@pytest.mark.fault("F49")
async def test_pods_that_cannot_be_read_hide_no_others(
    connection: Connection, api: KubernetesApi, start: Callable[..., Replica]
) -> None:
    api.more_items = [None, [], "pod", {"metadata": None}, {"metadata": {"name": 7, "annotations": [COST]}}]
    await start_job(connection, await worker(connection, "pod-1"), interruptible=True)
    replica = start()
    wait_for(lambda: api.pods["pod-1"] == {COST: "1"}, timeout_seconds=20, what="the busy pod carries its cost")
    assert replica.metrics()["longhaul_controller_duty_failures_total{deletion_cost}"] == 0


def test_a_pool_without_pods_ends_no_controller(start: Callable[..., Replica], api: KubernetesApi) -> None:
    """Scaled to zero: the list has null for its items then."""
    api.pods.clear()
    controller = start()
    wait_for(lambda: len(api.lists) > 2, timeout_seconds=20, what="it looks again and again")
    assert "deletion_costs_failed" not in controller.log


def test_without_an_api_there_are_no_costs_and_all_else(start: Callable[..., Replica], tmp_path: Path) -> None:
    replica = start(KUBECONFIG=str(tmp_path / "there-is-none"))
    replica.wait_leads()
    wait_for(lambda: "deletion_costs_failed" in replica.log, what="it says so")
    assert "ConfigException" in replica.log


def test_costs_need_to_know_which_pods(start: Callable[..., Replica]) -> None:
    replica = start(LONGHAUL_WORKER_SELECTOR="")
    assert replica.wait_exit(10) == 2
    assert replica.log.startswith("LONGHAUL_DELETION_COST needs LONGHAUL_WORKER_SELECTOR and POD_NAMESPACE")


def test_it_leaves_no_connection_open(start: Callable[..., Replica], api: KubernetesApi) -> None:
    replica = start()
    wait_for(lambda: api.lists, timeout_seconds=20, what="it asks the API")
    replica.send(signal.SIGTERM)
    assert replica.wait_exit(5) == 0
    assert "Unclosed" not in replica.log
