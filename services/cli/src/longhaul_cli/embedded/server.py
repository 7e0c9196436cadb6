"""What the embedded servers share: to start, stop, restart, kill, pause and resume one."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from longhaul.errors import ConfigurationError, LonghaulError
from longhaul_cli.embedded.account import server_account
from longhaul_cli.embedded.folder import PrivateFolder, default_home
from longhaul_cli.embedded.wheel import Wheel

SETUP_SECONDS = 60.0
STOP_SECONDS = 30.0
"""How long a server may take to end before the next, harder signal."""
_LOG_LINES_SHOWN = 15


class ServerFailed(LonghaulError):
    """An embedded server did not come up: its log says why."""

    code = "embedded_server_failed"


class EmbeddedServer(ABC):
    """A server of this process. Also a context manager, which starts and stops it."""

    title: ClassVar[str]
    name: ClassVar[str]
    """Of its folder in the home."""
    wheel: ClassVar[Wheel]
    stop_signal: ClassVar[signal.Signals]
    immediate_signal: ClassVar[signal.Signals]

    def __init__(
        self, home: Path | None = None, *, tcp: bool = False, options: Mapping[str, str] | None = None
    ) -> None:
        """Keep the data below `home` (`default_home()` where none is given); with `tcp`, listen on a free port of
        127.0.0.1 too, with a password; `options` are settings in the server's own words.

        Raises ConfigurationError where nobody can run it.
        """
        self.account = server_account()
        self.home = (home or default_home()).expanduser().resolve()
        self.folder = PrivateFolder(self.home / self.name, self.account)
        self.data = self.folder.path / "data"
        self.log = self.folder.path / "server.log"
        self.port = _free_port() if tcp else None
        self.options = dict(options or {})
        self._program = self.wheel.program()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """For clients on this machine, through its Unix socket."""

    @abstractmethod
    def _prepare(self) -> None:
        """Make in the folder what the server needs before it starts."""

    @abstractmethod
    def _command(self) -> list[str]: ...

    @abstractmethod
    def _refusal(self) -> str | None:
        """What a client that tries now is told; None where it is served."""

    @property
    def pid(self) -> int | None:
        """Of the server's main process, while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def password(self) -> str:
        """Made once, at the first start. Raises ConfigurationError before that."""
        try:
            return (self.folder.path / "password").read_text()
        except FileNotFoundError:
            raise ConfigurationError(f"There is no {self.title} in {self.home}: start it with `longhaul up`.") from None

    def start(self, *, timeout_seconds: float = 60.0) -> Self:
        """Start it and wait until it serves. One that runs is left alone.

        Raises ConfigurationError where the folder can't be used or another process owns it, ServerFailed with the last
        lines of its log where the server does not come up in time.
        """
        if self.pid is not None:
            return self
        can_run = self.folder.own(self.wheel.program())
        try:
            if not can_run:
                self._program = self.wheel.copied_program(self.folder.programs_folder(), self.account)
            self._lock = self.folder.wait_until_empty(timeout_seconds)
            with suppress(FileNotFoundError):
                self.log.replace(self.log.with_name("server.previous.log"))
            if not (self.folder.path / "password").exists():
                self.folder.write("password", secrets.token_urlsafe(24))
            self._prepare()
            self._process = self._launch(self._command())
            self._close_lock()
            self._wait_for_answer(timeout_seconds)
        except BaseException:
            self._close_lock()
            self.stop(immediate=True)
            raise
        return self

    def stop(self, *, immediate: bool = False) -> None:
        """End it, wait until none of its processes is left, and let go of the folder. `immediate` is like a crash."""
        if self._process is not None:
            self.resume()
            gently = [] if immediate else [self.stop_signal]
            for number in (*gently, self.immediate_signal, signal.SIGKILL):
                self._process.send_signal(number)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(STOP_SECONDS)
                    break
            self._process = None
            os.close(self.folder.wait_until_empty(STOP_SECONDS))
        self.folder.let_go()

    def restart(self, *, immediate: bool = False) -> None:
        """Stop and start it, with the same data and addresses."""
        self.stop(immediate=immediate)
        self.start()

    def kill(self) -> None:
        """SIGKILL its main process, and wait until its children have noticed and left. `start` works after it."""
        if self._process is not None:
            children = self._children()
            self._process.kill()
            self._process.wait()
            _signal(children, signal.SIGCONT)  # where it was paused, they could not notice
            os.close(self.folder.wait_until_empty(STOP_SECONDS))

    def pause(self) -> None:
        """SIGSTOP all its processes: for its clients it is there, and silent."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT all its processes."""
        self._signal_all(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self, command: list[str]) -> None:
        """A program that comes to its end before the server starts. Raises ServerFailed."""
        process = self._launch(command)
        try:
            if process.wait(SETUP_SECONDS) != 0:
                raise self._failure(f"could not be set up by {Path(command[0]).name}")
        finally:
            process.kill()
            process.wait()

    def _launch(self, command: list[str]) -> subprocess.Popen[bytes]:
        assert self._lock is not None
        log = self.folder.open_log(self.log.name)
        try:
            process = self.account.launch(
                command, folder=self.folder.path, log=log, end_signal=self.stop_signal, inherit=(self._lock,)
            )
        finally:
            os.close(log)
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(process.pid).encode(), 0)
        return process

    def _close_lock(self) -> None:
        """Leave `server.lock` to the server and its children."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _wait_for_answer(self, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while (refusal := self._refusal()) is not None:
            if self.pid is None:
                raise self._failure("stopped while it started")
            if time.monotonic() > deadline:
                raise self._failure(f"did not answer within {timeout_seconds:g} s ({refusal})")
            time.sleep(0.02)

    def _failure(self, what: str) -> ServerFailed:
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:]
        return ServerFailed(f"{self.title} {what}: read {self.log}, which ends with\n" + "\n".join(lines))

    def _signal_all(self, number: signal.Signals) -> None:
        if self.pid is not None:
            _signal([self.pid], number)  # first, so that it makes no more children
            _signal(self._children(), number)

    def _children(self) -> list[int]:
        """Only Linux tells; elsewhere none."""
        try:
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        except OSError:
            return []


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
