"""Everything that a client talks to: an API, a controller and a worker pod, as processes on a database of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
from tests.pods import Process, free_port, platform
from tests.waiting import wait_for


class Api(Process):
    """An API without keys."""

    def __init__(self, *, environment: dict[str, str], port: int, log: Path) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        settings = {"LONGHAUL_API_HOST": "127.0.0.1", "LONGHAUL_API_PORT": str(port), "LONGHAUL_AUTH_MODE": "none"}
        super().__init__("longhaul-api", environment={**environment, **settings}, log=log)
        wait_for(self._is_ready, timeout_seconds=30, what="the API became ready")

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(f"the API ended with {self._process.returncode}:\n{self.log[-3000:]}")
        try:
            return httpx2.get(f"{self.url}/readyz", timeout=5, verify=False).is_success
        except httpx2.TransportError:
            return False


class Stack:
    """What runs, and how to start the API again."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment = environment
        self._folder = folder
        self.api = self._start_api(free_port())

    @property
    def url(self) -> str:
        return self.api.url

    def restart_api(self) -> None:
        """Kill -9, then a new one at the same address."""
        self.api.end()
        self.api = self._start_api(self.api.port)

    def _start_api(self, port: int) -> Api:
        return Api(environment=self.environment, port=port, log=self._folder / "api.log")


@contextmanager
def run_stack(database_url: str, redis_url: str, folder: Path, **environment: str) -> Iterator[Stack]:
    """A running stack; nothing of it is left at the end."""
    with platform(database_url, redis_url, folder, **environment) as below:
        below.start_controller()
        below.start_worker()
        one = Stack(below.environment, folder)
        try:
            yield one
        finally:
            one.api.end()
