"""API keys in the database: make, list, revoke, rotate; and all of them at once, for the API's cache."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, or_, select, update

from tasks.accounts.clients import Client, Limits
from tasks.accounts.secret import digest_of, id_named_by, new_key
from tasks.database import Database
from tasks.database.schema import api_keys, key_changes, webhooks
from tasks.errors import KeyProblems
from tasks.jobs import Priority
from tasks.webhooks.hook import Webhook

CHUNK = 250  # keys that are read in one go
_KEYS = select(api_keys, webhooks.c.hook).select_from(
    api_keys.outerjoin(webhooks, webhooks.c.client == api_keys.c.client)
)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a new key shall allow.

    Attributes:
        name: of the client, for people.
        endpoints: names of the endpoints that it opens; None: all of them, also later ones.
        priority: of its jobs.
        limits: of its own.
        lifetime: seconds that it is valid; None: without end.
    """

    name: str
    endpoints: frozenset[str] | None
    priority: Priority = Priority.NORMAL
    limits: Limits = field(default_factory=Limits)
    lifetime: float | None = None


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as the database knows it. Times are in seconds since 1970.

    Attributes:
        client: whom it stands for.
        digest: of the key; see `tasks/accounts/secret.py`.
        created: when it was made.
        expires: from when on it is not valid any more; None: never.
        revoked: when it was revoked; None: it is not.
        last_used: when it was last used, within some seconds; None: never.
    """

    client: Client
    digest: str
    created: float
    expires: float | None
    revoked: float | None
    last_used: float | None

    @property
    def id(self) -> str:
        """The public part of the key."""
        return self.client.key_id

    def state(self, now: float) -> str:
        """Give `active`, `expired` or `revoked`."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and now >= self.expires else "active"


