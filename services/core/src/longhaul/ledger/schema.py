"""The ledger's schema: migrate it up and down, and tell whether a database has the one that this code needs.

Migrations follow expand and contract. One that expands serves the code of before, so code asks for *at least* its own
revision. One that contracts takes away what older code needs, and says so in its revision: `0009_serves_0007` serves
code from 0007 on, and what follows it goes on saying so (docs/decisions/0018-which-schema-serves-which-code.md).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from longhaul.errors import LedgerUnavailable, SchemaMismatch
from longhaul.ledger.connection import Connection, first_line

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"
_REVISION = re.compile(r"[0-9]{4}(?:_serves_[0-9]{4})?(?=_)")


def revisions() -> list[str]:
    """The revisions that this code knows, in order: what the names of their files begin with."""
    found = map(_REVISION.match, (path.name for path in (MIGRATIONS / "versions").glob("[0-9]*.py")))
    return sorted(match[0] for match in found if match)


HEAD = revisions()[-1]

CHANGED = (
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.FeatureNotSupported,  # a prepared statement whose result would be another now
)
"""What a statement of old code may meet when a migration has come: connect again, and check."""

# One migration at a time, whoever starts it: pods and people may run it at once.
_MIGRATION_LOCK = "SELECT pg_advisory_lock(hashtextextended('longhaul:migrate', 0))"


def migrate(database_url: str, revision: str = "head") -> str:
    """Bring the schema to a revision (`head`, a number, or `base` to remove it) and return the one it has then.

    Raises LedgerUnavailable where the database can't be reached, SchemaMismatch where this code does not know a revision.
    """
    from alembic import command
    from alembic.util.exc import CommandError
    from sqlalchemy import create_engine
    from sqlalchemy.exc import OperationalError

    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(database_url, connect_timeout=10))
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(_MIGRATION_LOCK)
            connection.commit()
            config = _config()
            config.attributes["connection"] = connection
            current = _current(connection.connection.driver_connection)
            connection.commit()
            downwards = revision == "base" or (revision != "head" and current is not None and revision < current)
            # A newer schema than this code knows is left alone: rolling back code must not need a migration.
            if downwards or current is None or current <= HEAD:
                (command.downgrade if downwards else command.upgrade)(config, revision)
                connection.commit()
            return _current(connection.connection.driver_connection) or "base"
    except CommandError as error:
        raise SchemaMismatch(
            f"{error}. This version knows the revisions up to {HEAD}: migrate with the version that made the newer one."
        ) from error
    except (OperationalError, psycopg.OperationalError) as error:
        raise LedgerUnavailable(f"The database can't be reached: {first_line(error)}") from error
    finally:
        engine.dispose()


async def read_revision(connection: Connection) -> str | None:
    """The revision of a database's schema; None where it has none."""
    try:
        cursor = await connection.execute("SELECT version_num FROM alembic_version")
    except psycopg.errors.UndefinedTable:
        return None
    return (await cursor.fetchone() or {}).get("version_num")


def check(revision: str | None) -> None:
    """Raise SchemaMismatch unless this revision of a database serves this code."""
    if is_behind(revision):
        raise SchemaMismatch(
            f"The database's schema is at {revision or 'nothing'}, and this version needs {HEAD}: run `longhaul migrate`."
        )
    assert revision is not None  # that would be behind
    if HEAD[:4] < oldest_served(revision):
        raise SchemaMismatch(
            f"The database's schema is at {revision}, and this version knows those up to {HEAD}: update it."
        )


def is_behind(revision: str | None) -> bool:
    """Whether a database must be migrated before it serves this code."""
    return revision is None or revision[:4] < HEAD[:4]


def oldest_served(revision: str) -> str:
    """The oldest revision of code that a schema of this revision serves."""
    return revision.partition("_serves_")[2] or "0001"


def _current(connection: object) -> str | None:
    assert isinstance(connection, psycopg.Connection)
    if connection.execute("SELECT to_regclass('alembic_version')").fetchone() == (None,):
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return row[0] if row else None


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config
