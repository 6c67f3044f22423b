"""How many bytes of requests a process holds."""

from __future__ import annotations

import threading

from app.conversion import ConversionBusy


class HeldBytes:
    """Counts the bytes of bodies, so that senders, who need no key for that, cannot fill the memory.

    Args:
        most: of all requests of this process at a time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Count some bytes.

        Raises:
            ConversionBusy: there would be too many.
        """
        with self._lock:
            if self._held + size > self._most:
                raise ConversionBusy
            self._held += size

    def give_back(self, size: int) -> None:
        """Count some bytes no more."""
        with self._lock:
            self._held -= size
