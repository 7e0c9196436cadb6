"""The mutants: each applies to the code as it is, each names a test that exists, and only a broken rule counts as caught.

Whether each is caught shows `make mutants`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.mutants import trial
from tests.mutants.__main__ import failures_unmutated
from tests.mutants.catalogue import MUTATIONS
from tests.mutants.mutation import ROOT, DoesNotApply, Edit, Mutation
from tests.mutants.outcomes import Outcome
from tests.pods import platform

IDS = "services/core/src/longhaul/ids.py"
IDS_TESTS = "tests/unit/core/test_ids.py"
PROGRAMS = {
    "longhaul-api": "longhaul_api",
    "longhaul-worker": "longhaul_worker",
    "longhaul-controller": "longhaul_controller",
}
CANARY = "this code was changed"


def mutation(*edits: Edit, test: str = f"{IDS_TESTS}::test_no_two_ids_are_equal", error: str | None = None) -> Mutation:
    return Mutation(name="canary", breaks="Something.", edits=edits, test=test, error=error)


# What there is.


@pytest.mark.parametrize("one", MUTATIONS, ids=lambda one: one.name)
def test_a_mutation_applies(one: Mutation) -> None:
    assert one.sources().keys() == set(one.files)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", one.name)
    assert re.fullmatch(r"[A-Z][^.]*\.", one.breaks), "it is one sentence"


def test_there_are_enough_and_no_name_is_used_twice() -> None:
    assert len({one.name for one in MUTATIONS}) == len(MUTATIONS) >= 25


def test_the_named_tests_exist() -> None:
    files = sorted({one.test.partition("::")[0] for one in MUTATIONS})
    options = ["--collect-only", "-q", "-o", "addopts=--import-mode=importlib", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, *files]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    collected = set(answer.stdout.splitlines())
    tests = {line.partition("[")[0] for line in collected} | collected
    assert [one.test for one in MUTATIONS if one.test not in tests] == []


# What a mutation is.


@pytest.mark.parametrize("old", ["no such text", "random"], ids=["missing", "twice"])
def test_an_anchor_that_is_not_there_once_is_an_error(old: str) -> None:
    with pytest.raises(DoesNotApply, match="instead of once"):
        mutation(Edit(IDS, old, "x")).sources()


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (Edit(IDS, "return UUID(", "return UUID(("), "no Python"),
        (Edit(IDS, "  # the version, and the variant of RFC 9562", ""), "means the same"),
    ],
    ids=["no Python", "only a comment"],
)
def test_a_change_must_be_one(edit: Edit, sentence: str) -> None:
    with pytest.raises(DoesNotApply, match=sentence):
        mutation(edit).sources()


# What counts as caught.


def outcome(
    phase: str = "call", error: str = "builtins.AssertionError", message: str = "", raised_in: str = ""
) -> Outcome:
    raised_in = raised_in or str(ROOT / "tests" / "unit" / "test_x.py")
    return Outcome(test="t", phase=phase, outcome="failed", error=error, message=message, raised_in=raised_in)


PASSED = Outcome(test="t", phase="call", outcome="passed")
SKIPPED = Outcome(test="t", phase="setup", outcome="skipped")
BY_PYTEST = "site-packages/_pytest/outcomes.py"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (outcome(), True),
        (outcome(error=trial.FAILED, message="DID NOT RAISE ValueError", raised_in=BY_PYTEST), True),
        (PASSED, False),
        (SKIPPED, False),
        (outcome("setup"), False),
        (outcome("teardown"), False),
        (Outcome(test="", phase="collect", outcome="failed", message="ImportError"), False),
        (outcome(error="builtins.TypeError"), False),
        (outcome(error=trial.FAILED, message="Timeout (>120.0s) from pytest-timeout.", raised_in=BY_PYTEST), False),
        (outcome(raised_in=str(ROOT / "services" / "core" / "src" / "longhaul" / "ids.py")), False),
    ],
    ids=[
        "assertion",
        "nothing raised",
        "passed",
        "skipped",
        "fixture",
        "teardown",
        "import",
        "error",
        "timeout",
        "theirs",
    ],
)
def test_only_the_tests_own_failure_counts(found: Outcome, expected: bool) -> None:
    is_caught, why = trial.judge(mutation(), [found])
    assert is_caught == expected
    assert why


def test_an_error_that_was_expected_counts_and_no_other() -> None:
    expects = mutation(error="builtins.TimeoutError")
    assert trial.judge(expects, [outcome(error="builtins.TimeoutError")])[0]
    assert not trial.judge(expects, [outcome()])[0]
    assert not trial.judge(expects, [outcome("setup", error="builtins.TimeoutError")])[0]


# Trials of real code.


def test_a_broken_rule_is_caught_and_the_checkout_stays_as_it_is() -> None:
    before = (ROOT / IDS).read_bytes()
    verdict = trial.attempt(mutation(Edit(IDS, "int=value | 0x7", "int=0x7")))
    assert verdict.is_caught, verdict.why
    assert "50000" in verdict.why
    assert (ROOT / IDS).read_bytes() == before


def test_what_no_test_notices_survives() -> None:
    verdict = trial.attempt(mutation(Edit(IDS, "0x7 << 76", "0x6 << 76")))
    assert (verdict.is_caught, verdict.why) == (False, "survived: the test passed")


def test_code_that_can_not_be_imported_proves_nothing() -> None:
    verdict = trial.attempt(mutation(Edit(IDS, "import os\n", "import no_such_module as os\n")))
    assert not verdict.is_caught
    assert "can't be imported" in verdict.why


def test_a_test_that_fails_on_the_code_as_it_is_is_told() -> None:
    test = f"{IDS_TESTS}::test_no_two_ids_are_equal"
    assert failures_unmutated([test], processes=1) == []
    (failure,) = failures_unmutated([f"{IDS_TESTS}::test_that_is_not_there"], processes=1)
    assert "test_that_is_not_there" in failure


# The canary: every process of Longhaul runs the changed code.


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Changed packages, where the processes that a test starts look first. Each program says that it is changed."""
    folder = tmp_path / "changed"
    mains = [f"services/{program.partition('-')[2]}/src/{package}/main.py" for program, package in PROGRAMS.items()]
    says = f"    print({CANARY!r}, flush=True)\n"
    mutation(
        *[Edit(main, "    start()\n", f"{says}    start()\n") for main in mains],
        Edit(IDS, "0x7 << 76", "0x6 << 76"),
    ).write_packages(folder)
    monkeypatch.setenv("PYTHONPATH", trial.environment(folder)["PYTHONPATH"])
    return folder


@pytest.mark.usefixtures("changed")
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_runs_the_changed_code(program: str) -> None:
    command = [str(Path(sys.executable).parent / program)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LONGHAUL_")}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert answer.stdout.startswith(CANARY)
    assert answer.returncode == 2  # it goes on to miss its settings


@pytest.mark.anyio
async def test_a_job_runs_in_the_changed_code(changed: Path, database_url: str, redis_url: str, tmp_path: Path) -> None:
    """From the keeper through Celery to the process that runs the task: each starts the next one."""
    names = ["longhaul.job", "longhaul_worker"]
    with platform(database_url, redis_url, tmp_path, LONGHAUL_TASKS="tests.mutants.where_tasks") as here:
        worker = here.start_worker()
        job = await here.wait_state(await here.submit("canary.where", {"names": names}), "succeeded")
        assert worker.log.startswith(CANARY)
    files = [Path(file) for file in job["result"]["files"]]
    assert [file.is_relative_to(changed) for file in files] == [True] * len(names), files
