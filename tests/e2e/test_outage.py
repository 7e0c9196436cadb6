"""Redis or PostgreSQL is away for five minutes: nobody is restarted for it, and no job notices.

Two releases side by side, one of which loses Redis and the other one PostgreSQL. Each has a worker that is busy all the
time and one that is idle most of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.e2e.cluster import objects, wait_until
from tests.e2e.conftest import Figure
from tests.e2e.release import Release, restarts
from tests.e2e.settings import E2ESettings
from tests.waiting import wait_for

OUTAGE_SECONDS = 300

VALUES = {
    "worker": {"poolDefaults": {"deafSeconds": 30, "autoscaling": {"minReplicas": 2}}},
    "backing": {"postgres": {"persistence": {"enabled": True, "size": "1Gi"}}},
}
COMPONENTS = ("api", "worker", "controller")


@pytest.fixture(scope="module")
def releases(namespace: str, settings: E2ESettings) -> Iterator[dict[str, Release]]:
    """By the server that each will lose."""
    made = {server: Release(namespace, settings, f"longhaul-no-{server}") for server in ("redis", "postgres")}
    with ExitStack() as stack:
        for release in made.values():
            release.install(VALUES)
            stack.enter_context(release.open_api())
        yield made


@pytest.mark.fault("F15", "F22")
def test_five_minutes_without_redis_or_postgresql(releases: dict[str, Release], figure: Figure) -> None:
    long = {server: release.sleep(OUTAGE_SECONDS + 90)[0] for server, release in releases.items()}
    # Its outcome comes while the server is away; from then on its worker is idle.
    short = {server: release.sleep(30)[0] for server, release in releases.items()}
    for release in releases.values():
        release.wait_running(2)
    containers = {server: restarts_by_pod(release) for server, release in releases.items()}
    for server, release in releases.items():
        take_away(release, server)
    away_at = time.monotonic()
    # The idle worker asks the ledger itself, once Redis has been silent for 30 s.
    releases["redis"].wait_done([releases["redis"].api.submit("demo.echo").id])
    figure("redis goes away, to a job done that came after that", f"{time.monotonic() - away_at:.0f} s")

    def is_over() -> bool:
        for server, release in releases.items():
            assert restarts_by_pod(release) == containers[server]
        return time.monotonic() - away_at >= OUTAGE_SECONDS

    wait_for(is_over, timeout_seconds=OUTAGE_SECONDS + 30, poll_seconds=2, what="the outage is over")
    assert releases["redis"].ready("api"), "without Redis the API is degraded, and accepts jobs"

    done_after_seconds = {}
    for server, release in releases.items():
        bring_back(release, server)
        back_at = time.monotonic()
        new = release.api.submit("demo.echo")
        release.wait_done([new.id])
        done_after_seconds[server] = time.monotonic() - back_at
        assert release.api.get(long[server]).state == "running"

    for server, release in releases.items():
        jobs = [long[server], short[server]]
        release.wait_done(jobs)
        assert [len(one) for one in release.attempts(jobs)] == [1, 1]
        assert restarts_by_pod(release) == containers[server]
        figure(f"restarts of {len(containers[server])} pods while {server} was away for {OUTAGE_SECONDS} s", "0")
        figure(f"jobs interrupted by {OUTAGE_SECONDS} s without {server}", f"0 of {len(jobs)}")
        figure(f"{server} is ready again, to a new job done", f"{done_after_seconds[server]:.1f} s")


def restarts_by_pod(release: Release) -> dict[str, int]:
    return {pod.name: restarts(pod) for component in COMPONENTS for pod in release.pods(component)}


def take_away(release: Release, server: str) -> None:
    """Killed, as with its node: it does not wait until its clients have left."""

    def is_dead() -> bool:
        pods = objects("pods", release.namespace, instance=release.name, component=server)
        return not any("running" in one["state"] for pod in pods for one in pod.status.containerStatuses)

    name = f"{release.name}-backing-{server}"
    release.kubectl("delete", "pod", f"{name}-0", "--grace-period=1", "--wait=false")
    release.kubectl(
        "scale", f"statefulset/{name}", "--replicas=0"
    )  # before another pod is made, which takes until it is gone
    wait_until(is_dead, seconds=30, what=f"{server} is away")


def bring_back(release: Release, server: str) -> None:
    """Until it is ready."""
    release.kubectl("scale", f"statefulset/{release.name}-backing-{server}", "--replicas=1")
    wait_until(lambda: release.ready(server), seconds=120, what=f"{server} is back")
