"""The processes that a row measures: started with a log of their own, watched for CPU time and memory, and stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
STOP_SECONDS = 15.0
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class ProcessError(Exception):
    """A process of the bench did not start, or ended by itself."""


@dataclass
class Process:
    """A running process. `port` is where it serves HTTP, 0 where it does not."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    port: int = 0
    ended: bool = field(default=False, init=False)

    @property
    def pids(self) -> list[int]:
        """Its pid and those of all its descendants."""
        return tree(self.popen.pid)

    def cpu_seconds(self) -> float:
        """CPU time of the process and its living descendants."""
        return sum(cpu_seconds(pid) for pid in self.pids)

    def resident_bytes(self) -> int:
        """Resident memory of the process itself."""
        return int(Path(f"/proc/{self.popen.pid}/statm").read_text("ascii").split()[1]) * _PAGE_BYTES

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop it and its descendants by SIGSTOP, let them go on at the end."""
        pids = self.pids
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def wait_until(self, condition: Callable[[], bool], *, timeout_seconds: float, what: str) -> None:
        """Return once the condition holds. Raises ProcessError with the log's end where it does not, or the process ends."""
        until = time.monotonic() + timeout_seconds
        while not condition():
            code = self.popen.poll()
            if code is not None:
                raise ProcessError(f"{self.name} ended with {code}. {self.last_words()}")
            if time.monotonic() > until:
                raise ProcessError(f"{self.name}: not {what} after {timeout_seconds:g} s. {self.last_words()}")
            time.sleep(0.05)

    def last_words(self) -> str:
        return f"Its log ends:\n{self.log.read_text('utf-8', 'replace')[-2000:]}"

    def stop(self) -> None:
        """SIGTERM, then SIGKILL to whatever of it is left."""
        pids = self.pids
        self.popen.terminate()
        try:
            self.popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        for pid in pids[1:]:
            if _parent(pid) in (1, os.getpid()):  # an orphan: its number is not another's by now
                os.kill(pid, signal.SIGKILL)


@contextmanager
def started(
    name: str, command: Sequence[str], environment: Mapping[str, str], log: Path, *, port: int = 0
) -> Iterator[Process]:
    """Start a process in the repository's root; its output goes to the end of `log`. It is stopped at the end."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("LONGHAUL_")}
    with log.open("ab") as output:
        popen = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**inherited, "PYTHONPATH": str(ROOT), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is the bench's: it stops them in order
        )
    process = Process(name, popen, log, port)
    try:
        yield process
    finally:
        process.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tree(pid: int) -> list[int]:
    """A pid and those of all its descendants, parents first; empty where it has ended."""
    try:
        threads = [path.name for path in Path(f"/proc/{pid}/task").iterdir()]
        children = [
            int(child)
            for thread in threads
            for child in Path(f"/proc/{pid}/task/{thread}/children").read_text("ascii").split()
        ]
    except FileNotFoundError:
        return []
    return [pid, *(descendant for child in children for descendant in tree(child))]


def cpu_seconds(pid: int) -> float:
    """CPU time of one process, at the kernel's tick of 10 ms; 0 where it has ended."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND if fields else 0.0


def run_seconds(pid: int) -> float:
    """CPU time of a process' main thread in nanosecond steps, by the scheduler's account."""
    return int(Path(f"/proc/{pid}/schedstat").read_text("ascii").split()[0]) / 1e9


def machine_seconds() -> float:
    """CPU time that all processes of the machine have used since it started."""
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text("ascii").split()[1:8])
    return (user + nice + system + irq + softirq) / _TICKS_PER_SECOND


def _parent(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def _stat(pid: int) -> list[str]:
    """The fields of /proc/pid/stat after the command's name: state, parent, ..."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
