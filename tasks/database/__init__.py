"""The SQL database: keys and their clients. SQLite in `STOKER_HOME`, or PostgreSQL."""

from tasks.database.engine import Database

__all__ = ["Database"]
