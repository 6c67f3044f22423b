"""Progress on its way to the store: at most ten writes a second for a job, the last one always. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tasks.jobs import Progress

INTERVAL = 0.1  # s between two writes of one job


@dataclass
class _Entry:
    due: float
    progress: Progress | None


class Throttle:
    """Holds back progress that comes too fast; of what is held back only the latest counts.

    Args:
        interval: seconds between two writes for one run.
    """

    def __init__(self, interval: float = INTERVAL) -> None:
        self._interval = interval
        self._entries: dict[int, _Entry] = {}

    def offer(self, number: int, progress: Progress, now: float) -> None:
        """Take the progress of run `number`."""
        entry = self._entries.setdefault(number, _Entry(now, None))
        entry.progress = progress

    def take(self, now: float) -> list[tuple[int, Progress]]:
        """Take all progress that may be written now."""
        taken = []
        for number, entry in self._entries.items():
            if entry.progress is not None and entry.due <= now:
                taken.append((number, entry.progress))
                entry.due, entry.progress = now + self._interval, None
        return taken

    def forget(self, number: int) -> Progress | None:
        """End a run; gives the progress that was still held back."""
        entry = self._entries.pop(number, None)
        return entry.progress if entry else None

    def next_due(self) -> float:
        """When there is something to take; infinite if nothing is held back."""
        return min((e.due for e in self._entries.values() if e.progress is not None), default=math.inf)
