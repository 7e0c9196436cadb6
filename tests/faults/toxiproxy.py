"""Slow, narrow, silent and cut connections: toxiproxy as a process of the test's own, and its HTTP API."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
from tests.pods import free_port
from tests.waiting import wait_for

PROGRAM = "toxiproxy-server"
BOTH = ("upstream", "downstream")
"""Towards the server, and back to the client."""


def is_installed() -> bool:
    """Whether `toxiproxy-server` is on the PATH."""
    return shutil.which(PROGRAM) is not None


class Proxy:
    """Listens on `port` of 127.0.0.1 for `upstream`, another port there. Sound until something is done to it."""

    def __init__(self, api: httpx2.Client, name: str, upstream: int) -> None:
        self._api = api
        self._path = f"/proxies/{name}"
        made = _call(
            api, "POST", "/proxies", name=name, listen="127.0.0.1:0", upstream=f"127.0.0.1:{upstream}", enabled=True
        )
        self.port = int(made["listen"].rpartition(":")[2])

    def slow(self, *, latency_ms: int, jitter_ms: int = 0) -> None:
        """Each piece of data takes so much longer, in each direction."""
        self._poison("latency", latency=latency_ms, jitter=jitter_ms)

    def narrow(self, *, kilobytes_per_second: int) -> None:
        """No more than so much comes through, in each direction."""
        self._poison("bandwidth", rate=kilobytes_per_second)

    def silence(self, *streams: str) -> None:
        """Connections stay open and nothing comes through, as with a pulled cable: in `BOTH` directions, or in one."""
        self._poison("timeout", *streams, timeout=0)

    def reset(self) -> None:
        """End the connections that are open, and those that try, with a TCP reset; `restore` ends that."""
        self._poison("reset_peer", timeout=0)

    def cut(self) -> None:
        """End all connections and refuse new ones, until `restore`."""
        _call(self._api, "POST", self._path, enabled=False)

    def restore(self) -> None:
        """Sound again. Connections that were silenced end here."""
        for toxic in _call(self._api, "GET", f"{self._path}/toxics"):
            _call(self._api, "DELETE", f"{self._path}/toxics/{toxic['name']}")
        _call(self._api, "POST", self._path, enabled=True)

    def blip(self) -> None:
        """Lose every connection that is open now."""
        self.cut()
        self.restore()

    def move(self, upstream: int) -> None:
        """Lead to another port from now on, as an address does that moves in a failover. Old connections end."""
        _call(self._api, "POST", self._path, upstream=f"127.0.0.1:{upstream}", enabled=True)

    def _poison(self, kind: str, *streams: str, **attributes: int) -> None:
        for stream in streams or BOTH:
            _call(self._api, "POST", f"{self._path}/toxics", type=kind, stream=stream, attributes=attributes)


class Toxiproxy:
    """The server. A context manager; `proxy(...)` makes its proxies."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "toxiproxy.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._port = free_port()
        self._api = httpx2.Client(base_url=f"http://127.0.0.1:{self._port}", timeout=5)

    def proxy(self, name: str, upstream: int | None) -> Proxy:
        """A new proxy for a port of 127.0.0.1."""
        assert upstream is not None, "this server listens on no port"
        return Proxy(self._api, name, upstream)

    def __enter__(self) -> Self:
        command = [PROGRAM, "-host", "127.0.0.1", "-port", str(self._port)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(self._answers, what="toxiproxy answers")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._api.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"toxiproxy ended:\n{self._log.read_text()[-2000:]}"
        try:
            return self._api.get("/version").is_success
        except httpx2.TransportError:
            return False


def _call(api: httpx2.Client, method: str, path: str, **fields: object) -> Any:
    answer = api.request(method, path, json=fields or None)
    assert answer.is_success, f"toxiproxy refused {method} {path}: {answer.text}"
    return answer.json() if answer.content else None
