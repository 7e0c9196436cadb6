"""Ordinary mistakes in task code touch no other job: one worker of two slots, honest jobs before, beside and after each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from tests import servers
from tests.pods import Platform, Worker, platform
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def pod(
    file_database_url: str, redis_server: servers.RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Platform, Worker]]:
    """A worker that all tests of this file share: what one of them breaks, the next one meets."""
    folder = tmp_path_factory.mktemp("seam")
    tasks = {"LONGHAUL_TASKS": "longhaul_examples.demo,tests.seam_tasks"}
    with platform(file_database_url, redis_server.redis_url(), folder, **tasks) as here:
        here.start_controller()
        yield here, here.start_worker()


@pytest.fixture
async def here(pod: tuple[Platform, Worker]) -> AsyncIterator[Platform]:
    """The pod with a job that runs beside the test's, and was touched by nothing at its end."""
    platform, worker = pod
    pid = worker.celery().pid
    neighbour = await platform.submit("demo.sleep", {"seconds": 1.5, "steps": 15})
    await platform.wait_event(neighbour, "started")
    yield platform
    job = await platform.wait_state(neighbour, "succeeded")
    assert (job["attempt"], job["interruptions"]) == (1, 0)
    await assert_echoes(platform, "after it")
    assert worker.celery().pid == pid


async def assert_echoes(here: Platform, *texts: str) -> None:
    """Jobs that tell their own params end with those, each at its first attempt, and hold nothing of others."""
    ids = {text: await here.submit("seam.echo", {"text": text}) for text in texts}
    for text, id in ids.items():
        job = await here.wait_state(id, "succeeded")
        assert (job["result"], job["attempt"], job["progress"]["message"]) == ({"text": text}, 1, text)
        assert [event["type"] for event in await here.history(id)] == ["queued", "started", "progress", "succeeded"]


async def logs(here: Platform, id: UUID) -> list[str]:
    return [event["data"]["message"] for event in await here.history(id) if event["type"] == "log"]


@pytest.mark.fault("F43")
async def test_a_soft_limit_in_a_loop_of_checkpoints_mixes_up_no_answers(here: Platform) -> None:
    for number in range(3):
        stopped = await here.submit("seam.saves_when_it_must_stop")
        await assert_echoes(here, *(f"{number} {letter}" for letter in "ABC"))
        assert (await here.wait_state(stopped, "dead"))["error"]["code"] == "soft_timeout"


@pytest.mark.fault("F43")
async def test_an_alarm_that_goes_off_while_the_task_waits_mixes_up_no_answers(here: Platform) -> None:
    for text in "AB":
        interrupted = await here.submit("seam.alarm", {"text": text})
        await assert_echoes(here, f"{text} 1", f"{text} 2")
        assert (await here.wait_state(interrupted, "succeeded"))["result"] == {"text": f"{text} 20"}


@pytest.mark.fault("F44")
@pytest.mark.parametrize(
    "text", ["odd", "surrogate", "own", "frozen", "unread", "exit", "recursion", "huge", "interrupt"]
)
async def test_whatever_leaves_the_task_is_one_end(here: Platform, text: str) -> None:
    job_id = await here.submit("seam.raises", {"text": text})
    job = await here.wait_state(job_id, "failed")
    assert job["error"]["code"] == "task_failed"
    assert len(job["error"]["message"]) <= 8192
    first, *_, last = await logs(here, job_id)
    assert first == "before it"
    assert last.startswith(job["error"]["type"])


@pytest.mark.fault("F44")
@pytest.mark.parametrize(
    ("text", "state", "endings"),
    [
        ("cancel", "cancelled", ["cancelled"]),
        ("soft", "succeeded", ["timed_out", "succeeded"]),
        ("away", "succeeded", ["transient", "succeeded"]),
        ("both", "failed", ["permanent"]),
    ],
)
async def test_what_leaves_a_group_of_tasks_is_what_was_raised_in_it(
    here: Platform, text: str, state: str, endings: list[str]
) -> None:
    job_id = await here.submit("seam.group", {"text": text})
    if text == "cancel":
        await here.wait_event(job_id, "checkpoint")
        await here.cancel(job_id)
    job = await here.wait_state(job_id, state)
    assert [attempt["ending"] for attempt in await here.attempts(job_id)] == endings
    if text == "both":
        assert (job["error"]["type"], job["error"]["message"]) == ("Odd", "a mistake")


@pytest.mark.fault("F43")
@pytest.mark.parametrize("text", ["field", "argument", "event", "handler"])
async def test_a_soft_limit_inside_what_is_logged_reaches_the_task(here: Platform, text: str) -> None:
    job = await here.wait_state(await here.submit("seam.slow_texts", {"text": text}), "succeeded")
    assert job["result"] == {"text": "saved"}


@pytest.mark.fault("F47")
async def test_a_child_whose_connection_was_closed_and_its_number_used_again_ends_at_once(here: Platform) -> None:
    job = await here.wait_state(await here.submit("seam.closes_twice"), "dead", timeout_seconds=15)
    assert "its connection to its keeper was closed" in job["error"]["message"]


