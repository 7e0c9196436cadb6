"""Settings of a worker pod."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from longhaul.settings import CommaList, Settings, split_commas


class WorkerSettings(Settings):
    """What a keeper needs to know; all times in seconds."""

    tasks: Annotated[CommaList, BeforeValidator(split_commas)] = Field(min_length=1)
    """Modules that hold the tasks."""
    pool: str = "default"
    queues: Annotated[CommaList, BeforeValidator(split_commas)] = Field(default=["default"], min_length=1)
    slots: int = Field(default=1, ge=1, le=256)
    """Jobs that run at once in this pod: Celery's concurrency."""
    worker_name: str = Field(default_factory=lambda: os.environ.get("POD_NAME") or os.uname().nodename)
    probe_host: str = "127.0.0.1"
    probe_port: int = Field(default=8081, ge=0, le=65535)
    spool_dir: Path = Field(default_factory=lambda: Path(tempfile.gettempdir()) / f"longhaul-spool-{os.getuid()}")
    drain_seconds: float = Field(default=60.0, gt=0)
    """From SIGTERM to the moment when whatever still runs is stopped: the grace period less a margin."""
    handover_seconds: float = Field(default=30.0, gt=0)
    """Jobs that can hand over are asked so long before the drain ends, at the latest half way."""
    exit_after_jobs: int | None = Field(default=None, ge=1)
    """The worker claims no more jobs than this, and ends once they ended: for one pod a job."""
    exit_idle_seconds: float | None = Field(default=None, gt=0)
    """The worker ends where it could have run a job for so long and had none."""
    register_wait_seconds: float = Field(default=60.0, ge=0)
    """`longhaul-worker register` waits so long for the ledger and its schema."""
    cancel_grace_seconds: float = Field(default=10.0, ge=0)
    """A cancelled job that does not stop by itself is killed after this."""
    progress_interval_seconds: float = Field(default=0.5, ge=0)
    """Progress and logs of a job are written at most so often; the first is written at once."""
    task_log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What a task prints or logs goes to its job's log from this level on; `print` counts as info."""
    checkpoint_limit_bytes: int = Field(default=1024 * 1024, gt=0)
    result_limit_bytes: int = Field(default=4 * 1024 * 1024, gt=0)
    """Without a result store a larger result fails its job."""
    result_inline_bytes: int = Field(default=256 * 1024, ge=0)
    """Where there is a result store, larger results go there; all others stay in the ledger."""
    stored_result_limit_bytes: int = Field(default=64 * 1024 * 1024, gt=0)
    """Where there is a result store, a larger result fails its job. Each slot may hold one in the keeper's memory."""
    result_store_wait_seconds: float = Field(default=600.0, ge=0)
    """A result waits so long for a result store that is away; then its attempt ends, and is tried again as after any
    passing error."""
    max_jobs_per_child: int = Field(default=100, ge=1)
    """A pool child is replaced after so many jobs."""
    max_memory_per_child_kib: int | None = Field(default=None, gt=0)
    """A pool child that is larger after a job is replaced."""
    pulse_seconds: float = Field(default=30.0, gt=0)
    """Liveness fails where Celery's main loop was silent for so long."""
    deaf_seconds: float = Field(default=120.0, gt=0)
    """Liveness fails where the queue was deep, a slot free and nothing heard for so long."""
    deep_queue: int = Field(default=1, ge=1)
    """Doorbells that make a queue deep."""
    redis_silence_seconds: float = Field(default=30.0, gt=0)
    """Idle slots ask the ledger directly where Redis did not answer for so long."""
    celery_exit_seconds: float = Field(default=20.0, gt=0)
    """Celery has so long to end after its last job; then it is killed (its warm shutdown hangs about once in 20)."""
