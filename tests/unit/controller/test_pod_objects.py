"""F49: pods as Kubernetes shows them, and as it never should: reading one never raises, and hides no other."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longhaul.ledger.reaping import LostOwner
from longhaul_controller.deletion_cost import COST, SAFE_TO_EVICT, plan
from longhaul_controller.pod_diagnostics import PodDiagnostics, describe
from longhaul_controller.pod_objects import Pod, PodEnd, parse_end, parse_pods
from longhaul_controller.pods import KubernetesError, Pods

pytestmark = pytest.mark.fault("F49")

SINCE = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER, BEFORE = "2026-01-01T13:00:00Z", "2026-01-01T11:00:00Z"
UNKNOWN = {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None, "finishedAt": None}
"""What the kubelet reports of a container that it lost, such as one of an evicted pod (kubernetes/kubernetes#122160)."""
OOM = {"exitCode": 137, "reason": "OOMKilled", "startedAt": BEFORE, "finishedAt": LATER, "message": "out of memory"}
MISSING = object()


def pod(end: Any, *, state: str = "state", **status: Any) -> dict[str, Any]:
    """A pod with a sidecar that runs and a worker whose container ended so."""
    running = {"name": "sidecar", "state": {"running": {"startedAt": BEFORE}}, "lastState": {}}
    ended = {
        "name": "worker",
        "ready": False,
        "restartCount": 1,
        "state": {},
        "lastState": {},
        state: {"terminated": end},
    }
    containers = [
        {"name": "sidecar", "resources": {}},
        {"name": "worker", "resources": {"limits": {"memory": "512Mi", "cpu": "1"}, "requests": {"cpu": "100m"}}},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "worker-1", "namespace": "longhaul", "annotations": {COST: "61"}, "labels": {}},
        "spec": {"containers": containers, "nodeName": "node-1"},
        "status": {"phase": "Failed", "containerStatuses": [running, ended], "conditions": [], **status},
    }


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every node of a document."""
    yield path
    fields = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, below in fields:
        yield from paths(below, (*path, name))


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The document with another value at that node, or without the node."""
    if not path:
        return None if value is MISSING else value
    whole = copy.deepcopy(document)
    parent = whole
    for name in path[:-1]:
        parent = parent[name]
    if value is MISSING:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return whole


TIMES = st.sampled_from(
    [LATER, BEFORE, "2026-01-01T13:00:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "yesterday", ""]
)
ODD = st.one_of(
    st.just(MISSING),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | TIMES,
        lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text() | TIMES, below, max_size=3),
        max_leaves=8,
    ),
)
STATUS = {"reason": "Evicted", "message": "The node was low on resource: memory."}
DOCUMENTS = [pod(OOM), pod(OOM, state="lastState"), pod(UNKNOWN, **STATUS)]


@given(document=st.sampled_from(DOCUMENTS), data=st.data(), value=ODD)
def test_whatever_stands_in_a_pod_its_end_is_evidence_or_nothing(
    document: Any, data: st.DataObject, value: Any
) -> None:
    path = data.draw(st.sampled_from(list(paths(document))))
    end = parse_end(replaced(document, path, value), since=SINCE)
    if end is not None:
        loss = describe(end)
        stored = orjson.dumps([loss.code, loss.message, loss.evidence])
        assert b"\\u0000" not in stored  # PostgreSQL refuses it in a text
        assert len(stored) < 20_000


@given(document=st.sampled_from(DOCUMENTS), data=st.data(), value=ODD)
def test_whatever_stands_in_a_pod_the_others_are_seen(document: Any, data: st.DataObject, value: Any) -> None:
    path = data.draw(st.sampled_from(list(paths(document))))
    other = {"metadata": {"name": "other", "annotations": {COST: "1"}}}
    pods = parse_pods({"items": [None, replaced(document, path, value), other, []]})
    assert pods[-1] == Pod(name="other", annotations={COST: "1"})
    assert [patch.annotations for patch in plan([], pods) if patch.pod == "other"] == [{COST: None}]


