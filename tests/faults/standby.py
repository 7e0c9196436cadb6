"""A synchronous standby: a second PostgreSQL that has all that the first one ever confirmed."""

from __future__ import annotations

from pathlib import Path

import psycopg
from tests import servers
from tests.waiting import wait_for

from longhaul_cli.embedded import EmbeddedPostgres

NAME = "standby"
PRIMARY_OPTIONS = {**servers.FAST, "wal_level": "replica", "max_wal_senders": "4", "wal_sender_timeout": "60s"}
"""What a PostgreSQL needs that gets a standby; the primary waits for a silent one, however long it is silent."""


class Standby(EmbeddedPostgres):
    """Follows `primary` (made with `tcp` and PRIMARY_OPTIONS) until it is promoted. Starts with a copy of its data.

    `link` is the port of a proxy through which it hears of what the primary writes.
    """

    def __init__(self, home: Path, primary: EmbeddedPostgres, *, link: int) -> None:
        super().__init__(home, tcp=True, options=PRIMARY_OPTIONS)
        self._primary = primary
        self._link = link

    def follow(self) -> None:
        """Start, and have the primary wait for this one at each commit."""
        self.start()
        with psycopg.connect(self._primary.database_url, autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{NAME}'")
            connection.execute("SELECT pg_reload_conf()")

            def is_synchronous() -> bool:
                cursor = connection.execute("SELECT FROM pg_stat_replication WHERE sync_state = 'sync'")
                return cursor.rowcount == 1

            wait_for(is_synchronous, what="the primary waits for its standby")

    def promote(self) -> None:
        """Become a primary of its own, which waits for nobody."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
            connection.execute("SELECT pg_promote(true, 30)")

    def _create_cluster(self) -> None:
        self.folder.write("password", self._primary.password)
        source = f"{self._primary.tcp_url(port=self._link)}?application_name={NAME}"
        program = str(self._program.with_name("pg_basebackup"))
        arguments = [f"--pgdata={self.data}", f"--dbname={source}", "--write-recovery-conf", "--checkpoint=fast"]
        self._run([program, *arguments, "--no-sync"])
