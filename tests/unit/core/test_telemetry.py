"""Logging changes nothing of what a process does, wherever its output goes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SETUP = """\
import logging, signal, sys, time
import structlog
from longhaul import telemetry
telemetry.setup_logs("test", log_format="json", log_level="info")
log, library = structlog.get_logger(), logging.getLogger("a.library")
"""
LOGS = """\
for number in range(100):
    log.info("an_event", number=number)
    library.warning("a record %d", number)
print("went on")
"""
LOGS_IN_A_SIGNAL_HANDLER = """\
ticks = 0
def tick(*_):
    global ticks
    ticks += 1
    log.info("tick")
    library.warning("tick")
signal.signal(signal.SIGALRM, tick)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
until = time.monotonic() + 1
while time.monotonic() < until:
    log.info("an_event")
    library.warning("a record")
print("went on" if ticks > 10 else ticks)
"""
ODD_LINES = """\
class Odd:
    def __str__(self):
        raise LookupError
log.info("caf\\udce9.txt")
library.warning("%s", Odd())
print("went on")
"""


def run(program: str, stderr: int, *, close: bool = False) -> str:
    """What a process prints that is set up to log and then runs a program."""
    first = "import sys; sys.stderr.close()\n" if close else ""
    command = [sys.executable, "-c", first + SETUP + program]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, timeout=30, check=False)
    return done.stdout.decode().strip()


@pytest.fixture
def pipe_without_reader() -> Iterator[int]:
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def test_a_log_collector_that_is_gone_changes_nothing(pipe_without_reader: int) -> None:
    assert run(LOGS, pipe_without_reader) == "went on"


def test_a_full_disk_changes_nothing() -> None:
    with Path("/dev/full").open("wb") as full:
        assert run(LOGS, full.fileno()) == "went on"


@pytest.mark.parametrize("program", [LOGS, ODD_LINES])
def test_a_closed_output_changes_nothing(program: str) -> None:
    assert run(program, subprocess.DEVNULL, close=True) == "went on"


def test_a_signal_handler_may_log_while_its_thread_logs() -> None:
    assert run(LOGS_IN_A_SIGNAL_HANDLER, subprocess.DEVNULL) == "went on"
