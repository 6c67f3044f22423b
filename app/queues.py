"""How long a new job would wait."""

from __future__ import annotations

import time

from tasks.jobs import Priority
from tasks.records import estimate
from tasks.store import JobStore

KEPT = 1.0  # s; so long a look at a queue counts


class Queues:
    """Estimates how long a job would wait, as of at most `KEPT` seconds ago: few requests ask the store."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._seen: dict[tuple[str, Priority], tuple[float, float]] = {}

    def wait(self, queue: str, priority: Priority) -> float:
        """Give the seconds that a new job would wait, by what its queue's workers took of late.

        It is 0 where no job waits, whatever it was like before, and -1 without a worker.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        now = time.monotonic()
        at, seconds = self._seen.get((queue, priority), (float("-inf"), 0.0))
        if now - at >= KEPT:
            self._seen[queue, priority] = now, seconds  # what was seen counts on while this one looks again
            seconds = estimate(self._store.workers(queue), self._store.queue_length(queue, priority))
            self._seen[queue, priority] = now, seconds
        return seconds
