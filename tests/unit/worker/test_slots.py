"""A child that is dead is left alone: its number and its descriptor may already be another's."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from longhaul_worker.slots import PoolChild

pytestmark = pytest.mark.anyio


@contextmanager
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as one:
        yield one
        one.kill()


async def test_to_kill_a_dead_child_kills_no_other() -> None:
    here, there = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=here)
    with there, process() as dead:
        child = PoolChild(dead.pid, 0, writer)
        dead.kill()
        await child.wait_dead(asyncio.Event())
        with process() as bystander:
            PoolChild(bystander.pid, 1, writer)  # its pidfd gets the number of the one that was just closed
            child.kill()
            with pytest.raises(subprocess.TimeoutExpired):
                bystander.wait(0.5)
    writer.close()