@given(data=st.data(), value=ODD)
def test_whatever_the_list_is_reading_it_never_raises(data: st.DataObject, value: Any) -> None:
    document = {"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": DOCUMENTS}
    path = data.draw(st.sampled_from(list(paths(document))))
    plan([], parse_pods(replaced(document, path, value)))


@given(st.text() | st.sampled_from(["9" * 5000, "-1", "1_0", "1e3", " 7 ", "٣", str(2**70), "-9999999999999"]))
def test_whatever_a_cost_says_a_plan_is_made(cost: str) -> None:
    plan([], [Pod(name="pod", annotations={COST: cost, SAFE_TO_EVICT: cost})])


@pytest.mark.parametrize(
    ("document", "end"),
    [
        (pod(UNKNOWN, **STATUS), PodEnd(reason="Evicted", message=STATUS["message"])),
        (pod(UNKNOWN), PodEnd(reason="ContainerStatusUnknown", exit_code=137, memory_limit="512Mi")),
        (pod(UNKNOWN, state="lastState"), None),  # nobody knows whose end this was
        (pod(OOM), PodEnd(reason="OOMKilled", message="out of memory", exit_code=137, memory_limit="512Mi")),
        (pod({**OOM, "finishedAt": BEFORE}), None),
        (pod({**OOM, "exitCode": "137"}), PodEnd(reason="OOMKilled", message="out of memory", memory_limit="512Mi")),
        (pod({"finishedAt": LATER}), PodEnd(reason="Error", memory_limit="512Mi")),
        (pod(None, **STATUS), PodEnd(reason="Evicted", message=STATUS["message"])),
        (replaced(pod(OOM), ("spec",), MISSING), PodEnd(reason="OOMKilled", message="out of memory", exit_code=137)),
        ({"status": {"reason": "NodeLost"}}, PodEnd(reason="NodeLost")),
        ({"status": {"containerStatuses": None}}, None),
        ({}, None),
    ],
)
def test_what_a_pod_tells_of_its_end(document: Any, end: PodEnd | None) -> None:
    assert parse_end(document, since=SINCE) == end


@pytest.mark.parametrize(
    ("exit_code", "how"),
    [
        (137, "SIGKILL"),
        (139, "SIGSEGV"),
        (168, "signal 40"),
        (128, "exit code 128"),
        (999, "exit code 999"),
        (-1, "exit code -1"),
        (3221225477, "exit code 3221225477"),
    ],
)
def test_an_exit_code_is_told_as_what_it_means(exit_code: int, how: str) -> None:
    assert describe(PodEnd(reason="Error", exit_code=exit_code)).message == (
        f"The container that ran this job ended with {how}."
    )


def test_a_text_is_bounded_and_can_be_stored() -> None:
    (end,) = [parse_end({"status": {"reason": "Evicted\x00", "message": "a" * 10**6}}, since=SINCE)]
    assert end is not None
    assert end.reason == "Evicted"
    assert len(end.message) == 1000


class Answers(Pods):
    """A Kubernetes API that answers each question as the test says."""

    def __init__(self, **answers: Callable[[], Any]) -> None:
        super().__init__(namespace="longhaul", selector="")
        self._answers = answers

    async def _call(self, *_: Any, **question: Any) -> Any:
        return self._answers[question["name"]]()


def fail() -> Any:
    raise RuntimeError("what a client library should not raise")


def refuse() -> Any:
    raise KubernetesError("403", "no")


@pytest.mark.anyio
async def test_a_pod_that_cannot_be_asked_for_costs_the_others_nothing() -> None:
    owners = [
        LostOwner(worker_id=uuid4(), worker=name, registered_at=SINCE - timedelta(hours=1))
        for name in ("failing", "refused", "odd", "killed", "evicted")
    ]
    answers = Answers(
        failing=fail,
        refused=refuse,
        odd=lambda: [None],
        killed=lambda: pod(OOM),
        evicted=lambda: pod(UNKNOWN, **STATUS),
    )
    losses = await PodDiagnostics(answers).explain(owners)
    assert {owner.worker: losses[owner.worker_id].code for owner in owners if owner.worker_id in losses} == {
        "killed": "out_of_memory",
        "evicted": "lease_lost",
    }
