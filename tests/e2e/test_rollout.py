"""F35: a version with another schema is rolled out under jobs that run and wait; and versions that a schema is not for.

The older version is that of `LONGHAUL_E2E_OLD_TAG`, where there is one; the next ones are made by adding migrations to
the images, through a ConfigMap: the revisions that a version knows are the files that it has.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from kr8s.objects import ConfigMap
from tests.e2e.cluster import wait_until
from tests.e2e.conftest import Figure
from tests.e2e.release import Refused, Release, restarts
from tests.e2e.settings import E2ESettings

from longhaul.contract import AttemptView
from longhaul.ledger import schema
from longhaul.states import Ending

pytestmark = pytest.mark.fault("F35")

JOBS, JOB_SECONDS = 50, 30
PODS, SLOTS = 2, 5
MIGRATIONS = {
    "9000": "ALTER TABLE jobs ADD COLUMN weight integer; CREATE INDEX jobs_by_weight ON jobs (weight)",
    "9001": "ALTER TABLE jobs ADD COLUMN heft integer NOT NULL DEFAULT 0",
    "9002_serves_9002": "ALTER TABLE jobs DROP COLUMN weight",
}
CODE = """
from alembic import op

revision, down_revision, branch_labels, depends_on = {revision!r}, {before!r}, None, None


def upgrade() -> None:
    op.execute({sql!r})
"""
FOLDER = "/app/lib/python3.13/site-packages/longhaul/ledger/migrations/versions"


def file_name(revision: str) -> str:
    return f"{revision}_next.py"


def migrations() -> dict[str, str]:
    """All files, each after the one before."""
    befores = [schema.HEAD, *MIGRATIONS]
    return {
        file_name(revision): CODE.format(revision=revision, before=before, sql=sql)
        for before, (revision, sql) in zip(befores, MIGRATIONS.items(), strict=False)
    }


class Version:
    """The older version is number 0; number n knows the first n of `MIGRATIONS`."""

    def __init__(self, number: int, settings: E2ESettings) -> None:
        names = [file_name(revision) for revision in list(MIGRATIONS)[:number]]
        mounts = [{"name": "next", "mountPath": f"{FOLDER}/{name}", "subPath": name} for name in names]
        volumes = [{"name": "next", "configMap": {"name": "next"}}] if names else []
        self.files = {"extraVolumes": volumes, "extraVolumeMounts": mounts}
        self.image = {"image": {"tag": settings.old_tag if number == 0 else ""}}
        self.values = self.files | self.image


class Rollout:
    """Which version each part of the release has."""

    def __init__(self, settings: E2ESettings) -> None:
        self._settings = settings

    def values(self, *, pool: int, beside: int | None = None, rest: int, migrate: bool = True) -> dict[str, Any]:
        """`pool` is the version of the workers that are there from the start, `beside` of others on the same queue."""
        settings = self._settings
        size = {"autoscaling": {"mode": "none"}, "replicas": PODS, "slots": SLOTS}
        pools: dict[str, Any] = {"default": size | Version(pool, settings).values}
        if beside is not None:
            pools["next"] = size | Version(beside, settings).values
        newest = Version(max(pool, beside or 0, rest), settings)
        return {
            "api": Version(rest, settings).values,
            "controller": Version(rest, settings).values,
            "jobs": newest.files | {"migrate": {"enabled": migrate, "image": self._migrator(newest)}},
            "worker": {"pools": pools},
        }

    def _migrator(self, version: Version) -> dict[str, str]:
        return {"repository": "longhaul-api", **version.image["image"]}


@pytest.fixture(scope="module")
def rollout(settings: E2ESettings) -> Rollout:
    return Rollout(settings)


@pytest.fixture(scope="module")
def release(namespace: str, settings: E2ESettings, rollout: Rollout) -> Iterator[Release]:
    """The older version, installed."""
    ConfigMap({"metadata": {"name": "next", "namespace": namespace}, "data": migrations()}).create()
    made = Release(namespace, settings)
    made.install(rollout.values(pool=0, rest=0))
    with made.open_api():
        yield made


def of_pool(release: Release, pool: str, attempts: list[AttemptView]) -> list[AttemptView]:
    return [one for one in attempts if (one.worker or "").startswith(f"{release.name}-worker-{pool}-")]


def log_of(release: Release, pod: str) -> str:
    return release.kubectl("logs", pod)


def test_a_version_that_expands_the_schema_is_rolled_out_under_jobs(
    release: Release, rollout: Rollout, figure: Figure
) -> None:
    """First beside the older one, on the same queue; then in its place."""
    old_pods = set(release.wait_workers(PODS))
    jobs = release.sleep(JOB_SECONDS, count=JOBS)
    release.wait_running(PODS * SLOTS)
    migrate_seconds = release.upgrade(rollout.values(pool=0, beside=1, rest=0))
    both_seconds = wait_both(release)
    roll_seconds = release.upgrade(rollout.values(pool=1, beside=1, rest=1))
    release.wait_done(jobs, seconds=300)
    attempts = release.attempts(jobs)
    assert [len(one) for one in attempts] == [1] * JOBS, attempts
    flat = [one for (one,) in attempts]
    assert {one.ending for one in flat} == {Ending.SUCCEEDED}
    by_old = [one for one in flat if one.worker in old_pods]
    by_next = of_pool(release, "next", flat)
    old_on_next_schema = on_next_schema(by_old, by_next)
    assert old_on_next_schema
    assert not old_pods & set(release.workers())
    figure("jobs interrupted by a rollout with a migration", f"0 of {JOBS}")
    figure(
        "claimed by the old version, by it on the next schema, by the next version",
        f"{len(by_old)}, {len(old_on_next_schema)}, {len(flat) - len(by_old)}",
    )
    figure("helm upgrade --wait: the migration and the next version beside the old", f"{migrate_seconds:.0f} s")
    figure("both versions claim from one queue after", f"{both_seconds:.0f} s")
    figure("helm upgrade --wait: the next version in place of the old", f"{roll_seconds:.0f} s")


def wait_both(release: Release) -> float:
    """Seconds until pods of both pools have claimed on the next schema."""
    began = time.monotonic()

    def both() -> bool:
        running = [release.api.attempts(job.id)[-1] for job in release.running()]
        return bool(on_next_schema(of_pool(release, "default", running), of_pool(release, "next", running)))

    wait_until(both, seconds=180, what="both versions have claimed on the next schema")
    return time.monotonic() - began


def on_next_schema(by_old: list[AttemptView], by_next: list[AttemptView]) -> list[AttemptView]:
    """What the old version claimed after the next one's first claim: that had to wait for the migration."""
    first = min((one.started_at for one in by_next), default=None)
    return [one for one in by_old if first is not None and one.started_at > first]


