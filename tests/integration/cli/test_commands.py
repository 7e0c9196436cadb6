"""The commands against a real API, worker and controller."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration.cli.stack import Stack
from typer.testing import CliRunner, Result

from longhaul.client import Client
from longhaul_cli.app import app

Run = Callable[..., Result]
LONGHAUL = str(Path(sys.executable).parent / "longhaul")


@pytest.fixture
def run(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process, with the environment that `longhaul up` would hand out."""
    for name, value in environment(stack).items():
        monkeypatch.setenv(name, value)

    def run_command(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return run_command


def environment(stack: Stack) -> dict[str, str]:
    return {**stack.environment, "LONGHAUL_URL": stack.url}


def answer(result: Result) -> Any:
    return json.loads(result.stdout)


def test_submit_prints_the_id_and_show_the_result(run: Run, stack: Stack) -> None:
    job_id = run("submit", "demo.echo", "-p", "payload=hello").stdout.strip()
    with Client(stack.url) as client:
        client.wait(job_id, 20)
    shown = run("show", job_id, "--logs")
    assert "succeeded" in shown.stdout
    assert '"hello"' in shown.stdout
    document = answer(run("show", job_id, "--json"))
    assert document["result"]["payload" if "payload" in document["result"] else "echo"] == "hello"
    assert document["attempts"][0]["ending"] == "succeeded"


def test_submit_follow_tells_the_outcome_by_its_exit_code(run: Run) -> None:
    done = run(
        "submit", "demo.sleep", "-p", "seconds=0.3", "-p", "log_lines=1", "-p", "payload=[1]", "--follow", "--json"
    )
    document = answer(done)
    assert document["job"]["state"] == "succeeded"
    assert document["result"]["echo"] == [1]
    assert "attempt 1 started" in done.stderr
    failed = run("submit", "demo.sleep", "-p", "seconds=0", "-p", "permanent=true", "--follow", code=1)
    assert "The job is failed" in failed.stderr
    assert failed.stdout == ""
    dead = run("submit", "sample.odd_error", "-p", "text=always", "--follow", "--json", code=3)
    assert answer(dead)["job"]["state"] == "dead"


def test_what_does_not_fit_is_said_field_by_field(run: Run) -> None:
    wrong = run("submit", "demo.sleep", "-p", "steps=0", code=2)
    assert "/params/steps" in wrong.stderr
    assert "demo.sleeep" in run("submit", "demo.sleeep", code=2).stderr
    assert "no job" in run("show", "00000000-0000-0000-0000-000000000000", code=5).stderr


def test_the_same_key_gives_the_same_job(run: Run) -> None:
    first, second = (run("submit", "demo.echo", "--idempotency-key", "cli-1").stdout for _ in range(2))
    assert first == second
    assert "Idempotency-Key" in run("submit", "demo.sleep", "--idempotency-key", "cli-1", code=2).stderr


def test_follow_stops_at_ctrl_c_and_the_job_goes_on(run: Run, stack: Stack) -> None:
    # A shell sets Ctrl-C to be ignored in what it starts in the background, and that is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    job_id = run("submit", "demo.sleep", "-p", "seconds=60").stdout.strip()
    follower = subprocess.Popen(
        [LONGHAUL, "follow", job_id],
        env=environment(stack),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert follower.stderr is not None
    lines: list[str] = []
    while "started" not in "".join(lines):
        lines.append(follower.stderr.readline())
    follower.send_signal(signal.SIGINT)
    _, rest = follower.communicate(timeout=10)
    assert follower.returncode == 130
    assert "The job goes on" in rest
    assert "Traceback" not in rest
    cancelled = run("cancel", job_id)
    assert "is asked to stop" in cancelled.stdout
    assert run("follow", job_id, code=4).stdout == ""
    assert "has ended already" in run("cancel", job_id, code=5).stderr


def test_lists_are_for_people_and_for_machines(run: Run) -> None:
    job_id = run("submit", "demo.echo").stdout.strip()
    assert job_id in run("jobs", "--task", "demo.echo", "--since", "-1h").stdout
    assert answer(run("jobs", "--limit", "1", "--json"))[0]["id"] == job_id
    assert run("jobs", "--state", "waiting").stdout.strip() == "No jobs."
    assert "demo.sleep" in run("tasks").stdout
    assert "checkpoint_every" in run("tasks", "demo.sleep").stdout
    assert answer(run("tasks", "demo.sleep", "--json"))["name"] == "demo.sleep"
    assert "online" in run("workers").stdout
    assert answer(run("workers", "--json"))[0]["online"] is True
    assert "no_such" in run("tasks", "no_such", code=2).stderr


def test_queues_are_paused_resumed_and_limited(run: Run) -> None:
    assert "is paused" in run("queues", "pause", "default").stdout
    try:
        assert answer(run("queues", "--json"))[0]["paused"] is True
        assert "paused" in run("queues").stdout
    finally:
        run("queues", "resume", "default")
    assert answer(run("queues", "limit", "default", "7", "--json"))["max_running"] == 7
    assert answer(run("queues", "--json"))[0]["max_running"] == 7
    assert "without a limit" in run("queues", "limit", "default", "none").stdout
    assert "no queue" in run("queues", "limit", "nowhere", "3", code=5).stderr


def test_dead_letters_are_listed_replayed_and_discarded(run: Run, stack: Stack) -> None:
    with Client(stack.url) as client:
        jobs = [client.submit("sample.odd_error", {"text": "always"}) for _ in range(2)]
        for job in jobs:
            client.wait(job.id, 30)
    first, second = (str(job.id) for job in jobs)
    assert {first, second} <= {job["id"] for job in answer(run("dead-letters", "--json"))}
    shown = run("dead-letters", "show", first).stdout
    assert "never works" in shown
    assert answer(run("dead-letters", "show", first, "--json"))["attempts"][0]["ending"] == "transient"
    assert "1 discarded" in run("dead-letters", "discard", first).stdout
    new_id = answer(run("dead-letters", "replay", second, "--json"))["done"][0]
    assert answer(run("show", new_id, "--json"))["job"]["origin_id"] == second


def test_keys_are_made_listed_and_revoked(run: Run) -> None:
    made = answer(run("keys", "create", "ci", "--scope", "read", "--json"))
    assert made["key"].startswith("lh_")
    key_id = made["key"].split("_")[1]
    listed = run("keys", "list")
    assert key_id in listed.stdout
    assert made["key"] not in listed.stdout
    assert "is revoked" in run("keys", "revoke", key_id).stdout
    assert "no valid key" in run("keys", "revoke", key_id, code=5).stderr


def test_migrate_and_purge_work_on_the_ledger(run: Run, empty_database_url: str) -> None:
    assert answer(run("purge", "--older-than", "7d", "--json")) == {"purged": 0}
    result = CliRunner().invoke(app, ["keys", "list"], env={"LONGHAUL_DATABASE_URL": empty_database_url})
    assert (result.exit_code, "run `longhaul migrate`" in result.stderr) == (5, True)
    migrated = CliRunner().invoke(app, ["migrate", "--json"], env={"LONGHAUL_DATABASE_URL": empty_database_url})
    assert migrated.exit_code == 0
    assert json.loads(migrated.stdout)["revision"] != "base"


def test_the_doctor_finds_all_well(run: Run) -> None:
    result = run("doctor")
    assert "All is well." in result.stdout
    subjects = {finding["subject"] for finding in answer(run("doctor", "--json"))}
    assert {"Python", "settings", "tasks", "PostgreSQL", "schema", "clock", "Redis", "API", "workers"} <= subjects


def test_the_doctor_says_what_is_wrong_and_what_to_do(stack: Stack, empty_database_url: str) -> None:
    broken = {
        "LONGHAUL_DATABASE_URL": empty_database_url,
        "LONGHAUL_REDIS_URL": "redis://127.0.0.1:9/0",
        "LONGHAUL_TASKS": "no_such_module",
        "LONGHAUL_LEASE_SECONDS": "1",
        "LONGHAUL_URL": "http://127.0.0.1:9",
    }
    result = CliRunner().invoke(app, ["doctor", "--json"], env=broken)
    assert result.exit_code == 1
    problems = {one["subject"]: one for one in json.loads(result.stdout) if one["status"] == "problem"}
    assert set(problems) == {"settings", "tasks", "schema", "Redis", "API"}
    assert all(one["advice"] for one in problems.values())
    assert "longhaul migrate" in problems["schema"]["advice"]


def test_an_evicting_redis_is_a_problem(run: Run, breakable_redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import redis

    with redis.Redis.from_url(breakable_redis.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    monkeypatch.setenv("LONGHAUL_REDIS_URL", breakable_redis.url)
    result = run("doctor", "--json", code=1)
    assert [one["subject"] for one in answer(result) if one["status"] == "problem"] == ["Redis memory"]


def test_the_installed_command_starts_and_speaks(stack: Stack) -> None:
    done = subprocess.run(
        [LONGHAUL, "jobs", "--json"], env=environment(stack), capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert isinstance(json.loads(done.stdout), list)
