"""Whether the broker is there: asked seldom, however often somebody wants to know."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from celery import Celery

from tasks.errors import BrokerUnavailable
from tasks.submit import ping_broker

logger = logging.getLogger(__name__)

AGE = 1.0  # s; so long an answer counts: anybody may ask, and the broker is asked by a connection of its own


class BrokerWatch:
    """Knows whether the broker takes connections."""

    def __init__(self, celery: Celery, clock: Callable[[], float] = time.monotonic) -> None:
        """Ask nobody yet.

        Args:
            celery: whose broker it is.
            clock: monotonic, in seconds.
        """
        self._celery = celery
        self._clock = clock
        self._asked, self._answers = float("-inf"), False
        self._lock = threading.Lock()

    def answers(self) -> bool:
        """Tell whether it takes connections, or did a moment ago."""
        with self._lock:  # of all that want to know, one asks
            if self._clock() - self._asked >= AGE:
                try:
                    ping_broker(self._celery)
                    self._answers = True
                except BrokerUnavailable as error:
                    logger.warning("not ready: %s", error)
                    self._answers = False
                self._asked = self._clock()
            return self._answers
