"""How many bytes of requests a process holds."""

from __future__ import annotations

import threading
from collections import Counter

from app.conversion import ConversionBusy


class HeldBytes:
    """Counts the bytes of bodies, so that senders, who need no key for that, cannot fill the memory.

    Args:
        most: of all requests of this process at a time.
        share: of those of one client. Whose key is not known yet counts as one client with all such.
    """

    def __init__(self, most: int, share: int) -> None:
        self._most = most
        self._share = share
        self._held = 0
        self._of: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, client: str, size: int) -> None:
        """Count some bytes.

        Raises:
            ConversionBusy: there would be too many.
        """
        with self._lock:
            if self._held + size > self._most or self._of[client] + size > self._share:
                raise ConversionBusy
            self._held += size
            self._of[client] += size

    def give_back(self, client: str, size: int) -> None:
        """Count some bytes no more."""
        with self._lock:
            self._held -= size
            self._of[client] -= size
            if not self._of[client]:
                del self._of[client]
