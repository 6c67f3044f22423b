"""The thread that brings the usage of clients from the store to the database.

Each API process has one, and one of them at a time does it. A line leaves the store when it is in the
database; one that is written twice counts once. While the database is away, lines wait in the store.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from tasks.errors import DatabaseUnavailable, StoreUnavailable
from tasks.usage.ledger import Ledger
from tasks.usage.queue import UsageQueue
from tasks.usage.record import DAY, UsageRecord

logger = logging.getLogger(__name__)

INTERVAL = 1.0  # s between two looks
CHUNK = 250  # lines that are written in one go: SQLite holds the other requests of this process up meanwhile
PATIENCE = 3  # looks; a SQLite file may be locked for a moment
FORGET = 600.0  # s; so often old records are looked for


class UsageWriter:
    """Writes until it is closed."""

    def __init__(
        self,
        queue: UsageQueue,
        ledger: Ledger,
        days: int,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Make one; it does nothing before it is started.

        Args:
            queue: where lines come from.
            ledger: where they go.
            days: that records are kept.
            interval: seconds between two looks.
            clock: seconds since 1970.
        """
        self._queue = queue
        self._ledger = ledger
        self._days = days
        self._interval = interval
        self._clock = clock
        self._forget_at = 0.0
        self._failures = 0  # in a row
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; in the process that shall write, after all forks."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="usage", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Write what is there, and end the thread."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(self._interval):
            self.look()
        self.look()

    def look(self) -> None:
        """Write what there is; if that cannot be done, it is left for the next time."""
        try:
            while self._write():
                time.sleep(0)  # the requests of this process have their turn
            self._forget()
        except (DatabaseUnavailable, StoreUnavailable) as error:
            self._failures += 1
            if self._failures == PATIENCE:  # once for each outage
                logger.error("the usage of clients waits in the store: %s", error)
        except Exception:  # whatever it was, later ones may go
            logger.exception("the usage of clients could not be written")
        else:
            if self._failures >= PATIENCE:
                logger.info("the usage of clients is written again")
            self._failures = 0

    def _write(self) -> bool:
        """Write some lines; gives whether there may be more."""
        lines = self._queue.take(CHUNK)
        if not lines:
            return False
        self._ledger.add([record for line in lines if (record := _read(line))])
        if dropped := self._queue.done(lines):
            logger.error("the usage of %d jobs was dropped: too many waited for the database", dropped)
        return len(lines) == CHUNK

    def _forget(self) -> None:
        now = self._clock()
        if now < self._forget_at:
            return
        if not self._ledger.forget(int(now // DAY) - self._days):
            self._forget_at = now + FORGET


def _read(line: str) -> UsageRecord | None:
    try:
        return UsageRecord.read(line)
    except ValueError as error:
        logger.error("left out: %s", error)
        return None
