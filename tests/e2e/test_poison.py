"""Jobs that kill their process or their whole pod, each time: they end as dead letters that say why, and starve nobody."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from kr8s.objects import ConfigMap
from tests.e2e.cluster import ROOT
from tests.e2e.conftest import Figure
from tests.e2e.release import Release
from tests.e2e.settings import E2ESettings

from longhaul.contract import DeadLetterView
from longhaul.states import Ending, State

MODULE = ROOT / "tests" / "e2e" / "poison.py"
PODS, SLOTS = 2, 3
NEIGHBOURS, NEIGHBOUR_SECONDS = 5, 60
MEMORY_LIMIT_BYTES = 512 * 2**20  # that of values.yaml
POOL: dict[str, Any] = {
    "autoscaling": {"mode": "none"},
    "replicas": PODS,
    "slots": SLOTS,
    "tasks": ["longhaul_examples.demo", "poison"],
    "extraEnv": [{"name": "PYTHONPATH", "value": "/tasks"}],
    "extraVolumes": [{"name": "tasks", "configMap": {"name": "poison"}}],
    "extraVolumeMounts": [{"name": "tasks", "mountPath": "/tasks"}],
}
VALUES = {
    "lease": {"seconds": 6, "renewSeconds": 2},
    "jobs": {"register": {"enabled": False}},  # its pods lack the module; the workers' own do it
    "worker": {"pools": {"default": POOL}},
}


@pytest.fixture(scope="module")
def release(namespace: str, settings: E2ESettings) -> Iterator[Release]:
    ConfigMap(
        {"metadata": {"name": "poison", "namespace": namespace}, "data": {MODULE.name: MODULE.read_text()}}
    ).create()
    made = Release(namespace, settings)
    made.install(VALUES)
    with made.open_api():
        yield made


def wait_dead(release: Release, id: UUID, *, seconds: float = 300) -> DeadLetterView:
    assert release.api.wait(id, timeout=seconds).state == State.DEAD
    return release.api.dead_letter(id)


@pytest.mark.fault("F3")
def test_a_job_that_fills_its_memory_says_so(release: Release, figure: Figure) -> None:
    id = release.api.submit("poison.process").id
    letter = wait_dead(release, id)
    assert letter.job.interruptions == len(letter.attempts) == 2
    assert {attempt.error and attempt.error.code for attempt in letter.attempts} == {"out_of_memory"}
    assert letter.checkpoint is not None
    assert letter.checkpoint.state == {"attempt": 2}
    assert [line.data["message"] for line in letter.logs] == ["About to fill my own memory."] * 2
    last = letter.attempts[-1].evidence
    assert last is not None
    assert last["oom_killed"] is True
    assert last["signal"] == "SIGKILL"
    if letter.attempts[-1].ending == Ending.CRASHED:  # else its whole container went, as cgroup v2 has it
        assert last["peak_memory_bytes"] > MEMORY_LIMIT_BYTES / 10
    assert letter.job.error is not None
    figure("a job that is killed for memory says", letter.job.error.message)


@pytest.mark.fault("F1", "F3")
def test_a_job_that_kills_its_pod_each_time_starves_nobody(release: Release, figure: Figure) -> None:
    """Neighbours lose attempts with it, by no fault of theirs. None of them may end for that."""
    neighbours = release.sleep(NEIGHBOUR_SECONDS, count=NEIGHBOURS)
    release.wait_running(NEIGHBOURS)
    began = time.monotonic()
    id = release.api.submit("poison.container").id
    letter = wait_dead(release, id)
    dead_seconds = time.monotonic() - began
    assert letter.job.interruptions == len(letter.attempts) == 3
    for attempt in letter.attempts:
        assert attempt.error is not None
        assert attempt.error.code == "out_of_memory"
        assert attempt.evidence is not None
        assert attempt.evidence["oom_killed"] is True
        assert (attempt.ending, attempt.evidence.get("pod")) == (Ending.LEASE_LOST, "OOMKilled"), attempt
        assert (attempt.evidence["exit_code"], attempt.evidence["memory_limit"]) == (137, "512Mi")
    assert letter.checkpoint is not None
    assert letter.checkpoint.state == {"attempt": 3}
    assert [line.data["message"] for line in letter.logs] == ["About to fill the memory."] * 3
    # Each pause is longer than the one before.
    pauses = [
        (later.started_at - earlier.ended_at).total_seconds()
        for earlier, later in zip(letter.attempts, letter.attempts[1:], strict=False)
        if earlier.ended_at is not None
    ]
    done = release.wait_done(neighbours, seconds=300)
    lost = [job.interruptions for job in done]
    figure("a job that kills its pod each time is dead after", f"{dead_seconds:.0f} s, {len(letter.attempts)} attempts")
    figure("its pauses between attempts", ", ".join(f"{pause:.1f} s" for pause in pauses))
    figure(
        f"attempts that it cost {NEIGHBOURS} neighbours of {NEIGHBOUR_SECONDS} s", f"{sum(lost)}, at most {max(lost)}"
    )
    figure("neighbours that finished", f"{len(done)} of {NEIGHBOURS}")
    after = release.sleep(1, count=4)
    release.wait_done(after)
