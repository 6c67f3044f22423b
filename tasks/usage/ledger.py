"""What clients have used, in the database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, case, delete, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from tasks.database import Database
from tasks.database.schema import api_keys, usage
from tasks.usage.record import DAY, UsageRecord

CHUNK = 1000  # rows that are read, or deleted, in one go
GROUPS = ("day", "key", "client", "endpoint")
"""By what totals may be told apart."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs are meant.

    Attributes:
        key: id of an API key, or of a client with all its keys.
        endpoint: name of an endpoint.
        since: they ended at this time or later, in seconds since 1970.
        until: they ended before this time.
    """

    key: str | None = None
    endpoint: str | None = None
    since: float | None = None
    until: float | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Give what must hold for a row."""
        columns = usage.c
        found = []
        if self.key is not None:
            found.append(or_(columns.key == self.key, columns.client == self.key))
        if self.endpoint is not None:
            found.append(columns.endpoint == self.endpoint)
        if self.since is not None:
            found.append(columns.finished >= self.since)
        if self.until is not None:
            found.append(columns.finished < self.until)
        return found


class Ledger:
    """The usage of one installation. Every method raises `DatabaseUnavailable` if the database does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, records: Sequence[UsageRecord]) -> None:
        """Keep records, all of them or none; of two of one job the later one, so it may be done again."""
        if not records:
            return
        with self._database.writing() as connection:
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            statement = dialect.insert(usage)
            new = statement.excluded
            changed = {column.name: new[column.name] for column in usage.c if not column.primary_key}
            statement = statement.on_conflict_do_update(
                index_elements=[usage.c.job], set_=changed, where=new.finished > usage.c.finished
            )
            connection.execute(statement, [asdict(record) | {"day": record.day} for record in records])

    def forget(self, before: int) -> int:
        """Forget jobs that ended on days before this one, `CHUNK` at most; gives how many it were."""
        with self._database.writing() as connection:
            old = select(usage.c.job).where(usage.c.finished < before * DAY).limit(CHUNK)
            return int(connection.execute(delete(usage).where(usage.c.job.in_(old))).rowcount)

    def totals(self, wanted: Filter, by: Sequence[str]) -> list[dict[str, Any]]:
        """Add jobs up.

        Args:
            wanted: which.
            by: names out of `GROUPS`; one row for each combination of their values, in their order.

        Returns:
            Rows of these values; `name` of the key or client, empty if it has none; and the sums.
        """
        groups = [usage.c[name] for name in by]
        columns = usage.c
        counts = [
            func.sum(case((columns.outcome == outcome, 1), else_=0)).label(outcome)
            for outcome in ("done", "failed", "canceled", "lapsed")
        ]
        sums = [
            func.sum(func.coalesce(columns.started, columns.finished) - columns.accepted).label("waited"),
            func.sum(columns.model_seconds).label("model_seconds"),
            func.sum(columns.bytes_in).label("bytes_in"),
            func.sum(columns.bytes_out).label("bytes_out"),
        ]
        query = select(*groups, func.count().label("jobs"), *counts, *sums).where(*wanted.conditions())
        with self._database.reading() as connection:
            rows = connection.execute(query.group_by(*groups).order_by(*groups)).mappings().all()
            names = _names(connection) if {"key", "client"} & set(by) else {}
        return [dict(row) | {"name": names.get(str(row.get("key", row.get("client"))), "")} for row in rows]

    def jobs(self, wanted: Filter) -> Iterator[UsageRecord]:
        """Give single jobs, in the order in which they ended."""
        columns = [usage.c[name] for name in UsageRecord.__slots__]
        query: Select[Any] = select(*columns).where(*wanted.conditions())
        query = query.order_by(usage.c.finished, usage.c.job)
        with self._database.reading() as connection:
            result = connection.execution_options(yield_per=CHUNK).execute(query)
            for row in result:
                yield UsageRecord(*row)


def _names(connection: Connection) -> dict[str, str]:
    """Give the names of the keys in the database, and so of their clients."""
    rows = connection.execute(select(api_keys.c.id, api_keys.c.name))
    return {row.id: row.name for row in rows}
