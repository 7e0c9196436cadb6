"""A process of Longhaul's that `up` started: its log in a file, its end noticed, nothing of it left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import sysconfig
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from longhaul.errors import ConfigurationError, LonghaulError

T = TypeVar("T")
_LOG_LINES_SHOWN = 15
_LOG_BYTES_READ = 16 * 1024


class PartEnded(LonghaulError):
    """A part of Longhaul ended by itself: its log says why."""

    code = "part_ended"


class Part:
    """One process. An async context manager: starts it, and at the end stops it with everything it started.

    It gets a session of its own, so that Ctrl-C in the terminal does not reach it, and is killed by the kernel where
    this process dies (Linux).
    """

    def __init__(
        self, program: str, *, environment: Mapping[str, str], log: Path, folder: Path, stop_seconds: float
    ) -> None:
        """`program` is a console script of this Python environment; it has `stop_seconds` to end after SIGTERM."""
        self.program = program
        self.log = log
        self._environment = environment
        self._folder = folder
        self._stop_seconds = stop_seconds
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> Self:
        command = _bound_to_us(self._folder, [str(_script(self.program))])
        log = _open_log(self.log)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        finally:
            os.close(log)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        try:
            with suppress(ProcessLookupError):
                self._process.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), self._stop_seconds)
        finally:  # also where a second Ctrl-C cuts the wait short
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            await self._process.wait()

    async def wait(self) -> int:
        """Wait for its end; returns the exit code, negative for a signal."""
        assert self._process is not None
        return await self._process.wait()

    def ended(self) -> PartEnded:
        """What to say after its end."""
        assert self._process is not None
        code = self._process.returncode or 0
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        lines = "\n".join(f"  {line}" for line in self.last_lines())
        return PartEnded(f"{self.program} {how}. Its log {self.log} ends with\n{lines or '  (nothing)'}")

    def last_lines(self, count: int = _LOG_LINES_SHOWN) -> list[str]:
        with self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_BYTES_READ))
            return file.read().decode(errors="replace").splitlines()[-count:]


async def while_running(parts: Sequence[Part], work: Coroutine[Any, Any, T]) -> T:
    """Do `work`. Raises PartEnded as soon as one of the parts ends by itself."""
    worker = asyncio.create_task(work)
    watchers = [asyncio.create_task(part.wait()) for part in parts]
    tasks: list[asyncio.Task[Any]] = [worker, *watchers]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for part, watcher in zip(parts, watchers, strict=True):
            if watcher.done():
                raise part.ended()
        return worker.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _bound_to_us(folder: Path, command: list[str]) -> list[str]:
    """The command, run so that the kernel kills it where the thread that starts it dies: here the main thread."""
    from longhaul_cli.embedded import launcher

    facts = [os.geteuid(), os.getegid(), int(signal.SIGKILL), os.getpid(), folder]
    return [sys.executable, "-I", "-S", launcher.__file__, *map(str, facts), *command]


def _script(name: str) -> Path:
    path = Path(sysconfig.get_path("scripts"), name)
    if not path.exists():
        raise ConfigurationError(f"There is no {name} in {path.parent}: install the package of that name.")
    return path


def _open_log(path: Path) -> int:
    """A new private file, to append to; the one before is kept."""
    with suppress(FileNotFoundError):
        path.replace(path.with_suffix(".previous.log"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
