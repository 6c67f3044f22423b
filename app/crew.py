"""Who works: asked of the store once for all streams."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from tasks.errors import StoreUnavailable
from tasks.jobs import WorkerInfo

AGE = 1.0  # s; what was known so long ago is still told


class Crew:
    """The workers of each queue, as they were a moment ago."""

    def __init__(
        self, ask: Callable[[str], Sequence[WorkerInfo]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Ask nobody yet.

        Args:
            ask: gives the workers of a queue as they are now.
            clock: monotonic, in seconds.
        """
        self._ask = ask
        self._clock = clock
        self._known: dict[str, tuple[float, Sequence[WorkerInfo]]] = {}
        self._lock = threading.Lock()

    def of(self, queue: str) -> Sequence[WorkerInfo]:
        """List the workers of `queue`; while the store does not answer, those that were known last."""
        with self._lock:  # of all that want to know, one asks
            asked, workers = self._known.get(queue, (float("-inf"), ()))
            if self._clock() - asked > AGE:
                try:
                    workers = self._ask(queue)
                except StoreUnavailable:
                    pass
                self._known[queue] = self._clock(), workers
            return workers
