"""Connections to the ledger, and what their failures mean."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from enum import Enum
from typing import Any, TypeAlias

import orjson
import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from longhaul.errors import LedgerRefuses, LedgerUnavailable
from longhaul.ledger import stored_json

Connection: TypeAlias = psycopg.AsyncConnection[DictRow]
Cursor: TypeAlias = psycopg.AsyncCursor[DictRow]
Pool: TypeAlias = AsyncConnectionPool[Connection]

AWAY = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, OSError)
"""Raised where the database can't be reached, was shut down, or did not answer in time."""


class Refusal(Enum):
    """Why the ledger did not carry out a statement, and so what its caller can do."""

    AWAY = "away"
    """The server or the connection is gone: connect again and repeat."""
    EVERYTHING = "everything"
    """The server answers, and refuses such statements whatever their values are (it is read-only, a grant is missing, a
    trigger raises): repeat later."""
    VALUES = "values"
    """It can't store a value of this very statement: repeating never helps, and other values do no harm."""
    CONFLICT = "conflict"
    """Another transaction or a time limit got in the way: repeat the same statement."""


# By SQLSTATE, or its first two characters, its class (https://www.postgresql.org/docs/current/errcodes-appendix.html).
# Every other state is Refusal.EVERYTHING.
_REFUSALS = {
    "08": Refusal.AWAY,  # connection exception
    "25P03": Refusal.AWAY,  # idle_in_transaction_session_timeout: the session was ended
    "25P04": Refusal.AWAY,  # transaction_timeout: the same
    "53": Refusal.AWAY,  # insufficient resources: too many connections, disk full, out of memory
    "57": Refusal.AWAY,  # operator intervention: shut down, crashed, starting up
    "40": Refusal.CONFLICT,  # transaction rollback: serialization failure, deadlock
    "55P03": Refusal.CONFLICT,  # lock_not_available
    "57014": Refusal.CONFLICT,  # query_canceled: the statement timeout, as a rule
    "21": Refusal.VALUES,  # cardinality violation
    "22": Refusal.VALUES,  # data exception
    "23": Refusal.VALUES,  # integrity constraint violation
    "44": Refusal.VALUES,  # check option violation
    "54": Refusal.VALUES,  # program limit exceeded: too complex, too large
}


def refusal_of(error: BaseException) -> Refusal | None:
    """Why the ledger did not carry out a statement; None for an error that is not the ledger's."""
    if isinstance(error, psycopg.Error) and error.sqlstate:
        return _REFUSALS.get(error.sqlstate) or _REFUSALS.get(error.sqlstate[:2]) or Refusal.EVERYTHING
    if isinstance(error, LedgerRefuses):
        return Refusal.EVERYTHING
    if isinstance(error, LedgerUnavailable | psycopg.OperationalError | psycopg.InterfaceError | OSError):
        return Refusal.AWAY  # asyncio's and the pool's timeouts are among them
    # What psycopg and orjson refuse to send: NUL, lone surrogates, integers of more than 64 bits in JSON.
    if isinstance(error, psycopg.DataError | psycopg.IntegrityError | UnicodeEncodeError | orjson.JSONEncodeError):
        return Refusal.VALUES
    return Refusal.EVERYTHING if isinstance(error, psycopg.Error) else None


_REASONS = {
    "25006": "The database is read-only: jobs can be read, and nothing can be submitted or changed.",
    "42501": "The database's role lacks a grant that this request needs: an administrator must grant it again.",
}
_REPEAT = "Send the same request again after `Retry-After` seconds."


def _refuses(error: Exception) -> LedgerRefuses:
    reason = _REASONS.get(error.sqlstate or "") if isinstance(error, psycopg.Error) else None
    return LedgerRefuses(f"{reason} {_REPEAT}" if reason else None)


def _options(statement_timeout_seconds: float) -> dict[str, Any]:
    return {
        "autocommit": True,
        "row_factory": dict_row,
        "connect_timeout": 5,
        # A peer that vanished without a word is noticed within ten seconds.
        "keepalives_idle": 4,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        "options": f"-c statement_timeout={int(statement_timeout_seconds * 1000)}"
        " -c idle_in_transaction_session_timeout=30000 -c timezone=UTC",
    }


async def _configure(connection: Connection) -> None:
    set_json_loads(stored_json.loads, connection)


def first_line(error: Exception) -> str:
    """What an error says, without the lines of hints that libpq adds; its class where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


async def connect(
    database_url: str,
    *,
    application_name: str,
    statement_timeout_seconds: float = 5.0,
    plans_once: bool = False,
) -> Connection:
    """One connection of one's own. Raises LedgerUnavailable.

    `plans_once` suits a connection that repeats few statements for ever: planning a claim anew each time takes longer
    than running it (1.1 ms of 1.6 ms, measured on PostgreSQL 18).
    """
    try:
        connection = await psycopg.AsyncConnection.connect(
            database_url, application_name=application_name, **_options(statement_timeout_seconds)
        )
    except AWAY as error:
        raise LedgerUnavailable(f"The database can't be reached: {first_line(error)}") from error
    await _configure(connection)
    if plans_once:
        connection.prepare_threshold = 0
        await connection.execute("SET plan_cache_mode = force_generic_plan")
    return connection


def create_pool(
    database_url: str,
    *,
    application_name: str,
    max_size: int,
    statement_timeout_seconds: float = 5.0,
    acquire_timeout_seconds: float = 2.0,
) -> Pool:
    """A pool that is not open yet. Callers wait at most `acquire_timeout_seconds` for a connection."""
    return AsyncConnectionPool(
        database_url,
        connection_class=psycopg.AsyncConnection[DictRow],
        kwargs={"application_name": application_name, **_options(statement_timeout_seconds)},
        configure=_configure,
        min_size=1,
        max_size=max_size,
        timeout=acquire_timeout_seconds,
        reconnect_timeout=30.0,
        open=False,
    )


@asynccontextmanager
async def acquire(pool: Pool) -> AsyncIterator[Connection]:
    """A connection of the pool. Raises LedgerRefuses where the ledger refuses everything, LedgerUnavailable where it is
    away or something got in the way; what it says of a statement's values stays as it is."""
    try:
        async with pool.connection() as connection:
            yield connection
    except Exception as error:
        match refusal_of(error):
            case Refusal.EVERYTHING:
                raise _refuses(error) from error
            case Refusal.AWAY | Refusal.CONFLICT:
                raise LedgerUnavailable from error
        raise


async def read_clock(connection: Connection) -> datetime:
    """`now()` of PostgreSQL, the only clock that leases go by."""
    cursor = await connection.execute("SELECT now() AS at")
    row = await cursor.fetchone()
    assert row is not None
    at: datetime = row["at"]
    return at


def dumps(value: object) -> str:
    """JSON as the ledger stores it."""
    return orjson.dumps(value).decode()
