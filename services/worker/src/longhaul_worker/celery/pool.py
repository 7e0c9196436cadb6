"""Celery's prefork pool, which also tells the keeper how each child ended: only its parent learns the exit code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.concurrency.asynpool import AsynPool
from celery.concurrency.prefork import TaskPool

on_exit: Callable[[int, int], None] | None = None
"""Called with a child's pid and exit code (negative: the signal); set by `app` in Celery's main process."""


class _ReportingPool(AsynPool):
    _pool: list[Any]

    def _join_exited_workers(self, shutdown: bool = False) -> Any:
        before = list(self._pool)
        try:
            return super()._join_exited_workers(shutdown)  # type: ignore[misc]  # billiard has no types
        finally:
            # Only now: a child that becomes waitable during the call is joined by it, and never seen again.
            for worker in before:
                if on_exit is not None and worker not in self._pool and worker.exitcode is not None:
                    on_exit(worker.pid, worker.exitcode)


class Pool(TaskPool):
    """`worker_pool = "longhaul_worker.celery.pool:Pool"`."""

    Pool = _ReportingPool
