"""Become a server that ends with the process that started it.

Run as a script, by path, with nothing but the standard library: `launcher.py UID GID SIGNAL PARENT FOLDER PROGRAM ...`
switches from root to that user, has the kernel send SIGNAL when PARENT dies, enters FOLDER and executes PROGRAM. A
program of its own, and no `preexec_fn`: that runs Python between fork and exec, which is unsafe beside other threads.
"""

from __future__ import annotations

import ctypes  # here, as root: the other user may not be able to read this Python
import os
import sys

MAY_NOT_SWITCH = 124
CANT_ENTER = 125
CANT_RUN = 126
"""Exit codes that say why PROGRAM never began; 126 is the shell's own."""

_PR_SET_PDEATHSIG = 1


def become(uid: int, gid: int, signal: int, parent: int, folder: str, program: list[str]) -> None:
    """Does not return unless PROGRAM could not begin: then it exits with one of the codes above."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
    if os.geteuid() != uid:
        try:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
        except PermissionError:
            sys.exit(MAY_NOT_SWITCH)
    if prctl is not None:
        # After the switch of user, which clears it (prctl(2)); before the look at the parent, which may be dead already.
        prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(0)
    os.umask(0o077)
    try:
        os.chdir(folder)
    except PermissionError:
        sys.exit(CANT_ENTER)
    try:
        os.execv(program[0], program)  # noqa: S606  # no shell is the point
    except PermissionError:
        sys.exit(CANT_RUN)


if __name__ == "__main__":
    _uid, _gid, _signal, _parent = map(int, sys.argv[1:5])
    become(_uid, _gid, _signal, _parent, sys.argv[5], sys.argv[6:])
