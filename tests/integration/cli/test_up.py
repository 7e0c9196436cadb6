"""`longhaul up`, from an empty folder to a second day, and nothing left running at any end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import psutil
import pytest
from tests import servers
from tests.waiting import wait_for

from longhaul.client import Client
from longhaul.errors import ConfigurationError
from longhaul_cli.processes import Part, PartEnded, while_running

LONGHAUL = str(Path(sys.executable).parent / "longhaul")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("LONGHAUL_")}


class Up:
    """A running `longhaul up`."""

    def __init__(self, home: Path, *arguments: str, **environment: str) -> None:
        self._process = subprocess.Popen(
            [LONGHAUL, "up", "--home", str(home), *arguments],
            env={**ENVIRONMENT, "XDG_CACHE_HOME": str(home / "cache"), **environment},
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
        return [process for process in self._started if _is_alive(process)]

    def end(self) -> None:
        self._process.kill()
        for process in self.left():
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between the two questions
        return False


@pytest.fixture
def home() -> Iterator[Path]:
    with servers.temporary_home() as one:
        yield one


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    (tmp_path / "leases.md").write_text("A lease runs out when nobody renews it.\n" * 20)
    (tmp_path / "cats.md").write_text("A cat sleeps on the warm roof.\n" * 20)
    return tmp_path


@pytest.fixture
def start(home: Path, texts: Path) -> Iterator[Callable[..., Up]]:
    """Starts `longhaul up` on the small texts; its processes are gone at the end of the test."""
    running: list[Up] = []

    def start_up(*arguments: str, **environment: str) -> Up:
        running.append(Up(home, "--folder", str(texts), "--query", "who renews a lease", *arguments, **environment))
        return running[-1]

    yield start_up
    for one in running:
        one.end()


def test_four_days_of_longhaul_up(start: Callable[..., Up], home: Path, texts: Path) -> None:
    # The first day: everything is made, the job runs, everything ends.
    first = start("--once", "--json", "--port", "0")
    assert first.wait(60) == 0, first.output
    document, _ = json.JSONDecoder().raw_decode(first.output, first.output.index("{\n"))
    assert document["job"]["state"] == "succeeded"
    assert document["result"]["matches"][0]["path"] == "leases.md"
    assert "The ledger is new" in first.output

    # The second: yesterday's job is there. Ctrl-C while jobs run: they are handed over, and nothing is left.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        second = start("--port", str(port))
        url = second.read_until(r"Longhaul is up: (http://127\.0\.0\.1:\d+)")[1]
    assert f"Port {port} is taken" in second.output
    assert "The ledger holds 1 job of earlier runs." in second.output
    second.read_until("Serving until Ctrl-C")
    assert "leases.md" in second.output
    environment = home / "environment"
    assert environment.stat().st_mode & 0o777 == 0o600
    assert "export LONGHAUL_DATABASE_URL=" in environment.read_text()
    with Client(url) as client:
        sleeping = client.submit("demo.sleep", {"seconds": 3600, "steps": 100_000})
        assert next(event for event in client.events(sleeping.id) if event.type == "checkpoint")
        # As a job of `up` that had not begun.
        client.pause("documents")
        params = {"folders": [str(texts)], "query": "who renews a lease"}
        index = client.submit("documents.index", params, metadata={"submitted_by": "longhaul up"})
    second.send(signal.SIGINT)
    assert second.wait(20) == 0, second.output
    assert "Stopped." in second.output
    assert "Traceback" not in second.output
    assert second.left() == []
    assert not environment.exists()

    # The third: both go on where they were. A kill -9 leaves nothing either.
    third = start("--port", "0")
    url = third.read_until(r"Longhaul is up: (http://127\.0\.0\.1:\d+)")[1]
    assert "The ledger holds 4 jobs of earlier runs; those that had not ended (2) go on." in third.output
    third.read_until(f"The job {index.id} had not ended: it goes on.")
    with Client(url) as client:
        client.resume("documents")
        third.read_until("Serving until Ctrl-C")
        assert client.get(index.id).state == "succeeded"
        assert next(event for event in client.events(sleeping.id) if event.attempt == 2)
        assert [attempt.ending for attempt in client.attempts(sleeping.id)] == ["handed_over", None]
    third.send(signal.SIGKILL)
    assert third.wait(20) == -signal.SIGKILL
    wait_for(lambda: not third.left(), timeout_seconds=20, what="nothing was left of a killed `up`")

    # The fourth goes wrong.
    fourth = start("--once", LONGHAUL_LOG_LEVEL="loud")
    assert fourth.wait(30) == 1, fourth.output
    assert "ended with exit code 2. Its log" in fourth.output
    assert "LONGHAUL_LOG_LEVEL: Input should be" in fourth.output
    assert "Traceback" not in fourth.output


@pytest.mark.anyio
async def test_a_part_that_ends_by_itself_is_said_with_its_log(tmp_path: Path) -> None:
    environment = {
        **ENVIRONMENT,
        "LONGHAUL_DATABASE_URL": "mysql://nowhere",
        "LONGHAUL_REDIS_URL": "redis://127.0.0.1:9",
    }
    log = tmp_path / "longhaul-controller.log"
    part = Part("longhaul-controller", environment=environment, log=log, folder=tmp_path, stop_seconds=1)
    async with part:
        with pytest.raises(
            PartEnded, match=r"(?s)longhaul-controller ended with exit code \d+\. .*LONGHAUL_DATABASE_URL"
        ):
            await while_running([part], anyio.sleep_forever())
    async with part:
        await part.wait()
    assert "LONGHAUL_DATABASE_URL" in (tmp_path / "longhaul-controller.previous.log").read_text()


@pytest.mark.anyio
async def test_a_program_that_is_not_installed_is_said(tmp_path: Path) -> None:
    part = Part("no-such-part", environment=ENVIRONMENT, log=tmp_path / "log", folder=tmp_path, stop_seconds=1)
    with pytest.raises(ConfigurationError, match=r"There is no no-such-part in .*: install the package"):
        await part.__aenter__()
