"""Tasks that do what a test wants of the worker."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import time
from pathlib import Path

from pydantic import BaseModel

from longhaul import Job, Permanent, Retryable, SoftTimeout, task
from longhaul.errors import Cancelled


class Nothing(BaseModel):
    pass


class Text(BaseModel):
    text: str = ""


class Number(BaseModel):
    value: float = 0.0


class Signature(BaseModel):
    path: Path
    seconds: float = 0.0


@task(name="sample.environment")
def environment(_job: Job, _params: Nothing) -> Text:
    """The environments that user code can read: its own, and that of Celery's main process."""
    own = "\n".join(f"{name}={value}" for name, value in os.environ.items())
    return Text(text=own + Path(f"/proc/{os.getppid()}/environ").read_text().replace("\0", "\n"))


@task(name="sample.saves_on_soft_timeout", soft_timeout=1, timeout=30, retries=0)
def saves_on_soft_timeout(job: Job, _params: Nothing) -> Text:
    try:
        while True:
            time.sleep(0.01)
    except SoftTimeout:
        job.checkpoint({"saved": True})
        return Text(text="saved in time")


@task(name="sample.async_soft_timeout", soft_timeout=1, timeout=30, retries=0)
async def async_soft_timeout(job: Job, _params: Nothing) -> Text:
    try:
        await asyncio.sleep(60)
    except SoftTimeout:
        job.checkpoint({"saved": True})
        return Text(text="saved in time")
    return Text(text="was not interrupted")


@task(name="sample.ignores_soft_timeout", soft_timeout=0.5, timeout=30, retries=0)
def ignores_soft_timeout(_job: Job, _params: Nothing) -> Text:
    while True:
        time.sleep(0.01)


@task(name="sample.not_interruptible", timeout=60)
def not_interruptible(job: Job, params: Number) -> Number:
    """Sleeps, and can't hand over."""
    started = time.monotonic()
    while (passed := time.monotonic() - started) < params.value:
        job.progress(passed / params.value)
        time.sleep(0.02)
    return params


@task(name="sample.odd_error", retry_on=(LookupError,))
def odd_error(job: Job, params: Text) -> Text:
    """Raises what its params name, on the first attempt only where it may pass."""
    match params.text:
        case "listed" if job.attempt == 1:
            raise KeyError("a listed error may pass")
        case "connection" if job.attempt == 1:
            raise ConnectionResetError("the network may come back")
        case "retryable" if job.attempt == 1:
            raise Retryable("please again", delay_seconds=0.2)
        case "always":
            raise Retryable("never works", delay_seconds=0)
        case "value":
            raise ValueError("a bug stays a bug")
        case "permanent":
            raise Permanent("no")
        case "exit":
            raise SystemExit(3)
        case "memory":
            raise MemoryError("too large")
        case "wrong_result":
            return Nothing()  # type: ignore[return-value]  # what the test is about
    return Text(text=f"attempt {job.attempt}")


@task(name="sample.large_result")
def large_result(_job: Job, params: Number) -> Text:
    return Text(text="x" * int(params.value))


@task(name="sample.large_checkpoint", retries=0)
def large_checkpoint(job: Job, params: Number) -> Text:
    job.checkpoint("x" * int(params.value))
    return Text(text="saved")


@task(name="sample.sign", timeout=60, max_interruptions=1000)
def sign(job: Job, params: Signature) -> Text:
    """Writes a line into a file as it starts, so that executions are counted outside of the ledger; then it sleeps."""
    with params.path.open("a") as file:  # one short line is one write, which O_APPEND keeps whole
        file.write(f"{job.id} {job.epoch}\n")
    ends_at = time.monotonic() + params.seconds
    while (left := ends_at - time.monotonic()) > 0:
        if job.cancelled:
            raise Cancelled
        time.sleep(min(left, 0.02))
    return Text(text=f"attempt {job.attempt}")


class Pids(BaseModel):
    pids: list[int]


@task(name="sample.leaves_processes")
def leaves_processes(_job: Job, _params: Nothing) -> Pids:
    """Starts a process of its own session, and one whose parent is gone, and returns while both run."""
    own = subprocess.Popen(["sleep", "600"], start_new_session=True)
    orphan = subprocess.run(["sh", "-c", "sleep 600 >/dev/null & echo $!"], stdout=subprocess.PIPE, check=True)
    return Pids(pids=[own.pid, int(orphan.stdout)])


@task(name="sample.out_of_memory")
def out_of_memory(_job: Job, _params: Nothing) -> Text:
    """Asks for more memory than its process may have."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**32, before[1]))
    try:
        return Text(text=str(len(bytearray(2**33))))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


class Size(BaseModel):
    size: int
    seconds: float = 0.0


@task(name="sample.large_text", timeout=60)
def large_text(job: Job, params: Size) -> Text:
    """Sleeps, and returns which attempt it was and `size` characters."""
    time.sleep(params.seconds)
    return Text(text=f"attempt {job.attempt} " + "x" * params.size)
