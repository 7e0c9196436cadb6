"""What Longhaul's own processes take of Redis and PostgreSQL. A test holds real processes against these numbers."""

from __future__ import annotations

from typing import Final

DOORBELL_BYTES: Final = 1024
"""One waiting job in Redis: a message of about 0.9 KB and its place in the list."""
RUNNING_BYTES: Final = 128
"""One running job in Redis: a member of `running:{pool}`, 36 characters, and its place in the set."""
REDIS_CONNECTION_BYTES: Final = 40 * 1024
"""Redis' buffers for one client."""

REDIS_CONNECTIONS_PER_WORKER: Final = 6
REDIS_CONNECTIONS_PER_API: Final = 4
REDIS_CONNECTIONS_OF_OTHERS: Final = 20
"""Two controllers, and KEDA's and people's looks."""

LEDGER_CONNECTIONS_PER_WORKER: Final = 1
"""The keeper's."""
LEDGER_CONNECTIONS_PER_API: Final = 9
"""Two pools of four, and the one that looks whether the database answers."""
LEDGER_CONNECTIONS_OF_OTHERS: Final = 20
"""Two controllers, a migration, and people."""

LEDGER_JOBS_PER_VCORE_SECOND: Final = 500
"""Jobs that a core of PostgreSQL carries from submit to end: half of what `make bench` measures (0.14 cores for 148
jobs a second)."""
RENEWAL_SECONDS: Final = 3.0
"""The keepers' renewals: one statement each for all of its jobs."""

WORKER_MEMORY_GIB: Final = 0.25
"""The keeper and Celery's main process, beside the tasks: twice what they take."""
