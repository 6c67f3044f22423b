"""One rule for all keys, wherever they are kept."""

from __future__ import annotations

from typing import Protocol

from tasks.accounts.clients import Client


class KeySource(Protocol):
    """Some of the keys of this installation."""

    def find(self, key: str) -> Client | None:
        """Give the client that `key` stands for; None if it is not valid here."""

    def get(self, key_id: str) -> Client | None:
        """Give the client of the key with this id; None if there is none here (any more)."""


class Clients:
    """All clients of this installation: the sources are asked in turn."""

    def __init__(self, *sources: KeySource) -> None:
        self._sources = sources

    def find(self, key: str) -> Client | None:
        """Give the client that `key` stands for; None if it is not valid.

        Raises:
            DatabaseUnavailable: nobody can tell at the moment.
        """
        return next((client for source in self._sources if (client := source.find(key))), None)

    def get(self, key_id: str) -> Client | None:
        """Give the client of the key with this id; None if it is not valid (any more).

        Raises:
            DatabaseUnavailable: nobody can tell at the moment.
        """
        return next((client for source in self._sources if (client := source.get(key_id))), None)
