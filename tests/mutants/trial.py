"""A trial: a test on mutated code in processes of its own, and what that shows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.mutants import outcomes
from tests.mutants.mutation import ROOT, Mutation
from tests.mutants.outcomes import Outcome

TIMEOUT_SECONDS = 300.0
"""Of one run of pytest, for what the timeout of each test can't end."""
_END_SECONDS = 30.0
_WITHOUT = [f"-pno:{plugin}" for plugin in ("cacheprovider", "xdist", "schemathesis")]
"""Plugins that no named test needs. Schemathesis alone takes a third of a run's start."""
FAILED = f"{pytest.fail.Exception.__module__}.{pytest.fail.Exception.__qualname__}"
_ASSERTIONS = ("builtins.AssertionError", FAILED)
_TIMEOUT = "Timeout"  # what pytest-timeout says begins so, and it is no assertion of the test


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a trial showed."""

    mutation: Mutation
    is_caught: bool
    why: str
    """What the test said, or why it proves nothing, in one line."""
    seconds: float


def environment(packages: Path | None = None) -> dict[str, str]:
    """For processes that import the packages of this folder: they go before those of the editable installs, whose `.pth`
    files come after PYTHONPATH in `sys.path`. What the folder lacks is imported as ever."""
    places = [str(packages)] if packages else []
    inherited = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*places, str(ROOT), *([inherited] if inherited else [])])}


def run_tests(tests: Sequence[str], *, packages: Path | None = None) -> list[Outcome]:
    """Run tests until one fails, and return how they ended. Without `packages` all run, on the code as it is."""
    with tempfile.TemporaryDirectory(prefix="longhaul-outcomes-") as folder:
        file = Path(folder) / "outcomes.jsonl"
        options = ["-p", "tests.mutants.outcomes", "--outcomes", str(file), *_WITHOUT, *(["-x"] if packages else [])]
        command = [sys.executable, "-m", "pytest", *options, *tests]
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, cwd=ROOT, env=environment(packages), stdout=output, stderr=output)
            try:
                process.wait(TIMEOUT_SECONDS * (1 if packages else len(tests)))
            except subprocess.TimeoutExpired:
                _end(process)
        found = outcomes.read(file)
        if not found:
            tail = log.read_text("utf-8", errors="replace")[-2000:]
            found = [Outcome(test="", phase="collect", outcome="failed", message=f"no test ran:\n{tail}")]
        return found


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt pytest, so that its fixtures end their servers; kill it if it does not end."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def attempt(mutation: Mutation) -> Verdict:
    """Run a mutation's test on the code that it breaks."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="longhaul-mutant-") as folder:
        packages = Path(folder)
        mutation.write_packages(packages)
        problem = _import(mutation, packages)
        is_caught, why = (False, problem) if problem else judge(mutation, run_tests([mutation.test], packages=packages))
    return Verdict(mutation=mutation, is_caught=is_caught, why=why, seconds=time.monotonic() - began)


def judge(mutation: Mutation, found: Sequence[Outcome]) -> tuple[bool, str]:
    """Whether these outcomes show the broken rule: the test must have failed by its own assertion, or as it is written
    down. A failure of its surroundings proves nothing."""
    failed = [one for one in found if one.outcome == "failed"]
    if not failed:
        ran = any(one.phase == "call" and one.outcome == "passed" for one in found)
        return False, "survived: the test passed" if ran else "the test did not run"
    first = failed[0]
    said = f"{first.error.rpartition('.')[2]}: {_first_line(first.message)}" if first.error else first.message
    if first.phase != "call":
        return False, f"failed in its {first.phase}, which proves nothing: {said}"
    if mutation.error:
        return first.error == mutation.error, said if first.error == mutation.error else f"failed otherwise: {said}"
    is_assertion = first.error in _ASSERTIONS and not first.message.startswith(_TIMEOUT)
    is_own = first.error == FAILED or Path(first.raised_in).is_relative_to(ROOT / "tests")
    if is_assertion and is_own:
        return True, said
    return False, f"failed by no assertion of its own: {said} (in {first.raised_in})"


def _import(mutation: Mutation, packages: Path) -> str:
    """What is wrong with the changed modules, or with where Python finds them; empty where nothing is."""
    modules = [edit.module for edit in mutation.edits]
    script = (
        "import importlib, sys; print(*(importlib.import_module(name).__file__ for name in sys.argv[1:]), sep='\\n')"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script, *modules],
        cwd=ROOT,
        env=environment(packages),
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        return f"the changed code can't be imported: {answer.stderr.splitlines()[-1]}"
    elsewhere = [file for file in answer.stdout.splitlines() if not Path(file).is_relative_to(packages)]
    return f"Python does not import the changed code but {', '.join(elsewhere)}" if elsewhere else ""


def _first_line(text: str) -> str:
    return next(iter(text.splitlines()), "")
