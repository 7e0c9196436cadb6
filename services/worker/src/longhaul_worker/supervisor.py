"""Celery as a child process of the keeper: started without the database's credentials, restarted when it dies."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from longhaul import doorbell
from longhaul_worker import metrics, process_tree
from longhaul_worker.process_tree import adopt_orphans, end_descendants
from longhaul_worker.session import frames
from longhaul_worker.settings import WorkerSettings

_log = structlog.get_logger(__name__)

_GUARD = (sys.executable, "-I", "-S", process_tree.__file__)

CREDENTIALS = (
    "LONGHAUL_DATABASE_URL",
    "LONGHAUL_RESULT_STORE_URL",
    "LONGHAUL_RESULT_STORE_OPTIONS",
    "PGPASSWORD",
    "PGPASSFILE",
    "PGSERVICEFILE",
)
"""Variables that user code must not see."""


def environment_without_credentials() -> dict[str, str]:
    """This process's environment, as user code may see it."""
    return {name: value for name, value in os.environ.items() if name not in CREDENTIALS}


class Supervisor:
    """Keeps one Celery worker running until told to stop."""

    def __init__(
        self, settings: WorkerSettings, socket_path: Path, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.is_stopping = False
        self.started_at: float | None = None
        self._settings = settings
        self._socket_path = socket_path
        self._clock = clock
        self._process: asyncio.subprocess.Process | None = None
        self._pid_pipe: int | None = None
        self._main_pid: int | None = None

    @property
    def main_pid(self) -> int | None:
        """Of Celery's main process, which says it itself, before it runs anything else; None if there is none now."""
        if self._pid_pipe is not None and self._main_pid is None:
            with suppress(BlockingIOError):
                self._main_pid = int(os.read(self._pid_pipe, 16) or 0) or None
        return self._main_pid

    async def run(self) -> None:
        """Until Celery ends after `stop`. One that dies before is started again, at most once a second."""
        adopt_orphans()  # those of a guard that is killed
        while not self.is_stopping:
            self.started_at = self._clock()
            exit_code = await self._run_once()
            end_descendants(os.getpid())  # what a guard that was killed left behind
            if not self.is_stopping:
                _log.error("celery_died", exit_code=exit_code)
                await asyncio.sleep(max(0.0, 1.0 - (self._clock() - self.started_at)))

    async def _run_once(self) -> int:
        self._pid_pipe, its_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *_GUARD,
                    str(its_end),
                    *self._command(),
                    env=self._environment(),
                    stdin=asyncio.subprocess.PIPE,  # the guard reads its end: this process's death
                    pass_fds=(its_end,),
                    start_new_session=True,
                )
            finally:
                os.close(its_end)
            metrics.CELERY_STARTS.inc()
            if self.is_stopping:  # since before it was there to be told
                self._signal(signal.SIGTERM)
            return await self._process.wait()
        finally:
            os.close(self._pid_pipe)
            self._pid_pipe = self._main_pid = None

    def stop(self) -> None:
        """Warm shutdown: hear no more doorbells, let the jobs end, then exit."""
        self.is_stopping = True
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End Celery, all of its children and all that they started now."""
        self.is_stopping = True
        if self._process is not None and self._process.returncode is None:
            end_descendants(self._process.pid, seconds=0.0)
            assert self._process.stdin is not None
            self._process.stdin.close()  # the guard ends what is left

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    def _command(self) -> list[str]:
        settings = self._settings
        options = {
            "--concurrency": str(settings.slots),
            "--queues": ",".join(doorbell.key(queue) for queue in settings.queues),
            "--hostname": f"{settings.pool}@{settings.worker_name}",
            "--max-tasks-per-child": str(settings.max_jobs_per_child),
            "--loglevel": settings.log_level,
        }
        if settings.max_memory_per_child_kib:
            options["--max-memory-per-child"] = str(settings.max_memory_per_child_kib)
        arguments = [part for option in options.items() for part in option]
        switches = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        return [
            sys.executable,
            "-m",
            "celery",
            "--app",
            "longhaul_worker.celery.app",
            "--quiet",
            "worker",
            *arguments,
            *switches,
        ]

    def _environment(self) -> dict[str, str]:
        return {**environment_without_credentials(), frames.SOCKET_VARIABLE: str(self._socket_path)}
