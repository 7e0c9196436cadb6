"""PostgreSQL 18 and Valkey 9 from their wheels: the servers of `longhaul up`, and of the tests.

Each has a private folder under one home (mode 0700, the same data at the next start), is reached through a Unix socket
there, belongs to one process at a time, and ends with that process, however it dies.
"""

from longhaul_cli.embedded.folder import default_home
from longhaul_cli.embedded.postgres import EmbeddedPostgres
from longhaul_cli.embedded.server import ServerFailed
from longhaul_cli.embedded.valkey import EmbeddedValkey

__all__ = ["EmbeddedPostgres", "EmbeddedValkey", "ServerFailed", "default_home"]
