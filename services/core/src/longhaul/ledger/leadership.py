"""Leadership: which controller leads, and whether the ledger accepts writes.

An advisory lock holds the leadership: it belongs to a session, and PostgreSQL releases it when the session ends.
"""

from __future__ import annotations

from longhaul.ledger.connection import Connection

# PostgreSQL ends a session that is silent for this long; otherwise a frozen leader would keep its lock for ever.
_PREPARE = "SET idle_session_timeout = '10s'"
_TRY_LEAD = "SELECT pg_try_advisory_lock(hashtextextended('longhaul:controller', 0)) AS leads"

# A read-only server still answers reads. The update of no job is refused or waits like a renewal: by a missing grant, a
# lock of the table, a trigger of the statement.
_BEAT = """
WITH renewals AS (UPDATE jobs SET lease_expires_at = lease_expires_at WHERE false)
INSERT INTO leader (seen_at) VALUES (now()) ON CONFLICT (singleton) DO UPDATE SET seen_at = excluded.seen_at
"""


async def prepare(connection: Connection) -> None:
    """Make a session one that may lead."""
    await connection.execute(_PREPARE)


async def try_lead(connection: Connection) -> bool:
    """Take the leadership until this session ends. False if another session has it."""
    cursor = await connection.execute(_TRY_LEAD)
    row = await cursor.fetchone()
    return row is not None and row["leads"]


async def beat(connection: Connection) -> None:
    """Commit a write, as a leader and as a standby. Raises whatever the database says if it refuses that or renewals."""
    await connection.execute(_BEAT)
