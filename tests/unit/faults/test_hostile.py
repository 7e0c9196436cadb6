"""What hostile jobs must become, what they may not leave behind, and the table that says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.faults.catalogue import FAULTS
from tests.faults.mixed.census import MARK_VARIABLE, WORKER_VARIABLE, Census
from tests.faults.mixed.checker import check
from tests.faults.mixed.executions import FOLDER_VARIABLE
from tests.faults.mixed.history import Event, Exit, Fault, Ghost, History
from tests.faults.mixed.hostile.acts import ACTS
from tests.faults.mixed.hostile.kinds import FATAL_SIGNALS, KINDS, ODD_SIGNALS
from tests.faults.mixed.payload import mark
from tests.faults.mixed.seam import LEAVING, SOFT
from tests.faults.mixed.work import hostile_order
from tests.unit.faults.histories import JOB, KEY, WORKER, good_hostile
from tests.waiting import wait_for

from longhaul.task import load_tasks


def test_each_kind_has_its_act_its_task_and_its_fault() -> None:
    tasks = load_tasks(["tests.faults.mixed.hostile.tasks"])
    assert ACTS.keys() == KINDS.keys()
    assert {kind.task for kind in KINDS.values()} == tasks.keys()
    assert {kind.shows for kind in KINDS.values()} <= FAULTS.keys()
    assert {*SOFT, *LEAVING} <= KINDS.keys()


def test_a_crash_may_have_any_exit_code_and_any_signal_but_those_that_stop() -> None:
    stopping = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT}
    named = {*FATAL_SIGNALS, *ODD_SIGNALS}
    assert signal.valid_signals() - named <= stopping


def test_a_table_says_what_a_kind_may_become() -> None:
    kind = replace(KINDS["error.plain"], ends="succeeded | failed/unstorable | dead/*")
    assert kind.may_end("succeeded", None)
    assert kind.may_end("failed", "unstorable")
    assert kind.may_end("dead", "crash")
    assert not kind.may_end("failed", "task_failed")
    assert not kind.may_end("cancelled", None)


def became(history: History, state: str, code: str | None, ending: str, kind: str, variant: int = 0) -> None:
    """As if the hostile job were of this kind, and had become this."""
    history.orders[0] = replace(history.orders[0], kind=kind, variant=variant)
    error = {"code": code, "message": "No longer"} if code else None
    history.jobs[0] = replace(history.jobs[0], state=state, error=error)
    end = history.events[-1]
    end.type, end.ending, end.data = state, ending, {"ending": ending, "error": error}
    history.events = [one for one in history.events if "traceback" not in str(one.data)]
    end.seq = len(history.events)


def promises(history: History) -> set[str]:
    return {one.promise for one in check(history).violations}


def test_another_state_another_code_and_another_ending_are_seen() -> None:
    for state, code, ending in (("dead", "crash", "crashed"), ("failed", "unstorable", "permanent")):
        history = good_hostile()
        became(history, state, code, ending, "error.plain")
        assert promises(history) == {"hostile"}


def test_a_fault_of_its_worker_explains_the_end_of_a_hostile_job() -> None:
    history = good_hostile()
    became(history, "dead", "lease_lost", "lease_lost", "exit.code")
    assert "hostile" in promises(history)
    history.faults.append(Fault("worker.kill", 12.05, 12.1, [WORKER], [101]))
    assert promises(history) == set()


@pytest.mark.parametrize(
    ("kind", "variant", "evidence", "is_named"),
    [
        ("exit.code", 7, {"exit_code": 7}, True),
        ("exit.code", 7, {"exit_code": 70}, False),
        ("exit.code", 7, {}, False),
        ("signal.fatal", 4, {"signal": "SIGKILL"}, True),
        ("signal.fatal", 4, {"signal": "SIGTERM"}, False),
        ("signal.fatal", FATAL_SIGNALS.index(40), {"signal": "SIGRTMIN+6"}, True),
        ("signal.fatal", FATAL_SIGNALS.index(40), {"signal": "signal 40"}, True),
        ("signal.fatal", FATAL_SIGNALS.index(40), {"signal": "SIGRTMIN+7"}, False),
        ("signal.fatal", FATAL_SIGNALS.index(40), {"signal": ""}, False),
        ("signal.odd", 0, {"exit_code": 70}, True),
        ("signal.odd", 0, {"oom_killed": False}, False),
    ],
)
def test_the_evidence_of_a_crash_names_it(kind: str, variant: int, evidence: dict[str, object], is_named: bool) -> None:
    history = good_hostile()
    became(history, "dead", "crash", "crashed", kind, variant)
    history.executions[0].ending = "killed"
    history.events[-1].data["evidence"] = evidence
    assert promises(history) == (set() if is_named else {"hostile"})


def test_a_traceback_that_is_lost_is_seen() -> None:
    history = good_hostile()
    history.events = [one for one in history.events if "traceback" not in str(one.data)]
    history.events[-1].seq = len(history.events)
    assert promises(history) == {"I7"}


def test_output_that_was_not_captured_is_seen() -> None:
    history = good_hostile()
    became(history, "succeeded", None, "succeeded", "output.captured")
    assert any("wrote output 3 once, and its log has it 0 times" in one.sentence for one in check(history).violations)


def test_a_ghost_that_got_no_error_is_seen() -> None:
    history = good_hostile()
    history.ghosts = [Ghost(JOB, 1, 12.7, "log", "AttemptOver"), Ghost(JOB, 1, 12.1, "log", None)]
    assert promises(history) == set()  # the last before its attempt's end
    history.ghosts.append(Ghost(JOB, 1, 12.7, "checkpoint", None))
    assert promises(history) == {"ghosts"}


def freeze(history: History) -> None:
    history.faults.append(Fault("worker.freeze_past_lease", 12.0, 30.0, [WORKER]))


def end_of_the_container(history: History) -> None:
    history.exits.append(Exit(WORKER, 14.0, -9, was_told=True))


@pytest.mark.parametrize("explain", [freeze, end_of_the_container])
def test_a_process_that_outlives_its_attempt_is_seen(explain: Callable[[History], None]) -> None:
    history = good_hostile()
    history.started[0].last_seen_at = 25.0
    assert promises(history) == {"left behind"}
    explain(history)
    assert "left behind" not in promises(history)


def test_the_census_counts_programs_and_forks_by_their_marks(tmp_path: Path) -> None:
    fork = (
        "import os, ctypes, time, sys\n"
        "if os.fork() == 0:\n"
        f"    ctypes.CDLL(None).prctl(15, {mark(JOB, 2).encode()!r}, 0, 0, 0)\n"
        "time.sleep(60)\n"
    )
    environment = {**os.environ, WORKER_VARIABLE: "worker-7.1", FOLDER_VARIABLE: str(tmp_path)}
    marked = {**environment, MARK_VARIABLE: mark(JOB, 1)}
    census = Census()
    children = [
        subprocess.Popen([sys.executable, "-c", fork], env=environment, start_new_session=True),
        subprocess.Popen(["sh", "-c", "sleep 60 & sleep 60"], env=marked, start_new_session=True),
    ]
    try:
        wait_for(lambda: len(census.count()) == 4, what="a shell, its two sleepers and a fork were counted")
        assert {one.mark for one in census.started} == {mark(JOB, 1), mark(JOB, 2)}
        assert {one.worker for one in census.started} == {"worker-7.1"}
        census.bury("worker-7.1")
        wait_for(lambda: not census.count(), what="all of that worker's were ended")
        assert children[0].poll() is None  # a process that carries no mark is nobody's
    finally:
        for child in children:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def test_orders_of_a_seed_are_the_same_again() -> None:
    from random import Random

    assert hostile_order(KEY, "exit.code", Random(1)) == hostile_order(KEY, "exit.code", Random(1))
    assert isinstance(good_hostile().events[0], Event)
