"""The servers that both sides share, and the processes of each side.

One PostgreSQL (durable: fsync is on) and one Valkey, reached by both sides through their Unix sockets; a database for
each side. Every other process is started by the row that measures it, so that nothing else uses the two cores.
"""

from __future__ import annotations

import os
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import psycopg
import redis
from tests.bench.fifo import Fifo
from tests.bench.process import Process, cpu_seconds, free_port, machine_seconds, started, tree

from longhaul.ledger.schema import migrate
from longhaul_cli.embedded import EmbeddedPostgres, EmbeddedValkey

SLOTS = 2
"""Of the worker of each side."""
BLUEPRINT = "blueprint"
LONGHAUL = "longhaul"
START_SECONDS = 60.0
OTHERS = "other programs"
"""Beside the processes' names."""


class Stack:
    """A context manager: the servers run inside it, on data that is removed at its end."""

    def __init__(self) -> None:
        self._exits = ExitStack()
        self._started: list[Process] = []

    def __enter__(self) -> Stack:
        with ExitStack() as exits:
            # /var/tmp is on a disk where /tmp may be memory, on which a commit would cost nothing.
            self.folder = Path(
                exits.enter_context(tempfile.TemporaryDirectory(prefix="longhaul-bench-", dir="/var/tmp"))
            )
            if os.geteuid() == 0:
                self.folder.chmod(0o755)  # root's servers run as another user
            self.postgres = exits.enter_context(
                EmbeddedPostgres(self.folder, options={"shared_preload_libraries": "pg_stat_statements"})
            )
            self.valkey = exits.enter_context(EmbeddedValkey(self.folder))
            self._create_databases()
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def _create_databases(self) -> None:
        with psycopg.connect(self.postgres.url_of("postgres"), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION pg_stat_statements")
            connection.execute(f"CREATE DATABASE {BLUEPRINT}")
        with psycopg.connect(self.database_url(BLUEPRINT), autocommit=True) as connection:
            connection.execute((Path(__file__).parent / "blueprint" / "jobs.sql").read_bytes())
        migrate(self.database_url(LONGHAUL))

    # The servers.

    def database_url(self, side: str) -> str:
        return self.postgres.url_of(side)

    @property
    def redis_url(self) -> str:
        return self.valkey.url

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.redis_url)

    @contextmanager
    def redis_stopped(self) -> Iterator[None]:
        """Valkey by SIGSTOP: its clients find it there, and silent."""
        self.valkey.pause()
        try:
            yield
        finally:
            self.valkey.resume()

    def reset(self) -> None:
        """Empty tables and an empty Valkey, so that every row begins alike; Longhaul's catalogue stays."""
        with psycopg.connect(self.database_url(BLUEPRINT), autocommit=True) as connection:
            connection.execute("TRUNCATE jobs")
        with psycopg.connect(self.database_url(LONGHAUL), autocommit=True) as connection:
            connection.execute("TRUNCATE jobs, job_events, workers")
            connection.execute("CHECKPOINT")
        with self.redis() as client:
            client.flushall()

    def queries(self, side: str) -> int:
        """Statements that this side's database has been sent since the servers started."""
        with psycopg.connect(self.postgres.url_of("postgres"), autocommit=True) as connection:
            row = connection.execute(
                "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements JOIN pg_database ON dbid = oid WHERE datname = %s",
                (side,),
            ).fetchone()
        return int(cast("tuple[Any]", row)[0])

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time until now of each process that runs, by its name; `OTHERS` is all that is not the bench's."""
        times = {process.name: process.cpu_seconds() for process in self._started}
        times["client"] = cpu_seconds(os.getpid())
        for server in self.postgres, self.valkey:
            times[server.name] = sum(map(cpu_seconds, tree(server.pid))) if server.pid is not None else 0.0
        return times | {OTHERS: machine_seconds() - sum(times.values())}

    @contextmanager
    def fifo(self, name: str) -> Iterator[Fifo]:
        with Fifo(self.folder / f"{name}.fifo") as fifo:
            yield fifo

    # The blueprint's processes.

    @contextmanager
    def blueprint_api(self) -> Iterator[Process]:
        with self._uvicorn("blueprint-api", "tests.bench.blueprint.app:create_app") as process:
            yield process

    @contextmanager
    def bare(self) -> Iterator[Process]:
        with self._uvicorn("bare", "tests.bench.blueprint.bare:create_app") as process:
            yield process

    @contextmanager
    def blueprint_worker(self) -> Iterator[Process]:
        """Celery prefork. It is ready when a first task has answered."""
        command = ["celery", "--app=tests.bench.blueprint.tasks", "--quiet", "worker", "--loglevel=warning"]
        command += [f"--concurrency={SLOTS}", "--pool=prefork", "--without-gossip", "--without-mingle"]
        with self._running("blueprint-worker", ["-m", *command], self.blueprint_environment) as process:
            yield process

    @property
    def blueprint_environment(self) -> dict[str, str]:
        return {
            "BLUEPRINT_DATABASE_URL": self.database_url(BLUEPRINT),
            "BLUEPRINT_BROKER_URL": self.valkey.broker_url(),
        }

    def blueprint_tasks(self) -> ModuleType:
        """The blueprint's tasks, to send them from the bench's own process as a client of Celery does."""
        os.environ.update(self.blueprint_environment)
        from tests.bench.blueprint import tasks

        return tasks

    @contextmanager
    def _uvicorn(self, name: str, factory: str) -> Iterator[Process]:
        port = free_port()
        command = ["-m", "uvicorn", "--factory", factory, "--host=127.0.0.1", f"--port={port}"]
        command += ["--loop=uvloop", "--http=httptools", "--no-access-log", "--log-level=warning"]
        with self._running(name, command, self.blueprint_environment, port=port, ready="/health") as process:
            yield process

    # Longhaul's processes.

    @contextmanager
    def longhaul_api(self) -> Iterator[Process]:
        port = free_port()
        environment = {"LONGHAUL_API_HOST": "127.0.0.1", "LONGHAUL_API_PORT": str(port), "LONGHAUL_AUTH_MODE": "none"}
        with self._longhaul("longhaul-api", environment, port=port, ready="/readyz") as process:
            yield process

    @contextmanager
    def longhaul_worker(self) -> Iterator[Process]:
        environment = {
            "LONGHAUL_POOL": "bench",
            "LONGHAUL_QUEUES": "default",
            "LONGHAUL_SLOTS": str(SLOTS),
            "LONGHAUL_PROBE_PORT": str(free_port()),
            "LONGHAUL_SPOOL_DIR": str(self.folder / "spool"),
        }
        with self._longhaul("longhaul-worker", environment) as process:
            yield process

    @contextmanager
    def longhaul_controller(self) -> Iterator[Process]:
        with self._longhaul("longhaul-controller", {"LONGHAUL_CONTROLLER_PROBE_PORT": str(free_port())}) as process:
            yield process

    def register(self) -> None:
        """Publish the bench's tasks, for rows that need no worker."""
        with self._longhaul("longhaul-worker", {}, "register") as process:
            process.popen.wait(START_SECONDS)
            if process.popen.returncode:
                raise RuntimeError(f"longhaul-worker register failed. {process.last_words()}")

    @contextmanager
    def _longhaul(
        self, program: str, environment: Mapping[str, str], *arguments: str, port: int = 0, ready: str = ""
    ) -> Iterator[Process]:
        shared = {
            "LONGHAUL_DATABASE_URL": self.database_url(LONGHAUL),
            "LONGHAUL_REDIS_URL": self.redis_url,
            "LONGHAUL_TASKS": "tests.bench.tasks",
            "LONGHAUL_LOG_LEVEL": "warning",
        }
        command = [str(Path(sys.executable).with_name(program)), *arguments]
        with self._running(
            program, command, {**shared, **environment}, port=port, ready=ready, python=False
        ) as process:
            yield process

    @contextmanager
    def _running(
        self,
        name: str,
        command: list[str],
        environment: Mapping[str, str],
        *,
        port: int = 0,
        ready: str = "",
        python: bool = True,
    ) -> Iterator[Process]:
        command = [sys.executable, *command] if python else command
        with started(name, command, environment, self.folder / f"{name}.log", port=port) as process:
            if ready:
                url = f"http://127.0.0.1:{port}{ready}"
                process.wait_until(lambda: _answers(url), timeout_seconds=START_SECONDS, what="ready")
            self._started.append(process)
            try:
                yield process
            finally:
                self._started.remove(process)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False
