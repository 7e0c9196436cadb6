"""How attempts end: one worker pod and one controller serve all of these tests."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest
from tests import servers
from tests.pods import Platform, Worker, platform

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def shared(
    file_database_url: str,
    redis_server: servers.RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Platform, Worker]]:
    folder = tmp_path_factory.mktemp("attempts")
    with platform(file_database_url, redis_server.redis_url(), folder, LONGHAUL_CANCEL_GRACE_SECONDS="0.5") as one:
        one.start_controller()
        yield one, one.start_worker(LONGHAUL_RESULT_LIMIT_BYTES="10000", LONGHAUL_CHECKPOINT_LIMIT_BYTES="10000")


@pytest.fixture
def here(shared: tuple[Platform, Worker]) -> Platform:
    return shared[0]


async def test_a_job_runs_to_its_result_and_tells_its_history(here: Platform) -> None:
    job_id = await here.submit("demo.sleep", {"seconds": 0.4, "steps": 4, "payload": {"a": [1]}, "log_lines": 3})
    job = await here.wait_state(job_id, "succeeded")
    assert job["result"]["echo"] == {"a": [1]}
    assert job["attempt"] == 1
    assert job["progress"]["fraction"] == 1
    history = await here.history(job_id)
    assert [event["id"] for event in history] == list(range(1, len(history) + 1))
    assert [event["type"] for event in history][:2] == ["queued", "started"]
    assert history[-1]["type"] == "succeeded"
    assert len([event for event in history if event["type"] == "log"]) == 3
    assert {"progress", "checkpoint"} <= {event["type"] for event in history}


async def test_an_async_task_runs(here: Platform) -> None:
    job_id = await here.submit("demo.async_sleep", {"seconds": 0.2, "payload": "x"})
    assert (await here.wait_state(job_id, "succeeded"))["result"] == {"echo": "x"}


@pytest.mark.parametrize("text", ["listed", "connection", "retryable"])
async def test_a_passing_error_is_retried(here: Platform, text: str) -> None:
    job_id = await here.submit("sample.odd_error", {"text": text})
    job = await here.wait_state(job_id, "succeeded")
    assert (job["attempt"], job["retries"], job["interruptions"]) == (2, 1, 0)
    first, second = await here.attempts(job_id)
    assert (first["ending"], second["ending"]) == ("transient", "succeeded")


async def test_retries_used_up_end_in_the_dead_letter_queue(here: Platform) -> None:
    job_id = await here.submit("sample.odd_error", {"text": "always"}, retries_max=2)
    job = await here.wait_state(job_id, "dead")
    assert (job["attempt"], job["retries"]) == (3, 2)
    assert job["error"]["code"] == "retryable"


@pytest.mark.parametrize(
    ("text", "code"),
    [("value", "task_failed"), ("permanent", "permanent"), ("exit", "task_failed"), ("wrong_result", "permanent")],
)
async def test_any_other_error_ends_the_job_at_once(here: Platform, text: str, code: str) -> None:
    job_id = await here.submit("sample.odd_error", {"text": text})
    job = await here.wait_state(job_id, "failed")
    assert (job["attempt"], job["error"]["code"]) == (1, code)
    (line,) = [event for event in await here.history(job_id) if event["type"] == "log"]
    traceback = line["data"].get("fields", {}).get("traceback", "")
    # Where it came from is told of what the task did not raise on purpose: its own frames, none of the platform's.
    assert ("sample_tasks.py" in traceback) == (code == "task_failed")
    assert "longhaul_worker" not in traceback


async def test_memory_that_ran_out_counts_against_the_interruptions(here: Platform) -> None:
    job_id = await here.submit("sample.odd_error", {"text": "memory"}, max_interruptions=1)
    job = await here.wait_state(job_id, "dead")
    assert (job["error"]["code"], job["interruptions"], job["retries"]) == ("out_of_memory", 2, 0)


async def test_params_that_the_worker_refuses_fail_the_job(here: Platform) -> None:
    job_id = await here.submit("demo.sleep", {"seconds": -1})
    job = await here.wait_state(job_id, "failed")
    assert job["error"]["code"] == "invalid_params"
    assert "seconds" in job["error"]["message"]


async def test_a_result_past_the_limit_fails_with_a_way_out(here: Platform) -> None:
    job_id = await here.submit("sample.large_result", {"value": 20_000})
    job = await here.wait_state(job_id, "failed")
    assert job["error"]["code"] == "result_too_large"
    assert "10,000" in job["error"]["message"]


async def test_a_checkpoint_past_the_limit_fails_with_a_way_out(here: Platform) -> None:
    job_id = await here.submit("sample.large_checkpoint", {"value": 20_000})
    job = await here.wait_state(job_id, "failed")
    assert "10,000" in job["error"]["message"]


@pytest.mark.parametrize("task", ["sample.saves_on_soft_timeout", "sample.async_soft_timeout"])
async def test_the_soft_limit_lets_a_job_save_its_state(here: Platform, task: str) -> None:
    job_id = await here.submit(task)
    job = await here.wait_state(job_id, "succeeded")
    assert job["result"] == {"text": "saved in time"}
    assert job["checkpointed_at"] is not None


async def test_a_soft_limit_that_is_not_caught_ends_the_attempt(here: Platform) -> None:
    job_id = await here.submit("sample.ignores_soft_timeout")
    job = await here.wait_state(job_id, "dead")
    assert job["error"]["code"] == "soft_timeout"
    assert [attempt["ending"] for attempt in await here.attempts(job_id)] == ["timed_out"]


@pytest.mark.fault("F34")
async def test_the_hard_limit_kills_what_holds_the_interpreter_lock(here: Platform) -> None:
    """F34: the child can't run one line of Python, and the keeper still renews and then kills it."""
    params = {"seconds": 60, "hold_gil_seconds": 60}
    job_id = await here.submit("demo.sleep", params, timeout_seconds=4.5, soft_timeout_seconds=1, retries_max=0)
    job = await here.wait_state(job_id, "dead")
    assert job["error"]["code"] == "timeout"
    (attempt,) = await here.attempts(job_id)
    assert attempt["ending"] == "timed_out"
    assert attempt["evidence"]["signal"] == "SIGKILL"
    ran_seconds = (attempt["ended_at"] - attempt["started_at"]).total_seconds()
    assert 4.5 <= ran_seconds < 8  # longer than a lease of 3 s: it was renewed throughout


