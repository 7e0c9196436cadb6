"""A child that is dead is left alone: its number and its descriptor may already be another's."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from longhaul_worker.pool_process import LinuxProcess

pytestmark = pytest.mark.anyio


@contextmanager
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as one:
        yield one
        one.kill()


async def test_to_kill_a_dead_child_kills_no_other() -> None:
    with process() as dead:
        child = LinuxProcess(dead.pid)
        dead.kill()
        await child.wait_dead()
        with process() as bystander:
            LinuxProcess(bystander.pid)  # its pidfd gets the number of the one that was just closed
            child.kill()
            with pytest.raises(subprocess.TimeoutExpired):
                bystander.wait(0.5)
