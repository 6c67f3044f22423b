"""What clients share: each has so many places at a time, and its further calls wait for one of its own."""

from __future__ import annotations

import threading
from weakref import WeakValueDictionary


class Places:
    """The places of each client, kept as long as somebody has one or waits for it.

    Args:
        each: of one client.
    """

    def __init__(self, each: int) -> None:
        self._each = each
        self._of: WeakValueDictionary[str, threading.Semaphore] = WeakValueDictionary()

    def of(self, client: str) -> threading.Semaphore:
        """Give the places of a client; hold on to them until the one that was taken is given back."""
        return self._of.setdefault(client, threading.Semaphore(self._each))
