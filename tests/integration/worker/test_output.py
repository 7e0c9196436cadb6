"""What a task writes is in its job's log, once; how it changes its process is nobody else's concern."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from tests import servers
from tests.output_tasks import CONFIGURATIONS, LINES
from tests.pods import Platform, Worker, platform

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def pod(
    file_database_url: str, redis_server: servers.RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Platform, Worker]]:
    """A worker with one process for all tasks of this file."""
    settings = {"LONGHAUL_TASKS": "tests.output_tasks", "LONGHAUL_SLOTS": "1", "LONGHAUL_LOG_FORMAT": "json"}
    with platform(file_database_url, redis_server.redis_url(), tmp_path_factory.mktemp("output"), **settings) as here:
        yield here, here.start_worker()


async def run(here: Platform, task: str, text: str = "") -> UUID:
    id = await here.submit(task, {"text": text})
    await here.wait_state(id, "succeeded")
    return id


async def lines(here: Platform, id: UUID) -> list[dict[str, Any]]:
    return [event["data"] for event in await here.history(id) if event["type"] == "log"]


async def assert_said(here: Platform, id: UUID) -> None:
    assert Counter(line["message"] for line in await lines(here, id)) == dict.fromkeys(LINES, 1)


async def test_what_a_task_prints_and_logs_is_in_its_log_and_in_the_output_of_the_pod(
    pod: tuple[Platform, Worker],
) -> None:
    here, worker = pod
    id = await run(here, "output.says")
    await assert_said(here, id)
    found = {line["message"]: (line["level"], line.get("fields")) for line in await lines(here, id)}
    assert found == {
        "by print": ("info", {"stream": "stdout"}),
        "by stderr": ("info", {"stream": "stderr"}),
        "by logging": ("info", {"logger": "a.library"}),
        "by its own handler": ("info", {"logger": "apart"}),
        "by structlog": ("info", {"size": 3}),
    }
    output = [line for line in worker.log.splitlines() if any(said in line for said in LINES)]
    assert len(output) == len(LINES)
    by_its_own_handler = [line for line in output if str(id) not in line]
    assert by_its_own_handler == ["by its own handler"]  # in the format that the task gave it


@pytest.mark.parametrize("name", CONFIGURATIONS)
async def test_how_a_task_configures_its_logs_is_not_the_next_ones(pod: tuple[Platform, Worker], name: str) -> None:
    here, _ = pod
    own = Counter(line["message"] for line in await lines(here, await run(here, "output.configures", name)))
    assert own["by print"] == own["by stderr"] == 1
    assert max(own.values()) == 1
    await assert_said(here, await run(here, "output.says"))


async def test_a_signal_handler_may_print(pod: tuple[Platform, Worker]) -> None:
    here, _ = pod
    id = await run(here, "output.ticks")
    said = [line["message"] for line in await lines(here, id)]
    ticks = int((await here.job(id))["result"]["text"])
    assert [line for line in said if line.startswith("line")] == [f"line {number}" for number in range(200)]
    assert {line for line in said if line.startswith("tick")} == {f"tick {number + 1}" for number in range(ticks)}


async def looks(here: Platform) -> dict[str, Any]:
    job = await here.job(await run(here, "output.looks"))
    state: dict[str, Any] = job["result"]["state"]
    return state


def changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {name: (value, after[name]) for name, value in before.items() if after[name] != value}


async def test_the_next_task_finds_the_process_as_it_was(pod: tuple[Platform, Worker]) -> None:
    here, _ = pod
    before = await looks(here)
    await run(here, "output.changes")
    assert changes(before, await looks(here)) == {}
    saved = await here.job(await run(here, "output.saves"))
    assert saved["result"] == {"text": "saved"}


async def test_the_next_task_has_another_process_where_it_could_not_be_as_it_was(pod: tuple[Platform, Worker]) -> None:
    here, _ = pod
    before = await looks(here)
    await run(here, "output.closes")
    await assert_said(here, await run(here, "output.says"))
    assert list(changes(before, await looks(here))) == ["pid"]
