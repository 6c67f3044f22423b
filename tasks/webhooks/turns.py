"""Keeps clients whose servers are slow from taking all threads: others are told in time."""

from __future__ import annotations

import threading
from collections import Counter

SLOW = 2.0  # s; an attempt that takes longer makes its client a slow one
REMEMBERED = 60.0  # s; for so long
SLOW_AT_ONCE = 2  # attempts for a slow client; for any other as many as there are threads


class Turns:
    """Who is being sent to. Times are of any clock that does not go back, in seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: Counter[str] = Counter()
        self._slow_until: dict[str, float] = {}

    def begin(self, client: str, now: float) -> bool:
        """Begin an attempt, unless this client must wait for the ones before."""
        with self._lock:
            if now < self._slow_until.get(client, now) and self._busy[client] >= SLOW_AT_ONCE:
                return False
            self._busy[client] += 1
            return True

    def end(self, client: str, began: float, now: float) -> None:
        """End an attempt."""
        with self._lock:
            self._busy[client] -= 1
            if not self._busy[client]:
                del self._busy[client]
            if now - began > SLOW:
                self._slow_until[client] = now + REMEMBERED
            elif client in self._slow_until and now >= self._slow_until[client]:
                del self._slow_until[client]
