"""What a task starts ends with it, whatever it made of itself; and whoever ends it goes on, whatever it may not kill."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import psutil
import pytest
from tests.waiting import wait_for

from longhaul_worker import process_tree

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process that becomes another user")

DROPS_THE_RIGHT_TO_KILL = """\
import ctypes, os, sys
PR_CAPBSET_DROP, CAP_KILL = 24, 5
ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_KILL, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
STRANGER = """\
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import os, time; os.setresuid(65534, 65534, 65534); print(os.getpid(), flush=True); time.sleep(600)"])
"""
"""Starts a process that becomes another user for good, and prints its pid."""
KILLS_A_POOL_CHILD = f"""\
import subprocess, sys
from longhaul_worker.pool_process import LinuxProcess
child = subprocess.Popen([sys.executable, "-c", {STRANGER + "time.sleep(600)"!r}], stdout=subprocess.PIPE)
print(int(child.stdout.readline()), flush=True)
LinuxProcess(child.pid).kill()
print(child.wait(10), flush=True)
"""
ENDS_WITH_SEVEN = STRANGER + "time.sleep(1.5)\nsys.exit(7)\n"
FIRST_THREAD_ENDS = """\
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
print("runs", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""
ODD_NAME = """\
import ctypes, time
ctypes.CDLL(None).prctl(15, b"caf\\xe9) Z", 0, 0, 0)
print("runs", flush=True)
time.sleep(600)
"""


def start_without_kill(*command: str, pass_fds: Collection[int] = ()) -> subprocess.Popen[bytes]:
    """As root without the right to kill another user's processes: what a user of a pod and a setuid program are."""
    drops = [sys.executable, "-c", DROPS_THE_RIGHT_TO_KILL, *command]
    return subprocess.Popen(drops, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=pass_fds)


def read_pid(process: subprocess.Popen[bytes]) -> psutil.Process:
    assert process.stdout is not None
    return psutil.Process(int(process.stdout.readline()))


@needs_root
def test_a_child_whose_descendant_became_another_user_is_killed_all_the_same() -> None:
    with start_without_kill(sys.executable, "-c", KILLS_A_POOL_CHILD) as process:
        stranger = read_pid(process)
        assert process.stdout is not None
        try:
            assert process.stdout.readline().strip() == b"-9"
        finally:
            stranger.kill()


@needs_root
def test_the_guard_lives_on_beside_a_process_that_it_may_not_kill() -> None:
    pid_pipe, its_end = os.pipe()
    guard = (sys.executable, "-I", "-S", process_tree.__file__, str(its_end))
    with start_without_kill(*guard, sys.executable, "-c", ENDS_WITH_SEVEN, pass_fds=(its_end,)) as process:
        os.close(its_end)
        stranger = read_pid(process)
        try:
            assert os.read(pid_pipe, 16).decode() == str(stranger.ppid())
            assert os.read(pid_pipe, 16) == b""  # nobody else can write to it
            assert process.wait(20) == 7
        finally:
            os.close(pid_pipe)
            stranger.kill()


@pytest.mark.parametrize(
    "program", [FIRST_THREAD_ENDS, ODD_NAME], ids=["its first thread ended", "its name is no text"]
)
def test_an_odd_process_is_ended(program: str) -> None:
    starts = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {program!r}])"
    with subprocess.Popen([sys.executable, "-c", starts], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (odd,) = psutil.Process(process.pid).children()
        if program is FIRST_THREAD_ENDS:
            wait_for(lambda: odd.status() == psutil.STATUS_ZOMBIE, what="its first thread has ended")
        try:
            assert process_tree.end_descendants(process.pid) == 1
            wait_for(lambda: process.poll() is not None, what="whoever waited for it went on")
        finally:
            for one in Path(f"/proc/{odd.pid}/task").glob("*"):
                os.kill(int(one.name), 9)
            process.kill()
