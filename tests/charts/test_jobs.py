"""The migration comes before whatever needs it, the registration after; both end in time."""

from __future__ import annotations

from typing import Any

import pytest
from tests.charts.release import Release, render

OWN: dict[str, Any] = {
    "backing": {"enabled": False},
    "database": {"url": "postgresql://u:p@db.example.com/longhaul"},
    "redis": {"url": "redis://cache.example.com:6379/0"},
}


def hooks(one: dict[str, Any]) -> set[str]:
    return set(one["metadata"].get("annotations", {}).get("helm.sh/hook", "").split(",")) - {""}


def migration(release: Release) -> dict[str, Any]:
    (found,) = [
        one for one in release.all("Job") if one["metadata"]["labels"]["app.kubernetes.io/component"] == "migrate"
    ]
    return found


def test_the_migration_runs_before_an_install_and_before_an_upgrade() -> None:
    assert hooks(migration(render(OWN))) == {"pre-install", "pre-upgrade"}


def test_the_migration_brings_its_own_secret() -> None:
    """Before an install the release's Secret is not there, and after it this one must not stay."""
    release = render(OWN)
    (environment,) = migration(release)["spec"]["template"]["spec"]["containers"][0]["env"][:1]
    secret = release.one("Secret", "migrate")
    assert environment["valueFrom"]["secretKeyRef"] == {"name": "longhaul-migrate", "key": "database-url"}
    assert secret["stringData"]["database-url"] == OWN["database"]["url"]
    assert hooks(secret) == {"pre-install", "pre-upgrade"}
    annotations = secret["metadata"]["annotations"]
    assert int(annotations["helm.sh/hook-weight"]) < 0
    assert {"hook-succeeded", "hook-failed"} <= set(annotations["helm.sh/hook-delete-policy"].split(","))


def test_a_hook_reads_nothing_that_the_release_makes() -> None:
    release = render(OWN)
    pod = migration(release)["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "default"
    assert "envFrom" not in pod["containers"][0]


def test_with_the_development_servers_the_migration_is_a_part_of_the_release(default: Release) -> None:
    """As a hook before the install it would wait for a database that only the install makes; after it, `--wait` would
    wait for an API that only the migration makes ready."""
    job = migration(default)
    assert hooks(job) == set()
    assert [one["name"] for one in job["spec"]["template"]["spec"]["initContainers"]] == ["wait-for-postgres"]


def test_another_version_migrates_with_another_job() -> None:
    """A Job can't be changed, and an unchanged one need not run again."""
    name = migration(render())["metadata"]["name"]
    assert migration(render({"image": {"tag": "2"}}))["metadata"]["name"] != name
    assert migration(render({"worker": {"pools": {"default": {"slots": 1}}}}))["metadata"]["name"] == name


def test_tasks_are_registered_after_every_change(default: Release) -> None:
    job = default.one("Job", "register-default")
    assert hooks(job) == {"post-install", "post-upgrade", "post-rollback"}
    assert default.container("Job", "register-default")["command"] == ["longhaul-worker", "register"]
    assert default.environment("Job", "register-default")["LONGHAUL_TASKS"] == "longhaul_examples.demo"


def test_pools_with_the_same_tasks_register_once() -> None:
    release = render({"worker": {"pools": {"default": {}, "same": {}, "other": {"tasks": ["other.tasks"]}}}})
    names = {name for name in release.names("Job") if "register" in name}
    assert names == {"longhaul-register-default", "longhaul-register-other"}


def test_queues_of_all_pools_are_registered() -> None:
    """Without that a job could not be sent to a pool that has no pods yet, and so nothing would start its first."""
    release = render({"worker": {"pools": {"default": {}, "spot": {"queues": ["default", "batch"]}}}})
    assert release.environment("Job", "register-default")["LONGHAUL_QUEUES"] == "batch,default"


def test_every_job_ends_before_helm_gives_up(example: Release) -> None:
    """Helm waits 300 s for a hook; a Job that fails before can say why."""
    for job in example.all("Job"):
        assert job["spec"]["activeDeadlineSeconds"] < 300
        assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_a_failed_hook_shows_its_log(default: Release) -> None:
    for job in (migration(render(OWN)), default.one("Job", "register-default")):
        assert job["metadata"]["annotations"]["helm.sh/hook-output-log-policy"] == "hook-failed"


@pytest.mark.parametrize("name", ["migrate", "register"])
def test_jobs_can_be_left_out(name: str) -> None:
    release = render({"jobs": {name: {"enabled": False}}})
    components = {job["metadata"]["labels"]["app.kubernetes.io/component"] for job in release.all("Job")}
    assert components == {"migrate", "register"} - {name}


def test_the_migration_is_made_by_the_apis_image_or_one_of_its_own() -> None:
    image = {"repository": "tools", "tag": "3"}
    for values, expected in (({}, "longhaul-api:0.1.0"), ({"jobs": {"migrate": {"image": image}}}, "tools:3")):
        assert migration(render(values))["spec"]["template"]["spec"]["containers"][0]["image"] == expected
