"""Celery as a child process of the keeper: started without the database's credentials, restarted when it dies."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from longhaul import doorbell
from longhaul_worker import metrics, protocol
from longhaul_worker.settings import WorkerSettings

_log = structlog.get_logger(__name__)

CREDENTIALS = (
    "LONGHAUL_DATABASE_URL",
    "LONGHAUL_RESULT_STORE_URL",
    "LONGHAUL_RESULT_STORE_OPTIONS",
    "PGPASSWORD",
    "PGPASSFILE",
    "PGSERVICEFILE",
)
"""Variables that user code must not see."""
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4


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

    async def run(self) -> None:
        """Until Celery ends after `stop`. One that dies before is started again, at most once a second."""
        while not self.is_stopping:
            self.started_at = self._clock()
            self._process = await asyncio.create_subprocess_exec(
                *self._command(), env=self._environment(), preexec_fn=_die_with_parent, start_new_session=True
            )
            metrics.CELERY_STARTS.inc()
            exit_code = await self._process.wait()
            if not self.is_stopping:
                _log.error("celery_died", exit_code=exit_code)
                await asyncio.sleep(max(0.0, 1.0 - (self._clock() - self.started_at)))

    def stop(self) -> None:
        """Warm shutdown: hear no more doorbells, let the jobs end, then exit."""
        self.is_stopping = True
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End Celery and all of its children now."""
        self.is_stopping = True
        self._signal(signal.SIGKILL)

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
            "longhaul_worker.celery_app",
            "--quiet",
            "worker",
            *arguments,
            *switches,
        ]

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in CREDENTIALS}
        return {**kept, protocol.SOCKET_VARIABLE: str(self._socket_path)}


def hide_environment() -> None:
    """Keep this process's environment, with the database's credentials, from other processes of the same user."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _die_with_parent() -> None:
    # Runs between fork and exec: the keeper's death must end whatever computes under its leases.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