class KeyStore:
    """The keys of one installation. Every method raises `DatabaseUnavailable` if the database does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, grant: Grant, now: float) -> tuple[KeyRecord, str]:
        """Make a key; gives what is kept of it, and the key itself, which is kept nowhere."""
        with self._database.writing() as connection:
            count_change(connection)
            return _insert(connection, grant, now)

    def all(self) -> list[KeyRecord]:
        """Give all keys, the oldest first, the ended ones too."""
        with self._database.reading() as connection:
            rows = connection.execute(_KEYS.order_by(api_keys.c.created, api_keys.c.id))
            return [_record(row) for row in rows]

    def find(self, name: str) -> KeyRecord:
        """Give a key by its id, its beginning, or the whole of it.

        Raises:
            KeyProblems: there is no such key.
        """
        with self._database.reading() as connection:
            (found,) = _find(connection, [name])
            return found

    def revoke(self, names: Sequence[str], now: float) -> list[KeyRecord]:
        """End keys for good, all of them or none; those that are revoked already stay so.

        Args:
            names: ids, beginnings of keys, or whole keys.
            now: the time.

        Raises:
            KeyProblems: with every name of no key.
        """
        with self._database.writing() as connection:
            count_change(connection)
            ids = [record.id for record in _find(connection, names)]
            open_ones = api_keys.c.id.in_(ids) & api_keys.c.revoked.is_(None)
            connection.execute(update(api_keys).where(open_ones).values(revoked=now))
            return _find(connection, ids)

    def rotate(self, name: str, now: float, overlap: float = 0.0) -> tuple[KeyRecord, str]:
        """Make another key for the same client, who keeps its jobs and limits, and end the old one.

        The new key is valid for as long as the old one was from its beginning.

        Args:
            name: id, beginning or whole of the old key.
            now: the time.
            overlap: seconds that the old key stays valid.

        Raises:
            KeyProblems: there is no such key, or it was revoked.
        """
        with self._database.writing() as connection:
            count_change(connection)
            (old,) = _find(connection, [name])
            if old.revoked is not None:
                raise KeyProblems([f"Key {old.id} was revoked: add a new one"])
            lifetime = None if old.expires is None else old.expires - old.created
            client = old.client
            grant = Grant(client.name, client.endpoints, client.priority, client.limits, lifetime)
            end = {"revoked": now} if overlap <= 0 else {"expires": _earlier(old.expires, now + overlap)}
            connection.execute(update(api_keys).where(api_keys.c.id == old.id).values(**end))
            return _insert(connection, grant, now, client.id)

    def changes(self) -> int:
        """Give a number that grows with every change of a key."""
        with self._database.reading() as connection:
            return _changes(connection)

    def snapshot(self) -> tuple[int, dict[str, KeyRecord]]:
        """Give the number of changes, and all keys by id with at least these changes."""
        with self._database.reading() as connection:
            number = _changes(connection)
            records: dict[str, KeyRecord] = {}
            for rows in connection.execute(_KEYS).partitions(CHUNK):
                records |= {row.id: _record(row) for row in rows}
                time.sleep(0)  # other requests of this process have their turn: 10,000 keys take 0.2 s
            return number, records

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def touch(self, used: Mapping[str, float]) -> None:
        """Record when keys were used last; an older time changes nothing."""
        if not used:
            return
        statement = (
            update(api_keys)
            .where(api_keys.c.id == bindparam("key"))
            .where(or_(api_keys.c.last_used.is_(None), api_keys.c.last_used < bindparam("at")))
            .values(last_used=bindparam("at"))
        )
        with self._database.writing() as connection:  # in order: two processes cannot lock each other out
            connection.execute(statement, [{"key": key, "at": at} for key, at in sorted(used.items())])


def count_change(connection: Connection) -> None:
    """Raise the number of changes; others that change keys wait here until this transaction has ended."""
    connection.execute(update(key_changes).values(number=key_changes.c.number + 1))


def _changes(connection: Connection) -> int:
    return int(connection.execute(select(key_changes.c.number)).scalar_one())


def _insert(
    connection: Connection, grant: Grant, now: float, client: str | None = None
) -> tuple[KeyRecord, str]:
    key_id, key = new_key()
    values = {
        "id": key_id,
        "client": client or key_id,
        "name": grant.name,
        "digest": digest_of(key),
        "endpoints": None if grant.endpoints is None else sorted(grant.endpoints),
        "priority": grant.priority.value,
        "requests_per_minute": grant.limits.requests_per_minute,
        "jobs_at_once": grant.limits.jobs_at_once,
        "bytes_per_day": grant.limits.bytes_per_day,
        "seconds_per_day": grant.limits.seconds_per_day,
        "created": now,
        "expires": None if grant.lifetime is None else now + grant.lifetime,
    }
    connection.execute(insert(api_keys).values(**values))
    (record,) = _find(connection, [key_id])
    return record, key


def _find(connection: Connection, names: Sequence[str]) -> list[KeyRecord]:
    """Give the keys of these names, in their order.

    Raises:
        KeyProblems: with every name of no key.
    """
    ids = [id_named_by(name) for name in names]
    rows = connection.execute(_KEYS.where(api_keys.c.id.in_([i for i in ids if i])))
    found = {row.id: _record(row) for row in rows}
    # What has not the form of a key is not repeated: it may be a secret all the same.
    problems = [
        f"There is no key {key_id}; `stoker keys list` shows all"
        if key_id
        else f"Number {place} is not the id of a key: that has 10 letters, as `stoker keys list` shows them"
        for place, key_id in enumerate(ids, start=1)
        if key_id not in found
    ]
    if problems:
        raise KeyProblems(problems)
    return [found[key_id] for key_id in ids if key_id]


def _record(row: Row[Any]) -> KeyRecord:
    client = Client(
        id=row.client,
        key_id=row.id,
        name=row.name,
        endpoints=None if row.endpoints is None else frozenset(row.endpoints),
        priority=Priority(row.priority),
        limits=Limits(row.requests_per_minute, row.jobs_at_once, row.bytes_per_day, row.seconds_per_day),
        webhook=None if row.hook is None else Webhook.from_text(row.hook),
    )
    return KeyRecord(client, row.digest, row.created, row.expires, row.revoked, row.last_used)


def _earlier(first: float | None, second: float) -> float:
    return second if first is None else min(first, second)