def test_a_version_that_needs_a_migration_waits_for_it(release: Release, rollout: Rollout, figure: Figure) -> None:
    """Its pods say what they wait for and take no job; the others go on."""
    before = set(release.workers())
    with pytest.raises(Refused, match="not ready"):
        release.upgrade(rollout.values(pool=1, beside=2, rest=1, migrate=False), timeout="15s")
    sentence = "is at 9000, and this version needs 9001: run `longhaul migrate`"

    def waiting() -> list[str]:
        new = [pod.name for pod in release.pods("worker", "next") if pod.name not in before]
        return [name for name in new if sentence in log_of(release, name)]

    (waits, *_) = wait_until(waiting, seconds=90, what="a new pod says what it waits for")
    jobs = release.sleep(3, count=2 * SLOTS)
    release.wait_done(jobs)
    attempts = release.attempts(jobs)
    assert [len(one) for one in attempts] == [1] * len(jobs)
    assert {one.worker for (one,) in attempts} <= before
    assert waits not in release.workers()
    figure("a version whose migration is missing: jobs that the others did meanwhile", f"{len(jobs)} of {len(jobs)}")
    release.upgrade(rollout.values(pool=1, beside=2, rest=1))
    assert waits in release.workers()


def test_a_version_that_the_schema_left_behind_takes_no_jobs(
    release: Release, rollout: Rollout, figure: Figure
) -> None:
    """A migration that contracts came too early: the older pods say so, and wait; what they can't do the others do."""
    left_behind = {pod.name for pod in release.ready("worker", "default")}
    with suppress(Refused):  # the older pool will never be ready
        release.upgrade(rollout.values(pool=1, beside=3, rest=3), timeout="90s")
    sentence = "is at 9002_serves_9002, and this version knows those up to 9000: update it"
    wait_until(
        lambda: all(sentence in log_of(release, name) for name in left_behind),
        seconds=90,
        what="the older pods say why they wait",
    )
    wait_until(
        lambda: len(release.ready("worker", "next")) == PODS and not release.ready("worker", "default"),
        seconds=120,
        what="only the next version's pods are ready",
    )
    jobs = release.sleep(3, count=3 * SLOTS)
    release.wait_done(jobs)
    attempts = [one for (one,) in release.attempts(jobs)]
    assert len(of_pool(release, "next", attempts)) == len(jobs)
    assert [restarts(release.pod(name)) for name in left_behind] == [0] * PODS
    figure("a version that the schema left behind: jobs that it took", f"0 of {len(jobs)}")
