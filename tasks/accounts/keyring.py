"""The API keys that stand in files: in the endpoint files, and the demo key.

They are held as keyed digests only; the id of a key is made from its digest too, so that an id tells
nothing that a weak key could be guessed from.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from pathlib import Path

from schemas import Endpoint
from tasks.accounts.clients import Client

DEMO = "demo"  # name of the key in the demo key file


class KeyRing:
    """All keys that stand in files."""

    def __init__(self, secret: str) -> None:
        """Make an empty ring.

        Args:
            secret: keys the digests; all processes of an installation use the same one.
        """
        self._secret = secret.encode()
        self._by_digest: dict[str, Client] = {}
        self._by_id: dict[str, Client] = {}

    @classmethod
    def load(
        cls, secret: str, endpoints: Mapping[str, Endpoint], demo_key_file: Path | None = None
    ) -> KeyRing:
        """Collect the keys of the endpoint files, and the demo key if its file exists.

        Args:
            secret: see `__init__`.
            endpoints: all endpoints by name.
            demo_key_file: holds a key that opens every endpoint; None: there shall be no such key.

        Raises:
            OSError: the demo key file exists and cannot be read.
        """
        ring = cls(secret)
        for _, endpoint in sorted(endpoints.items()):
            for name, key in sorted(endpoint.authorization_keys.items()):
                ring.add(name, key, endpoint.name)
        if demo_key_file is not None and demo_key_file.exists():
            ring.add(DEMO, demo_key_file.read_text().strip(), None)
        return ring

    def add(self, name: str, key: str, endpoint: str | None) -> None:
        """Let `key` open `endpoint` (None: all), besides what it opens already. An empty key is no key."""
        if not key:
            return
        digest = self._digest(key)
        known = self._by_digest.get(digest)
        opened = None if endpoint is None else frozenset({endpoint})
        if known is not None:
            name = known.name
            opened = None if opened is None or known.endpoints is None else known.endpoints | opened
        key_id = f"{name}-{digest[:16]}"
        self._by_digest[digest] = self._by_id[key_id] = Client(key_id, key_id, name, opened)

    def find(self, key: str) -> Client | None:
        """Give what `key` stands for; None if it is not valid."""
        return self._by_digest.get(self._digest(key))

    def get(self, key_id: str) -> Client | None:
        """Give the key with this id; None if there is none (any more)."""
        return self._by_id.get(key_id)

    def named(self, name: str) -> list[str]:
        """Give the ids of the keys with this name or id."""
        return [key_id for key_id, client in self._by_id.items() if name in (key_id, client.name)]

    def __len__(self) -> int:
        return len(self._by_id)

    def _digest(self, key: str) -> str:
        return hmac.digest(self._secret, key.encode("utf-8", "surrogatepass"), "sha256").hex()
