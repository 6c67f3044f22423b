"""Connections to the database: how each kind is opened, and what is made of their errors."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from tasks.database import migrate
from tasks.errors import DatabaseOutdated, DatabaseUnavailable, SettingsError
from tasks.settings import Settings

logger = logging.getLogger(__name__)

FILE = "stoker.db"  # in STOKER_HOME
CONNECT_WITHIN = 2  # s
PATIENCE = 10.0  # s; so long a writer waits for another one of a SQLite file
HURRIED = 0.05  # s
_WRITES, _WAITS = "stoker_writes", "stoker_waits"
_POSTGRESQL = {
    "connect_timeout": CONNECT_WITHIN,
    # A server that vanished without a word: noticed in about 10 s.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10000,  # ms
}


class Database:
    """The SQL database of one installation. Opens no connection before it is asked."""

    def __init__(self, url: URL, *, hurried: bool = False) -> None:
        """Describe a database.

        Args:
            url: of SQLite or PostgreSQL.
            hurried: for a process in which everything stands still as long as SQLite waits: it waits little
                for others that write, and not at all for the disk.
        """
        self._engine = _engine(url, hurried)
        weakref.finalize(self, self._engine.dispose)  # whoever forgets it leaves no connection open
        self._patience = HURRIED if hurried else PATIENCE
        self._embedded = self._engine.dialect.name == "sqlite"
        self._checked = False
        self._lock = threading.Lock()

    @classmethod
    def of(cls, settings: Settings, *, hurried: bool = False) -> Database:
        """Describe the database that the settings name; without one: a SQLite file in `home`.

        Raises:
            SettingsError: there is no such database, or its driver is not installed.
        """
        if settings.database_url is None:
            return cls(URL.create("sqlite", database=str(settings.home / FILE)), hurried=hurried)
        try:
            url = make_url(settings.database_url)
            if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
                raise SettingsError(["STOKER_DATABASE_URL names no file: sqlite:////absolute/path.db"])
            return cls(url, hurried=hurried)
        except ImportError:
            needed = "STOKER_DATABASE_URL needs PostgreSQL's driver: pip install 'stoker[postgresql]'"
            raise SettingsError([needed]) from None
        except (ArgumentError, ValueError):  # their texts may hold the password
            raise SettingsError(["STOKER_DATABASE_URL is not the URL of a database"]) from None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection in a transaction that only reads.

        Raises:
            DatabaseUnavailable: the database does not answer, or is none of this version.
        """
        self._check()
        with self._transaction(writes=False) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection in a transaction; what was written counts when the context ends.

        Raises:
            DatabaseUnavailable: the database does not answer, or is none of this version.
        """
        self._check()
        with self._transaction(writes=True) as connection:
            yield connection

    def upgrade(self) -> bool:
        """Bring the tables to this version; any number of processes may try at once.

        Returns:
            Whether there was something to do.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        with self._alone(), self._transaction(writes=True, patience=PATIENCE) as connection:
            migrate.lock(connection)
            if not migrate.is_older(migrate.version(connection)):
                return False
            migrate.upgrade(connection)
            return True

    def close(self) -> None:
        """Close the kept connections."""
        self._engine.dispose()

    def _check(self) -> None:
        """See to it once that the tables are of this version. A file has one installation: it is upgraded."""
        with self._lock:
            if self._checked:
                return
            with self._transaction(writes=False, patience=PATIENCE) as connection:
                found = migrate.version(connection)
                older = migrate.is_older(found)
            if older and not self._embedded:
                raise DatabaseOutdated(found, migrate.HEAD)
            if older and self.upgrade():
                logger.info("database upgraded to version %s", migrate.HEAD)
            self._checked = True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep the other processes from the upgrade of a SQLite file, and prepare it."""
        if not self._embedded:
            yield
            return
        file = Path(self._engine.url.database or "")
        with _translated():
            _make_file(file)
            lock = os.open(f"{file}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(lock), _translated():
            fcntl.flock(lock, fcntl.LOCK_EX)
            with self._engine.connect() as connection:
                # Readers wait for no writer. It fails at once where two processes try.
                connection.connection.cursor().execute("PRAGMA journal_mode=WAL")
            yield

    @contextmanager
    def _transaction(self, *, writes: bool, patience: float | None = None) -> Iterator[Connection]:
        options = {_WRITES: writes, _WAITS: self._patience if patience is None else patience}
        engine = self._engine.execution_options(**options)
        with _translated(), engine.begin() as connection:
            yield connection


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what is wrong with the database into `DatabaseUnavailable`, in the driver's words."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise DatabaseUnavailable(f"the database does not answer: {str(reason).strip()}") from error


def _engine(url: URL, hurried: bool) -> Engine:
    if url.get_backend_name() == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
        return create_engine(
            url,
            connect_args=_POSTGRESQL,
            hide_parameters=True,
            max_overflow=2,
            pool_pre_ping=True,
            pool_size=1,
            pool_timeout=CONNECT_WITHIN,
        )
    engine = create_engine(url, connect_args={"timeout": PATIENCE}, hide_parameters=True)
    event.listen(
        engine, "do_connect", lambda dialect, record, arguments, options: _make_file(Path(arguments[0]))
    )
    event.listen(engine, "connect", _prepare_sqlite)
    if hurried:
        event.listen(engine, "connect", _spare_disk)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_file(path: Path) -> None:
    """Make the file of a SQLite database as one that only its owner opens; SQLite would follow the umask."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Not by opening it: to close it would end the locks that this process holds on it.
    with suppress(FileExistsError):
        os.mknod(path, 0o600)


def _prepare_sqlite(connection: sqlite3.Connection, record: Any) -> None:
    connection.isolation_level = None  # Python's sqlite3 begins transactions late, and none for CREATE TABLE


def _spare_disk(connection: sqlite3.Connection, record: Any) -> None:
    connection.execute("PRAGMA synchronous=NORMAL")  # a power cut may take back the last writes


def _begin_sqlite(connection: Connection) -> None:
    # One that begins to read and then writes may fail at once, however long it would be willing to wait.
    options = connection.get_execution_options()
    connection.exec_driver_sql(f"PRAGMA busy_timeout={options[_WAITS] * 1000:.0f}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options[_WRITES] else "BEGIN")
