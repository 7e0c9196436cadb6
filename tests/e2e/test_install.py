"""From an empty namespace to the first job, and from there to the next version, back, and away, with jobs running."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.e2e.cluster import objects, wait_until
from tests.e2e.conftest import Figure
from tests.e2e.release import Refused, Release
from tests.e2e.settings import E2ESettings

from longhaul.states import Ending

HPA: dict[str, Any] = {"replicas": None, "autoscaling": {"enabled": True, "minReplicas": 1, "maxReplicas": 2}}
FIRST_VERSION = {"api": HPA, "worker": {"poolDefaults": {"slots": 4}}}
NEXT_VERSION = {
    "api": HPA | {"podAnnotations": {"version": "2"}},
    "controller": {"podAnnotations": {"version": "2"}},
    "worker": {"poolDefaults": {"slots": 4, "podAnnotations": {"version": "2"}}},
}


@pytest.fixture(scope="module")
def release(namespace: str, settings: E2ESettings) -> Release:
    """Not installed: the first test does that."""
    return Release(namespace, settings)


def test_install_to_the_first_job(release: Release, figure: Figure) -> None:
    began = time.monotonic()
    install_seconds = release.install(FIRST_VERSION)
    with release.open_api() as api:
        job = api.submit("demo.echo", {"payload": 42})
        release.wait_done([job.id])
        first_job_seconds = time.monotonic() - began
        assert api.result(job.id) == {"echo": 42}
    figure("helm install --wait on an empty namespace", f"{install_seconds:.0f} s")
    figure("helm install to the first job done", f"{first_job_seconds:.0f} s")


def test_every_container_is_restricted(release: Release) -> None:
    """The namespace enforces it: what is not would not be here. The root file systems too are read-only."""
    pods = objects("pods", release.namespace)
    assert {pod.labels["app.kubernetes.io/component"] for pod in pods} >= {"api", "worker", "controller"}
    for pod in pods:
        for container in pod.spec.containers:
            assert container.securityContext.readOnlyRootFilesystem, pod.name


def test_helm_test(release: Release, figure: Figure) -> None:
    """The API answers, a job comes back, and one outlives the deletion of its pod."""
    began = time.monotonic()
    said = release.helm("test", release.name, "--logs", "--timeout", "4m")
    assert "succeeded" in said
    figure("helm test: reach, round trip, a job whose pod is deleted", f"{time.monotonic() - began:.0f} s")


def test_the_api_scales_by_its_cpu(release: Release) -> None:
    """The metrics of a new pod take up to a minute to arrive."""
    release.kubectl("wait", "--for=condition=ScalingActive", f"hpa/{release.name}-api", "--timeout=150s")


def test_upgrade_and_rollback_interrupt_nobody(release: Release, figure: Figure) -> None:
    with release.open_api():
        before_upgrade = release.sleep(45, count=2)
        release.wait_running(2)
        old_pods = set(release.workers())
        upgrade_seconds = release.upgrade(NEXT_VERSION)
        before_rollback = release.sleep(30, count=2)
        release.wait_running(3)
        release.helm("rollback", release.name, "1", "--wait", "--timeout", "3m")
        assert not old_pods & set(release.workers())
        release.wait_done(before_upgrade + before_rollback)
        attempts = release.attempts(before_upgrade + before_rollback)
    interrupted = sum(len(one) > 1 for one in attempts)
    assert interrupted == 0, attempts
    assert {one.ending for (one,) in attempts} == {Ending.SUCCEEDED}
    figure("helm upgrade --wait with jobs running", f"{upgrade_seconds:.0f} s")
    figure("jobs interrupted by helm upgrade and helm rollback", f"{interrupted} of {len(attempts)}")


def test_uninstall_leaves_what_it_says(release: Release) -> None:
    """With `retain` it keeps the database and its password; without it nothing."""
    said = release.helm("get", "notes", release.name)
    assert "takes everything away, the development database with all jobs too" in said
    release.helm("uninstall", release.name, "--wait", "--timeout", "3m")
    wait_until(lambda: not release.left(), seconds=150, what="nothing is left")


def test_a_release_can_be_made_again_where_one_was(release: Release) -> None:
    with pytest.raises(Refused, match="not found"):
        release.helm("status", release.name)
