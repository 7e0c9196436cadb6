"""Real worker pods and controllers as processes, and a job's way through them as the tests see it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import orjson
import psutil
import redis as sync_redis
from tests.waiting import eventually, wait_dead, wait_for

from longhaul import doorbell
from longhaul.ids import new_job_id
from longhaul.ledger import catalogue, events, jobs
from longhaul.ledger.connection import Connection, connect

FAST_LEASE = {"LONGHAUL_LEASE_SECONDS": "3", "LONGHAUL_RENEW_SECONDS": "0.5"}
"""A fifth of the defaults, so that a lost lease is a matter of seconds."""


class Process:
    """A part of Longhaul as a process of its own, with all of its descendants. `output` (a descriptor) replaces the log."""

    def __init__(
        self, name: str, *arguments: str, environment: dict[str, str], log: Path, output: int | None = None
    ) -> None:
        self._log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).parent / name), *arguments],
                env={**os.environ, **environment},
                stdout=file if output is None else output,
                stderr=file if output is None else output,
                start_new_session=True,
            )
        self._descendants: list[psutil.Process] = []

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def descendants(self) -> list[psutil.Process]:
        """All processes below this one."""
        return psutil.Process(self.pid).children(recursive=True)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def send_all(self, number: signal.Signals) -> None:
        """To the process and everything below it, as a frozen machine or a killed container would."""
        below = self.descendants()
        self.send(number)
        for process in below:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def wait_exit(self, timeout_seconds: float) -> int:
        return self._process.wait(timeout_seconds)

    def end(self) -> None:
        """Leave nothing running, whatever state it is in."""
        if self._process.poll() is None:
            below = self.descendants()
            self._process.kill()
            self._process.wait()
            for process in below:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            wait_dead(below, timeout_seconds=5)


class Worker(Process):
    """A worker pod: keeper, Celery and its pool children."""

    def __init__(self, name: str, *, environment: dict[str, str], log: Path, output: int | None = None) -> None:
        self.name = name
        self.probe_url = f"http://127.0.0.1:{(port := free_port())}"
        environment = {"LONGHAUL_PROBE_PORT": str(port), **environment}
        super().__init__("longhaul-worker", environment=environment, log=log, output=output)

    def probe(self, path: str) -> httpx2.Response | None:
        """The answer of a probe; None where nobody answers."""
        try:
            # Plain HTTP: to load the certificates of all CAs would take 45 ms of CPU each time.
            return httpx2.get(f"{self.probe_url}{path}", timeout=5, verify=False)
        except httpx2.TransportError:
            return None

    def wait_ready(self) -> None:
        wait_for(self._is_ready, timeout_seconds=100, what="the worker became ready")

    def celery(self) -> psutil.Process:
        """Celery's main process, below its guard."""
        (guard,) = psutil.Process(self.pid).children()
        (main,) = guard.children()
        return main

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(f"the worker ended with {self._process.returncode}:\n{self.log[-3000:]}")
        answer = self.probe("/readyz")
        return answer is not None and answer.status_code == 200


