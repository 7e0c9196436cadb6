"""What a task starts ends with its attempt: subprocesses, their children, daemons that forked twice.

Linux hands an orphan to its nearest ancestor that is a *subreaper* (prctl(2)), so nothing below a subreaper can leave its
tree. Each pool child is one, and ends what is left below it before it reports an attempt's end. The guard, between keeper
and Celery, is one too: it ends what a pool child that died left behind, and everything once its keeper is gone. So is the
keeper, in case the guard is killed.

Standard library only: the guard runs as a script, so that it costs a pod few megabytes and starts at once.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_SWEEP_EVERY_SECONDS = 1.0
_PAUSE_SECONDS = 0.005
_MAX_DESCRIPTORS = 65_536
END_SECONDS = 5.0
"""How long processes may take to die of SIGKILL: one in uninterruptible sleep (a dead NFS server) takes longer."""


def adopt_orphans() -> None:
    """Make this process the parent of every orphan below it."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies. Runs between fork and exec, too."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def parent_of(pid: int) -> int | None:
    """The parent's pid; None if the process is gone."""
    fields = _read_stat(pid)
    return int(fields[1]) if fields else None


def end_descendants(pid: int, *, keep: int | None = None, seconds: float = END_SECONDS) -> int:
    """Kill everything below a process, except the tree of `keep`, until nothing is left or the time is over. Returns how
    many processes it met alive. What becomes a child of this process thereby is reaped.
    """
    ends_at, met = time.monotonic() + seconds, set()
    while found := list(_descendants(pid, keep)):
        for number in found:
            if _is_dead(number):
                continue
            met.add(number)
            with suppress(OSError):  # it is gone, or it became another user as sudo does (EPERM)
                os.kill(number, signal.SIGKILL)
        _reap(found)
        if time.monotonic() > ends_at:
            break
        if list(_descendants(pid, keep)):
            time.sleep(_PAUSE_SECONDS)
    return len(met)


def _descendants(pid: int, keep: int | None) -> Iterator[int]:
    pending = [pid]
    while pending:
        for child in _children(pending.pop()):
            if child != keep:
                pending.append(child)
                yield child


def _children(pid: int) -> list[int]:
    """Of all threads of a process; the kernel keeps them apart."""
    found: list[int] = []
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found += map(int, (thread / "children").read_text().split())
    return found


def _read_stat(pid: int) -> list[bytes] | None:
    try:
        # Bytes: the name of a process, which is cut to 15 of them, need not be UTF-8.
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None


def _is_dead(pid: int) -> bool:
    """Gone or a zombie. One whose first thread alone has ended (pthread_exit(3) in `main`) is a zombie to look at, and runs."""
    fields = _read_stat(pid)
    if fields is None or fields[0] != b"Z":
        return fields is None
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir())) <= 1
    except OSError:
        return True


def _reap(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ChildProcessError):  # somebody else's child, or waited for already
            os.waitpid(pid, os.WNOHANG)


def guard(pid_pipe: int, command: list[str]) -> int:
    """Run a command, end every orphan below it, and end all of it once standard input is closed: the keeper's death.

    The process of the command writes its pid to the descriptor `pid_pipe` before it runs anything: orphans become children
    of the guard too, and must not pass for it. SIGTERM is passed on to the command. Returns its exit code, 128 and its number
    for a signal.
    """
    # The keeper's event loop leaves copies of its end of standard input open in what it starts: a task that wrote to one
    # would end all.
    os.closerange(3, pid_pipe)
    os.closerange(pid_pipe + 1, min(os.sysconf("SC_OPEN_MAX"), _MAX_DESCRIPTORS))
    adopt_orphans()
    main = os.fork()
    if main == 0:
        die_with_parent()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        with Path(os.devnull).open() as nothing:
            os.dup2(nothing.fileno(), 0)
        os.write(pid_pipe, b"%d" % os.getpid())
        os.close(pid_pipe)
        os.execvp(command[0], command)  # noqa: S606 - a list of arguments, as everywhere
    os.close(pid_pipe)
    wakeup, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: _terminate(main))
    while True:
        readable, _, _ = select.select([0, wakeup], [], [], _SWEEP_EVERY_SECONDS)
        if wakeup in readable:
            os.read(wakeup, 4096)
        status = _wait(main)
        if status is None and not (0 in readable and not os.read(0, 4096)):
            end_descendants(os.getpid(), keep=main, seconds=0.0)
            continue
        end_descendants(os.getpid())
        code = os.waitstatus_to_exitcode(status) if status is not None else -signal.SIGKILL
        return code if code >= 0 else 128 - code


def _terminate(pid: int) -> None:
    with suppress(OSError):  # it has ended just now
        os.kill(pid, signal.SIGTERM)


def _wait(pid: int) -> int | None:
    """The status of a process that ended; None while it runs."""
    waited, status = os.waitpid(pid, os.WNOHANG)
    return status if waited else None


if __name__ == "__main__":
    sys.exit(guard(int(sys.argv[1]), sys.argv[2:]))
