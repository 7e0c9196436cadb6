"""`longhaul up`, from an empty folder to a second day, and nothing left running at any end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from tests import servers

LONGHAUL = str(Path(sys.executable).parent / "longhaul")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("LONGHAUL_")}


class Up:
    """A running `longhaul up`."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [LONGHAUL, "up", "--home", str(home), *arguments],
            env={**ENVIRONMENT, "XDG_CACHE_HOME": str(home / "cache")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started: set[psutil.Process] = set()
        self.output = ""

    def read_until(self, pattern: str) -> re.Match[str]:
        assert self._process.stdout is not None
        while not (found := re.search(pattern, self.output)):
            line = self._process.stdout.readline()
            assert line, f"it ended before it said {pattern!r}:\n{self.output}"
            self.output += line
        self.remember()
        return found

    def remember(self) -> None:
        with suppress(psutil.NoSuchProcess):
            self._started |= set(psutil.Process(self._process.pid).children(recursive=True))

    def send(self, number: signal.Signals) -> None:
        self.remember()
        self._process.send_signal(number)

    def wait(self, timeout_seconds: float) -> int:
        rest, _ = self._process.communicate(timeout=timeout_seconds)
        self.output += rest
        return self._process.returncode

    def left(self) -> list[psutil.Process]:
        return [process for process in self._started if process.is_running() and process.status() != "zombie"]

    def end(self) -> None:
        self._process.kill()
        for process in self.left():
            with suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with servers.temporary_home() as one:
        yield one


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    (folder / "leases.md").write_text("A lease runs out when nobody renews it.\n" * 20)
    (folder / "cats.md").write_text("A cat sleeps on the warm roof.\n" * 20)
    return folder


@pytest.fixture
def start(home: Path) -> Iterator[type[Up]]:
    """`Up`, whose processes are gone at the end of the test."""
    running: list[Up] = []

    class Started(Up):
        def __init__(self, *arguments: str) -> None:
            super().__init__(home, *arguments)
            running.append(self)

    yield Started
    for one in running:
        one.end()
