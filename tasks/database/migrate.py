"""Which version a database has, and how it gets this Stoker's. Imports Alembic only where it must."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, select, table, text
from sqlalchemy.sql import column

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0003"
_PLACE = "tasks.database:migrations"
_ADVISORY_LOCK = 0x53746F6B6572  # any number that nobody else takes; this one says "Stoker"


def lock(connection: Connection) -> None:
    """Keep every other process from migrating until the end of this transaction.

    On SQLite the transaction itself does: it was begun for writing.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ADVISORY_LOCK})


def version(connection: Connection) -> str | None:
    """Give the database's version; None if it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(select(column("version_num")).select_from(table("alembic_version"))).scalar()


def is_older(found: str | None) -> bool:
    """Tell whether a database of version `found` lacks migrations. One of a newer Stoker does not."""
    if found == HEAD:
        return False
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    return found is None or found in known


def upgrade(connection: Connection) -> None:
    """Apply the missing migrations, in the transaction of `connection`."""
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", _PLACE)
    return config
