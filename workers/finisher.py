"""The last part of a batch, beside the first part of the next."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Finisher:
    """Does one piece of work at a time, in order; called from one thread."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "finisher")
        self._last: Future[None] | None = None

    def finish(self, work: Callable[[], None], beside: bool) -> None:
        """Do `work` once the piece before is done: now, or `beside` what the caller does next.

        Raises:
            Exception: what the piece before, or this one, has raised.
        """
        self.wait()
        if beside:
            self._last = self._thread.submit(work)
        else:
            work()

    def wait(self) -> None:
        """Wait until everything is done; raises what it has raised."""
        last, self._last = self._last, None
        if last is not None:
            last.result()
