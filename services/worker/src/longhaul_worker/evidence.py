"""What is known of a process: its peak memory while it lives, how it ended, whether the kernel killed it for memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from longhaul.signals import name_signal
from longhaul_worker.session.child import EXIT_KEEPER_GONE, EXIT_OUT_OF_STATE, EXIT_UNREPORTED

_CGROUP_EVENTS = (
    Path("/sys/fs/cgroup/memory.events"),  # cgroup v2
    Path("/sys/fs/cgroup/memory/memory.oom_control"),  # cgroup v1
)


def read_peak_memory_bytes(pid: int) -> int | None:
    """The largest resident size that a process had so far; None where it is gone or the system does not say."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def read_oom_kills() -> int:
    """How many processes of this container the kernel has killed for memory; 0 where the system does not say."""
    for path in _CGROUP_EVENTS:
        try:
            for line in path.read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        except (OSError, ValueError, IndexError):
            continue
    return 0


_EXIT_NAMES: Final = {
    0: "it ended by itself, with os._exit(0) or in a fork of its own",
    EXIT_KEEPER_GONE: "its connection to its keeper was closed",
    EXIT_UNREPORTED: "it could not report how the task ended",
    EXIT_OUT_OF_STATE: "it broke the protocol with its keeper",
    126: "a command can't be executed",
    127: "a command was not found",
}


def describe_exit(exit_code: int | None, *, oom_killed: bool, peak_memory_bytes: int | None) -> dict[str, Any]:
    """The evidence of a process's end, for people and programs. `exit_code` is negative for a signal."""
    evidence: dict[str, Any] = {"oom_killed": oom_killed}
    if peak_memory_bytes is not None:
        evidence["peak_memory_bytes"] = peak_memory_bytes
    if exit_code is not None and exit_code < 0:
        evidence["signal"] = name_signal(-exit_code)
    elif exit_code is not None:
        evidence["exit_code"] = exit_code
        if name := _EXIT_NAMES.get(exit_code):
            evidence["exit_name"] = name
    return evidence
