"""The ledger's schema: migrate it up and down, and tell whether a database has the one that this code needs.

Migrations follow expand and contract: a newer schema still serves the version before, so code asks for *at least* its
own revision. Revisions are numbers in order (`0001`, `0002`, ...).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from longhaul.errors import LedgerUnavailable, SchemaMismatch
from longhaul.ledger.connection import Connection, first_line

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"
HEAD = max(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))

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
    cursor = await connection.execute("SELECT to_regclass('alembic_version') IS NOT NULL AS there")
    if not (await cursor.fetchone() or {}).get("there"):
        return None
    cursor = await connection.execute("SELECT version_num FROM alembic_version")
    return (await cursor.fetchone() or {}).get("version_num")


def check(revision: str | None) -> None:
    """Raise SchemaMismatch unless this revision of a database serves this code."""
    if revision is None or revision < HEAD:
        raise SchemaMismatch(
            f"The database's schema is at {revision or 'nothing'}, and this version needs {HEAD}: run `longhaul migrate`."
        )


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