async def test_a_delay_that_is_no_number_costs_the_wish_and_not_the_retry(here: Platform) -> None:
    job_id = await here.submit("seam.raises", {"text": "delay"}, retries_max=1)
    assert (await here.wait_state(job_id, "dead"))["attempt"] == 2
    assert any("delay_seconds='soon'" in line for line in await logs(here, job_id))


@pytest.mark.fault("F45")
@pytest.mark.parametrize("text", ["nan", "nan in a set", "infinity", "huge", "deep", "levels"])
async def test_a_result_that_can_not_be_stored_ends_its_attempt(here: Platform, text: str) -> None:
    job = await here.wait_state(await here.submit("seam.returns", {"text": text}), "failed")
    assert job["error"]["code"] == "unstorable"


@pytest.mark.fault("F46")
@pytest.mark.parametrize("text", ["thread", "fork reports", "fork returns"])
async def test_what_outlives_its_attempt_reports_nothing(here: Platform, text: str) -> None:
    job_id = await here.submit("seam.leaves", {"text": text})
    job = await here.wait_state(job_id, "succeeded")
    assert job["result"] == {"text": text}
    await assert_echoes(here, "A", "B", "C")
    assert all(line == f"ghost of {job_id}" for line in await logs(here, job_id))


@pytest.mark.fault("F46")
@pytest.mark.parametrize(("name", "state"), [("returns", "succeeded"), ("hangs", "dead")])
async def test_all_that_a_task_started_ends_with_it(here: Platform, tmp_path: Path, name: str, state: str) -> None:
    path = tmp_path / name
    await here.wait_state(await here.submit("seam.starts", {"path": str(path)}), state)
    pids = [int(line) for line in path.read_text().splitlines()]
    assert len(pids) == 2

    async def none_lives() -> bool:
        return not any(psutil.pid_exists(pid) for pid in pids)

    await eventually(none_lives, timeout_seconds=5, what="everything that the task started ended")


@pytest.mark.fault("F48")
@pytest.mark.parametrize("lines", [0, 1, 10, 3000])
async def test_no_log_line_is_lost_and_the_traceback_least_of_all(here: Platform, lines: int) -> None:
    job_id = await here.submit("seam.writes", {"text": str(lines)})
    await here.wait_state(job_id, "failed", timeout_seconds=60)
    assert await logs(here, job_id) == [*(f"line {number}" for number in range(lines)), "ValueError: the end"]
    *_, last, _ = await here.history(job_id)
    assert "seam_tasks.py" in last["data"]["fields"]["traceback"]


@pytest.mark.fault("F58")
@pytest.mark.parametrize(
    ("text", "evidence"),
    [("40", "SIGRTMIN+6"), ("11", "SIGSEGV"), ("15", "SIGTERM"), ("9", "SIGKILL"), ("exit", "exit code 71")],
)
async def test_the_evidence_of_a_death_names_its_signal_or_exit_code(here: Platform, text: str, evidence: str) -> None:
    job_id = await here.submit("seam.dies", {"text": text})
    job = await here.wait_state(job_id, "dead")
    assert (job["error"]["code"], evidence in job["error"]["message"]) == ("crash", True)
    assert await logs(here, job_id) == ["last words"]


@pytest.mark.fault("F47")
async def test_a_process_of_a_task_gets_no_job(here: Platform) -> None:
    job = await here.wait_state(await here.submit("seam.forges"), "succeeded")
    assert job["result"] == {"text": "b''"}


@pytest.mark.fault("F47")
async def test_an_orphan_of_a_task_gets_no_job(here: Platform, tmp_path: Path) -> None:
    """Celery's main process and an orphan have the same parent."""
    haunted = await here.submit("seam.haunts", {"path": str(tmp_path / "answer")})
    honest = await here.submit("seam.echo", {"text": "honest"})  # both slots are taken: it waits
    await here.wait_state(haunted, "dead")
    assert (await here.wait_state(honest, "succeeded"))["attempt"] == 1
    assert (tmp_path / "answer").read_bytes() == b""


@pytest.mark.parametrize("text", ["text", "zeros", "huge", "pickle"])
async def test_garbage_in_the_pipes_to_celery_ends_its_own_process_only(here: Platform, text: str) -> None:
    job = await here.wait_state(await here.submit("seam.writes_to_wrong_descriptors", {"text": text}), "dead")
    assert (job["error"]["code"], "SIGKILL" in job["error"]["message"]) == ("crash", True)
    await assert_echoes(here, "A", "B", "C")


async def test_a_task_that_removes_the_socket_of_the_keeper_takes_no_slot_with_it(here: Platform) -> None:
    await here.wait_state(await here.submit("seam.tidies_up"), "dead")
    both = [await here.submit("demo.sleep", {"seconds": 30, "steps": 300}) for _ in range(2)]
    for id in both:
        await here.wait_event(id, "started")
    assert [(await here.job(id))["state"] for id in both] == ["running"] * 2
    for id in both:
        await here.cancel(id)
        await here.wait_state(id, "cancelled")
