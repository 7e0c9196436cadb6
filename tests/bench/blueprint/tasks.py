"""The blueprint's Celery side: reliable settings, one row a job. `noop` and `stamp` are plain Celery, without a row."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import psycopg
from celery import Celery
from celery.signals import worker_process_init
from psycopg.types.json import Jsonb

# A Celery program finds its app as a module's attribute: that is how blueprints have it.
app = Celery("blueprint", broker=os.environ["BLUEPRINT_BROKER_URL"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    task_serializer="json",
    accept_content=["json"],
    broker_connection_retry_on_startup=True,
)
_connections: list[psycopg.Connection[Any]] = []


@worker_process_init.connect
def connect(**_: object) -> None:
    _connections[:] = [psycopg.connect(os.environ["BLUEPRINT_DATABASE_URL"], autocommit=True)]


def update(job_id: str, status: str, progress: float, detail: dict[str, Any]) -> None:
    _connections[0].execute(
        "UPDATE jobs SET status = %s, progress = %s, detail = %s, updated_at = clock_timestamp() WHERE id = %s",
        (status, progress, Jsonb(detail), job_id),
    )


@app.task
def echo(job_id: str, params: dict[str, Any]) -> None:
    update(job_id, "running", 0.0, {})
    update(job_id, "succeeded", 1.0, params)


@app.task
def events(job_id: str, params: dict[str, Any]) -> None:
    """One progress event for each line that comes out of the FIFO; `sent` is the clock at that moment."""
    update(job_id, "running", 0.0, {})
    with Path(params["fifo"]).open(encoding="ascii") as lines:
        for line in iter(lines.readline, "end\n"):
            update(job_id, "running", 0.5, {"line": line.strip(), "sent": time.time()})
    update(job_id, "succeeded", 1.0, {})


@app.task
def noop() -> None:
    pass


@app.task
def stamp(fifo: str) -> None:
    """Write the clock into the FIFO."""
    now = time.time()
    with Path(fifo).open("w", encoding="ascii") as out:
        out.write(f"{now}\n")


TASKS = {"echo": echo, "events": events}
