"""`helm test`: what it makes, and that its scripts do what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import servers
from tests.charts.release import CHART, Release, render
from tests.integration.cli.stack import Stack, run_stack

SCRIPTS = CHART / "tests"


def test_three_tests_each_with_a_deadline(default: Release) -> None:
    pods = default.all("Pod")
    assert [pod["spec"]["containers"][0]["command"][1] for pod in pods] == [
        "/tests/reach.py",
        "/tests/round_trip.py",
        "/tests/survive_deletion.py",
    ]
    for pod in pods:
        assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
        assert pod["spec"]["activeDeadlineSeconds"] == 300


def test_nothing_of_them_stays(default: Release) -> None:
    for one in default.objects:
        annotations = one["metadata"].get("annotations", {})
        if annotations.get("helm.sh/hook") == "test":
            assert "hook-succeeded" in annotations["helm.sh/hook-delete-policy"]


def test_the_scripts_are_the_charts(default: Release) -> None:
    assert default.one("ConfigMap", "test")["data"] == {path.name: path.read_text() for path in SCRIPTS.glob("*.py")}


def test_jobs_go_to_a_queue_whose_pool_knows_the_tasks() -> None:
    release = render({"worker": {"pools": {"default": {"tasks": ["my.tasks"]}, "more": {"queues": ["mail"]}}}})
    (queue,) = {
        one["value"]
        for pod in release.all("Pod")
        for one in pod["spec"]["containers"][0]["env"]
        if one["name"] == "LONGHAUL_TEST_QUEUE"
    }
    assert queue == "mail"


def test_without_the_tasks_only_the_api_is_tested() -> None:
    release = render({"worker": {"poolDefaults": {"tasks": ["my.tasks"]}}})
    assert release.names("Pod") == {"longhaul-test-reach"}
    assert "longhaul-test" not in release.names("Role")


def test_a_key_may_be_given() -> None:
    release = render({"tests": {"existingKeySecret": "key"}})
    for pod in release.all("Pod"):
        names = {one["name"] for one in pod["spec"]["containers"][0]["env"]}
        assert "LONGHAUL_DATABASE_URL" not in names


@pytest.fixture(scope="module")
def running(
    file_database_url: str, redis_server: servers.RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    settings = {"LONGHAUL_TASKS": "longhaul_examples.demo"}
    with run_stack(file_database_url, redis_server.redis_url(), folder, **settings) as one:
        yield one


@pytest.mark.parametrize("script", ["reach.py", "round_trip.py"])
def test_the_script_succeeds_where_longhaul_runs(script: str, running: Stack) -> None:
    own = {**running.environment, "LONGHAUL_URL": running.url, "LONGHAUL_TEST_QUEUE": "default"}
    done = _run(SCRIPTS / script, own)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_script_fails_where_nothing_answers() -> None:
    assert _run(SCRIPTS / "reach.py", {"LONGHAUL_URL": "http://127.0.0.1:9"}).returncode != 0


def _run(script: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
