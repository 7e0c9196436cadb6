"""Celery's prefork pool, which also tells the keeper how each child ended: only its parent learns the exit code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.concurrency.asynpool import AsynPool
from celery.concurrency.prefork import TaskPool

on_exit: Callable[[int, int], None] | None = None
"""Called with a child's pid and exit code (negative: the signal); set by `celery_app` in Celery's main process."""


class _ReportingPool(AsynPool):
    _pool: list[Any]

    def _join_exited_workers(self, shutdown: bool = False) -> Any:
        for worker in self._pool:
            if on_exit is not None and worker._popen is not None and worker.exitcode is not None:  # noqa: SLF001 - billiard's own test for an ended child, just before it forgets it
                on_exit(worker.pid, worker.exitcode)
        return super()._join_exited_workers(shutdown)  # type: ignore[misc]  # billiard has no types


class Pool(TaskPool):
    """`worker_pool = "longhaul_worker.celery_pool:Pool"`."""

    Pool = _ReportingPool