async def test_a_cancelled_job_stops_by_itself(here: Platform) -> None:
    job_id = await here.submit("demo.sleep", {"seconds": 60, "steps": 600})
    await here.wait_event(job_id, "progress")
    await here.cancel(job_id)
    await here.wait_state(job_id, "cancelled", timeout_seconds=5)
    (attempt,) = await here.attempts(job_id)
    assert (attempt["ending"], attempt["evidence"]) == ("cancelled", None)


async def test_a_cancelled_job_that_goes_on_is_killed_after_the_grace(here: Platform) -> None:
    job_id = await here.submit("demo.sleep", {"seconds": 60, "steps": 600, "ignore_stop": True})
    await here.wait_event(job_id, "progress")
    await here.cancel(job_id)
    await here.wait_state(job_id, "cancelled", timeout_seconds=10)
    (attempt,) = await here.attempts(job_id)
    assert (attempt["ending"], attempt["evidence"]["signal"]) == ("cancelled", "SIGKILL")


async def test_user_code_finds_no_database_credentials(here: Platform) -> None:
    job_id = await here.submit("sample.environment")
    job = await here.wait_state(job_id, "succeeded")
    assert "LONGHAUL_REDIS_URL" in job["result"]["text"]
    assert "LONGHAUL_DATABASE_URL" not in job["result"]["text"]
    assert "postgresql://" not in job["result"]["text"]


async def test_what_a_task_started_ends_with_its_attempt(here: Platform) -> None:
    job_id = await here.submit("sample.leaves_processes")
    job = await here.wait_state(job_id, "succeeded")
    assert [pid for pid in job["result"]["pids"] if psutil.pid_exists(pid)] == []


async def test_a_job_that_kills_its_process_ends_with_its_evidence(here: Platform) -> None:
    params = {"seconds": 0.1, "steps": 2, "exit_code": 7, "exit_on_attempts": [1, 2, 3]}
    job_id = await here.submit("demo.sleep", params, max_interruptions=2)
    job = await here.wait_state(job_id, "dead")
    assert (job["attempt"], job["interruptions"], job["retries"]) == (3, 3, 0)
    assert job["error"]["code"] == "crash"
    assert [attempt["evidence"]["exit_code"] for attempt in await here.attempts(job_id)] == [7, 7, 7]


async def test_probes_and_metrics_answer(shared: tuple[Platform, Worker]) -> None:
    here, worker = shared
    await here.wait_state(await here.submit("demo.echo"), "succeeded")
    for path in ("/livez", "/readyz"):
        answer = worker.probe(path)
        assert answer is not None
        assert answer.json() == {"status": "ok", "problems": {}}
    metrics = worker.probe("/metrics")
    assert metrics is not None
    assert 'longhaul_attempts_ended_total{ending="succeeded",task="demo.echo"}' in metrics.text
    assert "longhaul_keeper_ledger_up 1.0" in metrics.text
