"""Webhooks of clients in the database: where their server is, and how often their secret was rotated.

A client without a row has no server of its own and its first secret: so it is with keys that stand in files.
"""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from tasks.accounts.keys import count_change
from tasks.database import Database
from tasks.database.schema import webhooks
from tasks.webhooks.hook import Webhook
from tasks.webhooks.signing import Rotation


class WebhookStore:
    """The webhooks of one installation. Every method raises `DatabaseUnavailable` if the database does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rotation(self, client: str) -> Rotation:
        """Tell which of a client's secrets counts."""
        with self._database.reading() as connection:
            return _rotation(connection, client)

    def rotate(self, client: str, now: float, overlap: float) -> Rotation:
        """Give a client another secret; the old one counts as well for `overlap` seconds."""
        with self._database.writing() as connection:
            rotation = Rotation(
                _rotation(connection, client).number + 1, now + overlap if overlap > 0 else None
            )
            _write(connection, client, rotation=rotation.number, overlap_until=rotation.overlap_until)
            return rotation

    def set(self, client: str, hook: Webhook | None) -> None:
        """Tell this server of a client's jobs unless their requests name another one; None: tell none."""
        with self._database.writing() as connection:
            count_change(connection)
            _write(connection, client, hook=None if hook is None else hook.to_text())


def _rotation(connection: Connection, client: str) -> Rotation:
    columns = select(webhooks.c.rotation, webhooks.c.overlap_until)
    row = connection.execute(columns.where(webhooks.c.client == client)).one_or_none()
    return Rotation() if row is None else Rotation(row.rotation, row.overlap_until)


def _write(connection: Connection, client: str, **values: object) -> None:
    changed = connection.execute(update(webhooks).where(webhooks.c.client == client).values(**values))
    if not changed.rowcount:
        connection.execute(insert(webhooks).values(client=client, **values))
