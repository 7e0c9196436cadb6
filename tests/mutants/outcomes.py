"""A plugin of pytest: `--outcomes FILE` writes how each phase of each test ended, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a phase of a test ended. One of pytest's own (collecting a file) has the phase `collect`."""

    test: str
    phase: str
    outcome: str
    error: str = ""
    """The class of what was raised, with its module."""
    message: str = ""
    raised_in: str = ""
    """The file whose code raised it."""


def read(file: Path) -> list[Outcome]:
    """What a run wrote."""
    return [Outcome(**json.loads(line)) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--outcomes", type=Path, default=None, help="write how each phase of each test ended into a file")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    facts: dict[str, Any] = {}
    if call.excinfo is not None:
        raised = call.excinfo
        facts = {
            "error": f"{raised.type.__module__}.{raised.type.__qualname__}",
            "message": str(raised.value),
            "raised_in": str(raised.traceback[-1].path),
        }
    _write(item.config, Outcome(test=item.nodeid, phase=report.when, outcome=report.outcome, **facts))
    return report


class _Collected:
    """A hook that has no other way to the configuration."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            message = report.longreprtext
            _write(self._config, Outcome(test=report.nodeid, phase="collect", outcome="failed", message=message))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Collected(config))


def _write(config: pytest.Config, outcome: Outcome) -> None:
    if file := config.getoption("outcomes"):
        with file.open("a", encoding="utf-8") as lines:
            print(json.dumps(asdict(outcome)), file=lines)