class Platform:
    """A ledger and a Redis, and the processes that a test starts on them."""

    def __init__(self, database_url: str, redis_url: str, folder: Path, **environment: str) -> None:
        self.database_url = database_url
        self.redis_url = redis_url
        self.environment = {
            "LONGHAUL_DATABASE_URL": database_url,
            "LONGHAUL_REDIS_URL": redis_url,
            "LONGHAUL_TASKS": "longhaul_examples.demo,tests.sample_tasks,tests.seam_tasks",
            "LONGHAUL_SLOTS": "2",
            "LONGHAUL_SPOOL_DIR": str(folder / "spool"),
            "LONGHAUL_DRAIN_SECONDS": "8",
            "LONGHAUL_LOG_FORMAT": "console",
            # What is inherited stays ahead of the packages that are installed: `make mutants` puts changed code there.
            "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(Path(__file__).parents[1])])),
            **FAST_LEASE,
            **environment,
        }
        self._folder = folder
        self._processes: list[Process] = []

    def start_worker(self, **environment: str) -> Worker:
        """Start a worker pod and wait until it is ready."""
        return self.start_workers(1, **environment)[0]

    def start_workers(self, count: int, **environment: str) -> list[Worker]:
        """Start worker pods side by side and wait until all are ready."""
        workers = [self.launch_worker(**environment) for _ in range(count)]
        for worker in workers:
            worker.wait_ready()
        return workers

    def launch_worker(self, output: int | None = None, /, **environment: str) -> Worker:
        """Start a worker pod, and wait for nothing. Its output goes to `output`, a descriptor, or into its log."""
        name = f"worker-{len(self._processes)}"
        settings = {**self.environment, "LONGHAUL_WORKER_NAME": name, **environment}
        worker = Worker(name, environment=settings, log=self._folder / f"{name}.log", output=output)
        self._processes.append(worker)
        return worker

    def start_controller(self, **environment: str) -> Process:
        """Start a controller replica."""
        port = {"LONGHAUL_CONTROLLER_PROBE_PORT": str(free_port())}
        log = self._folder / f"controller-{len(self._processes)}.log"
        process = Process("longhaul-controller", environment={**self.environment, **port, **environment}, log=log)
        self._processes.append(process)
        return process

    def end(self) -> None:
        for process in self._processes:
            process.end()

    async def connect(self) -> Connection:
        return await connect(self.database_url, application_name="test")

    async def submit(
        self, task: str, params: dict[str, Any] | None = None, *, count: int = 1, ring: bool = True, **limits: Any
    ) -> UUID:
        """Submit `count` jobs as the API does, ring, and return the last one's id. `limits` replace the task's."""
        async with await self.connect() as connection:
            spec = (await catalogue.read(connection))[task]
            new = [
                jobs.NewJob(
                    **{
                        "id": new_job_id(),
                        "tenant": "default",
                        "submitted_by": "test",
                        "task": task,
                        "queue": spec.queue,
                        "priority": 0,
                        "params": params or {},
                        "metadata": {},
                        "retries_max": spec.retries,
                        "max_interruptions": spec.max_interruptions,
                        "timeout_seconds": spec.timeout_seconds,
                        "soft_timeout_seconds": spec.soft_timeout_seconds,
                        "backoff_seconds": 0.1,
                        "backoff_max_seconds": 1.0,
                        "interruptible": spec.interruptible,
                        **limits,
                    }
                )
                for _ in range(count)
            ]
            await jobs.submit(connection, new)
        if ring:
            with sync_redis.Redis.from_url(self.redis_url) as client:
                client.lpush(doorbell.key(new[0].queue), *doorbell.messages(new[0].queue, count))
        return new[-1].id

    async def job(self, job_id: UUID) -> dict[str, Any]:
        """The job as the API shows it, with its result."""
        async with await self.connect() as connection:
            row = (await jobs.read(connection, [job_id]))[job_id]
            found = await jobs.read_result(connection, job_id)
            result = found and found["result"]
            return {**jobs.view(row), "result": result and orjson.loads(result)}

    async def cancel(self, job_id: UUID) -> None:
        async with await self.connect() as connection:
            await jobs.cancel(connection, job_id)

    async def history(self, job_id: UUID) -> list[dict[str, Any]]:
        """All events of the job."""
        async with await self.connect() as connection:
            return await events.read(connection, job_id, after=0, limit=100_000)

    async def attempts(self, job_id: UUID) -> list[dict[str, Any]]:
        async with await self.connect() as connection:
            return await events.read_attempts(connection, job_id)

    async def wait_event(
        self, job_id: UUID, type: str, *, count: int = 1, timeout_seconds: float = 30
    ) -> dict[str, Any]:
        """Until the job has `count` events of a type; the last of them."""

        async def look() -> dict[str, Any] | None:
            found = [event for event in await self.history(job_id) if event["type"] == type]
            return found[count - 1] if len(found) >= count else None

        return await eventually(look, timeout_seconds=timeout_seconds, what=f"{count} of {type} in the job's history")

    async def wait_state(self, job_id: UUID, state: str, *, timeout_seconds: float = 30) -> dict[str, Any]:
        """Until the job is in a state; the job."""

        async def look() -> dict[str, Any] | None:
            job = await self.job(job_id)
            return job if job["state"] == state else None

        return await eventually(look, timeout_seconds=timeout_seconds, what=f"the job became {state}")


@contextmanager
def platform(database_url: str, redis_url: str, folder: Path, **environment: str) -> Iterator[Platform]:
    """A platform whose processes are gone at the end."""
    one = Platform(database_url, redis_url, folder, **environment)
    try:
        yield one
    finally:
        one.end()


def free_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
