"""What a worker does when it is told to stop a second time.

Celery's own handler talks to the broker while it interrupts the main thread, which may be talking to the
broker too: each then waits for what the other has read. Ours only leaves a note, and wakes who reads it.
"""

from __future__ import annotations

import os
from typing import Any

from celery.platforms import EX_FAILURE, signals
from celery.worker import state

ASKING = ("SIGTERM", "SIGINT")  # the first finishes the running batch, the second ends at once
FORCING = "SIGQUIT"


class SecondSignal:
    """Handler of the signals that end a worker at once; everything that is not acked goes back.

    Args:
        wake: a non-blocking eventfd that is written when one comes.
    """

    def __init__(self, wake: int) -> None:
        self._wake = wake

    def install(self) -> None:
        """Handle SIGQUIT, which needs no first signal."""
        signals[FORCING] = self

    def on_first(self, **_: Any) -> None:
        """Handle the next signal of any kind; called by Celery's handler of the first."""
        for name in ASKING:
            signals[name] = self
        os.eventfd_write(self._wake, 1)

    def __call__(self, *_: Any) -> None:
        """Leave the note."""
        state.should_terminate = EX_FAILURE
        os.eventfd_write(self._wake, 1)
        os.write(2, b"worker: ends now; what runs is given back\n")  # a logger's lock may be held
