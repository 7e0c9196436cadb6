"""What both sides of the comparison stand on: durable servers, proxies in front of them, and a fleet of processes."""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import httpx2
import redis
from tests.faults.mixed.census import Census
from tests.faults.mixed.executions import FOLDER_VARIABLE
from tests.faults.mixed.fleet import Fleet, Seat
from tests.faults.mixed.history import History
from tests.faults.mixed.load import Dialect
from tests.faults.toxiproxy import Proxy, Toxiproxy, is_installed
from tests.pods import Process, free_port
from tests.waiting import wait_for

from longhaul_cli.embedded import EmbeddedPostgres, EmbeddedValkey

ROOT = Path(__file__).parents[3]
START_SECONDS = 90.0
SHARED_MEMORY = "64MB"


@dataclass(frozen=True)
class Road:
    """How one worker reaches the servers: through proxies of its own, or, without toxiproxy, directly."""

    postgres_url: str
    redis_url: str
    postgres: Proxy | None = None
    redis: Proxy | None = None


class Stack(ABC):
    """One side, running. A context manager."""

    name: ClassVar[str]
    queue_key: ClassVar[str]
    """The Redis list that workers take their messages from."""
    api_count: ClassVar[int] = 2
    worker_count: ClassVar[int] = 4
    slots: ClassVar[int] = 12
    """Of each worker. Jobs mostly sleep, so that two cores carry them all."""
    hostile_share: ClassVar[float] = 0.0
    """Of all orders."""

    def __init__(self) -> None:
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            # /var/tmp is on a disk where /tmp may be memory, on which a commit would cost nothing.
            folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="longhaul-faults-", dir="/var/tmp")))
            if os.geteuid() == 0:
                folder.chmod(0o755)  # root's servers run as another user
            self.folder = folder
            self.executions = folder / "executions"
            self.logs = folder / "logs"
            for one in (self.executions, self.logs):
                one.mkdir()
            options = {"shared_buffers": SHARED_MEMORY, "max_connections": "200"}
            self.postgres = exits.enter_context(EmbeddedPostgres(folder, tcp=True, options=options))
            self.valkey = exits.enter_context(EmbeddedValkey(folder, tcp=True))
            proxies = exits.enter_context(Toxiproxy(folder)) if is_installed() else None
            self.roads = {f"worker-{i}": self._road(i, proxies) for i in range(self.worker_count)}
            self.census = Census()
            exits.callback(self.census.end)
            self.fleet = Fleet(self.logs, on_exit=self.census.bury)
            exits.callback(self.fleet.end)
            self.urls = {f"api-{i}": f"http://127.0.0.1:{free_port()}" for i in range(self.api_count)}
            self._start()
            wait_for(self._is_ready, timeout_seconds=START_SECONDS, what=f"all processes of {self.name} became ready")
            self.fleet.watch()
            self.census.start()
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    @abstractmethod
    def _start(self) -> None:
        """Make the schema, and add the seats."""

    @property
    @abstractmethod
    def dialect(self) -> Dialect: ...

    @abstractmethod
    def new_history(self) -> History: ...

    @abstractmethod
    def waiting(self) -> int:
        """How many jobs wait for a worker. Raises psycopg.Error or redis.RedisError while nobody knows."""

    @abstractmethod
    def unfinished(self) -> int:
        """How many jobs have not ended. Raises psycopg.Error while nobody knows."""

    @abstractmethod
    def collect(self, history: History) -> None:
        """Read what the database knows of the jobs into the history."""

    @abstractmethod
    def copies(self, count: int) -> list[bytes]:
        """One message of the queue, so many times."""

    @abstractmethod
    def forgeries(self) -> list[bytes]:
        """Messages that nobody should have sent."""

    @property
    def meeting_size(self) -> int:
        """How many jobs must be able to run at once at the end of a run; 0 if nobody asks."""
        return 0

    def _add_api(self, name: str, start: Callable[[str, Path, int], Process], ready_path: str) -> None:
        url = self.urls[name]
        port = int(url.rpartition(":")[2])
        self.fleet.add(name, lambda _, log: start(name, log, port), lambda _: answers(url + ready_path))

    def _road(self, number: int, proxies: Toxiproxy | None) -> Road:
        if proxies is None:
            return Road(self.postgres.database_url, self.valkey.url)
        postgres = proxies.proxy(f"postgres-{number}", self.postgres.port)
        redis = proxies.proxy(f"redis-{number}", self.valkey.port)
        return Road(
            self.postgres.tcp_url(port=postgres.port),
            self.valkey.tcp_url(port=redis.port),
            postgres=postgres,
            redis=redis,
        )

    def _is_ready(self) -> bool:
        return all(seat.is_ready for seat in self.fleet.seats.values())

    def wait_ready(self, seat: Seat) -> None:
        wait_for(lambda: seat.is_ready, timeout_seconds=START_SECONDS, poll_seconds=0.1, what=f"{seat.name} is back")

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.valkey.url, socket_timeout=10)

    @property
    def task_environment(self) -> dict[str, str]:
        """What the tasks need."""
        return {FOLDER_VARIABLE: str(self.executions), "PYTHONPATH": str(ROOT)}


def answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=5, verify=False).is_success
    except httpx2.TransportError:
        return False
