"""The blueprint's app and tasks, with one task more: the work of the mixed run.

Kinder to it than the bench: a lost database connection is opened again, and a task that failed is tried three times more.
"""

from __future__ import annotations

import os
from typing import Any

import psycopg
from celery import Task
from fastapi import FastAPI
from tests.bench.blueprint import tasks as blueprint
from tests.bench.blueprint.app import create_app as create_blueprint
from tests.faults.mixed.executions import executing

app = blueprint.app
if os.environ["BLUEPRINT_ACKS_LATE"] == "0":
    # Back to Celery's own defaults.
    app.conf.update(task_acks_late=False, task_reject_on_worker_lost=None, worker_prefetch_multiplier=4)


class MayPass(Exception):
    """What a flaky job raises."""


def update(job_id: str, status: str, progress: float) -> None:
    """Write the row, over a new connection where the old one was lost."""
    try:
        blueprint.update(job_id, status, progress, {})
    except psycopg.OperationalError:
        blueprint.connect()
        blueprint.update(job_id, status, progress, {})


class Work(Task):  # type: ignore[type-arg]  # at run time Celery's Task takes no arguments
    """Says in the row that a job has failed for good."""

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: object) -> None:  # noqa: ARG002
        update(args[0], "failed", 0.0)


@app.task(base=Work, bind=True, autoretry_for=(Exception,), retry_backoff=True, retry_backoff_max=60, max_retries=3)
def work(self: Work, job_id: str, params: dict[str, Any]) -> None:
    with executing(params["key"], job_id, self.request.retries) as execution:
        update(job_id, "running", 0.0)
        execution.sleep(params["seconds"])
        if self.request.retries < params["fails"]:
            raise MayPass
        update(job_id, "succeeded", 1.0)


blueprint.TASKS["work"] = work


def create_app() -> FastAPI:
    """The blueprint's API, which hands `work` to Celery."""
    return create_blueprint()
