"""The tables. Times are in seconds since 1970. A change here needs a migration beside it."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Double, Index, Integer, MetaData, String, Table

metadata = MetaData(
    naming_convention={"pk": "pk_%(table_name)s", "uq": "uq_%(table_name)s_%(column_0_name)s"}
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),  # public part of the key
    Column("client", String(16), nullable=False),  # id of the first key of its line: rotation keeps it
    Column("name", String(100), nullable=False),
    Column("digest", String(64), nullable=False),  # SHA-256 of the key, hexadecimal
    Column("endpoints", JSON(none_as_null=True)),  # names; null: all
    Column("priority", String(16), nullable=False),
    Column("requests_per_minute", Integer),  # null: as the settings say; 0: any number
    Column("jobs_at_once", Integer),  # null: as endpoint file and settings say; 0: any number
    Column("bytes_per_day", BigInteger),  # the same
    Column("seconds_per_day", Integer),  # the same
    Column("created", Double, nullable=False),
    Column("expires", Double),
    Column("revoked", Double),
    Column("last_used", Double),
)

key_changes = Table(
    "key_changes",
    metadata,
    # One row. Every change of a key raises the number first, so that changes become visible one by one.
    Column("number", Integer, primary_key=True, autoincrement=False),
)

usage = Table(
    "usage",
    metadata,
    Column("job", String(64), primary_key=True),
    Column("client", String, nullable=False),
    Column("key", String, nullable=False),
    Column("endpoint", String(64), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("day", Integer, nullable=False),  # on which it ended, in UTC, since 1970
    Column("accepted", Double, nullable=False),
    Column("started", Double),
    Column("finished", Double, nullable=False),
    Column("model_seconds", Double, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Index("ix_usage_finished", "finished"),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("client", String(), primary_key=True),  # also of keys in files
    Column("hook", String()),  # JSON, see `tasks/webhooks/hook.py`; null: none
    Column("rotation", Integer, server_default="0", nullable=False),  # number of its secret
    Column("overlap_until", Double),  # so long the secret before counts as well
)
