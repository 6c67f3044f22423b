"""How the time of a model is shared out among the jobs that it runs together. Pure."""

from __future__ import annotations


class ModelTime:
    """Counts for each run the model's time that it took: while n of them run, each takes an n-th of it.

    So the counts add up to the time for which anything ran. Times are in seconds of one clock.
    """

    def __init__(self) -> None:
        self._at = 0.0  # of the last change
        self._each = 0.0  # what a run has taken that is there from the beginning
        self._running: dict[int, float] = {}  # run -> `_each` when it started

    def started(self, number: int, at: float) -> None:
        """Note that a run started."""
        self._go_on(at)
        self._running[number] = self._each

    def ended(self, number: int, at: float) -> float:
        """Note that a run is over; gives what it took: 0 if it did not run."""
        self._go_on(at)
        return self._each - self._running.pop(number, self._each)

    def _go_on(self, at: float) -> None:
        if self._running:
            self._each += max(0.0, at - self._at) / len(self._running)
        self._at = max(self._at, at)
