"""`demo.*`: each fault that a test of the platform may ask for really happens."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
import threading
import time
from typing import Any
from uuid import uuid4

import pytest
from pydantic import JsonValue

from longhaul import Cancelled, HandOver, Job, Permanent, Retryable
from longhaul.task import load_tasks
from longhaul.testing import RecordingChannel, recording_job
from longhaul_examples.demo import (
    AsyncSleepParams,
    Echo,
    EchoParams,
    SleepParams,
    SleepResult,
    async_sleep,
    echo,
    hold_gil,
    sleep,
)


def run(
    line: RecordingChannel | None = None, *, checkpointed: JsonValue = None, attempt: int = 1, **given: Any
) -> SleepResult:
    job = Job(
        id=uuid4(),
        task="demo.sleep",
        attempt=attempt,
        epoch=1,
        checkpointed=checkpointed,
        channel=line or RecordingChannel(),
    )
    result = sleep(job, SleepParams.model_validate({"seconds": 0, "steps": 4} | given))
    assert isinstance(result, SleepResult)
    return result


def test_sleeps_its_steps_and_returns_the_payload() -> None:
    line = RecordingChannel()
    started = time.monotonic()
    result = run(line, seconds=0.2, payload={"a": [1, None]})
    assert time.monotonic() - started >= 0.2
    assert (result.attempt, result.steps_done, result.steps_done_here) == (1, 4, 4)
    assert result.echo == {"a": [1, None]}
    assert line.fractions[-1] == 1
    assert line.checkpoints == [{"steps_done": done} for done in (1, 2, 3, 4)]


def test_checkpoints_as_often_as_asked() -> None:
    line = RecordingChannel()
    run(line, steps=7, checkpoint_every=3)
    assert line.checkpoints == [{"steps_done": 3}, {"steps_done": 6}]
    without = RecordingChannel()
    run(without, checkpoint_every=0)
    assert without.checkpoints == []


def test_resumes_from_its_checkpoint() -> None:
    result = run(checkpointed={"steps_done": 3}, attempt=2)
    assert (result.attempt, result.steps_done, result.steps_done_here) == (2, 4, 1)


def test_fails_on_the_attempts_named_after_the_steps_named() -> None:
    line = RecordingChannel()
    with pytest.raises(Retryable, match="attempt 2"):
        run(line, attempt=2, fail_on_attempts=[2, 3], fault_after_steps=2)
    assert len(line.checkpoints) == 2
    assert run(attempt=4, fail_on_attempts=[2, 3]).steps_done == 4


def test_fails_for_good() -> None:
    with pytest.raises(Permanent):
        run(permanent=True)


def test_stops_when_it_is_cancelled_or_drained() -> None:
    with pytest.raises(Cancelled):
        run(RecordingChannel(cancelled=True), seconds=3600)
    draining = RecordingChannel(hand_over=True)
    with pytest.raises(HandOver):
        run(draining, seconds=3600)
    assert draining.checkpoints == [{"steps_done": 0}]


def test_goes_on_in_spite_of_a_stop_where_asked() -> None:
    result = run(RecordingChannel(cancelled=True, hand_over=True), ignore_stop=True)
    assert result.steps_done == 4
    assert result.stops_ignored == 8


def test_logs_the_lines_asked_for() -> None:
    line = RecordingChannel()
    run(line, log_lines=3)
    assert [message for _, message, _ in line.logs] == ["Line 1 of 3.", "Line 2 of 3.", "Line 3 of 3."]


PROGRAM = """
import json, resource, sys
from longhaul.testing import recording_job
from longhaul_examples.demo import SleepParams, sleep
given = json.loads(sys.argv[1])
sleep(recording_job()[0], SleepParams.model_validate({"seconds": 0, "steps": 4} | given))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_exits_with_the_code_asked_for() -> None:
    given = json.dumps({"exit_code": 42, "fault_after_steps": 1})
    assert subprocess.run([sys.executable, "-c", PROGRAM, given], check=False).returncode == 42
    assert run(attempt=2, exit_code=42).steps_done == 4


def test_fills_the_memory_asked_for() -> None:
    given = json.dumps({"allocate_mib": 200})
    peak_kib = int(subprocess.check_output([sys.executable, "-c", PROGRAM, given]))
    assert peak_kib > 200 * 1024


def test_holds_the_gil_in_one_call() -> None:
    ticks: list[float] = []
    done = threading.Event()

    def tick() -> None:
        while not done.wait(0.005):
            ticks.append(time.monotonic())

    ticker = threading.Thread(target=tick)
    ticker.start()
    hold_gil(0.5)
    done.set()
    ticker.join()
    longest = max(after - before for before, after in zip(ticks, [*ticks[1:], time.monotonic()], strict=True))
    assert longest > 0.3


def test_echo_returns_the_payload() -> None:
    assert echo(recording_job()[0], EchoParams(payload=[1, "two"])) == Echo(echo=[1, "two"])


def test_async_sleep_sleeps_in_an_event_loop() -> None:
    job, line = recording_job()
    sleeping = async_sleep(job, AsyncSleepParams(seconds=0.05, payload="x"))
    assert inspect.iscoroutine(sleeping)
    assert asyncio.run(sleeping) == Echo(echo="x")
    assert line.fractions[0] < 0.5
    cancelled, _ = recording_job(channel=RecordingChannel(cancelled=True))
    waiting = async_sleep(cancelled, AsyncSleepParams(seconds=3600))
    assert inspect.iscoroutine(waiting)
    with pytest.raises(Cancelled):
        asyncio.run(waiting)


def test_all_example_tasks_load() -> None:
    tasks = load_tasks(["longhaul_examples.documents", "longhaul_examples.reports", "longhaul_examples.demo"])
    assert {name: one.spec.queue for name, one in tasks.items()} == {
        "documents.index": "documents",
        "reports.csv": "reports",
        "demo.sleep": "default",
        "demo.async_sleep": "default",
        "demo.echo": "default",
    }
