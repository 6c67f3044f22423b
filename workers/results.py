"""Outcomes to the store, in one pipeline, retried until they are there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from tasks.errors import StoreUnavailable
from tasks.jobs import Job, JobState, Result
from workers.messages import Outcome

logger = logging.getLogger(__name__)

T = TypeVar("T")
PAUSES = (0.1, 0.2, 0.5, 1.0)  # s between attempts; the last one repeats


class Aborted(Exception):
    """The worker is ending by force: what is not stored is given back to the broker."""


def until_stored(action: Callable[[], T], abort: threading.Event) -> T:
    """Repeat `action` until the store answers.

    Raises:
        Aborted: `abort` was set before.
    """
    attempt = 0
    while True:
        try:
            return action()
        except StoreUnavailable as error:
            pause = PAUSES[min(attempt, len(PAUSES) - 1)]
            log = logger.warning if attempt == 0 else logger.debug
            log("%s; trying again until it does", error)
            if abort.wait(pause):
                raise Aborted from error
            attempt += 1


def to_result(job: Job, outcome: Outcome, started: float | None, finished: float, worker: str) -> Result:
    """Give the result that an outcome means."""
    return Result(
        state=JobState.DONE if outcome.error is None else JobState.FAILED,
        accepted=job.accepted,
        finished=finished,
        outputs=outcome.outputs or {},
        error=outcome.error,
        started=started,
        worker=worker,
    )
