"""Outcomes to the store, in one pipeline, retried until they are there."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tasks.errors import StoreUnavailable
from tasks.jobs import Job, JobState, Progress, Result
from tasks.records import worker_of
from tasks.store import JobStore
from workers.messages import Outcome
from workers.progress import Throttle
from workers.table import Run

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


class Recorder:
    """Gathers what happened to jobs and writes it, in the order in which it happened to each.

    Args:
        store: where it goes.
        holder: this process, as the store knows it: the worker's name, `#`, and a random part.
        abort: set when the worker is ending by force.
    """

    def __init__(self, store: JobStore, holder: str, abort: threading.Event) -> None:
        self._store, self._holder, self._abort = store, holder, abort
        self._worker = worker_of(holder)
        self._throttle = Throttle()
        self._running: dict[int, Run] = {}
        self._starts: list[Run] = []
        self._last_words: list[tuple[Job, Progress]] = []
        self._results: list[tuple[Run, Result, dict[str, Any]]] = []
        self.refused: list[Run] = []  # started here, though they had ended: lapsed or canceled meanwhile

    @property
    def pending(self) -> bool:
        """Whether outcomes are not stored yet."""
        return bool(self._results)

    def next_due(self) -> float:
        """When held back progress may be written; infinite if there is none."""
        return self._throttle.next_due()

    def started(self, runs: Sequence[Run]) -> None:
        """Take runs whose batch starts."""
        self._starts += runs

    def reported(self, run: Run, progress: Progress, now: float) -> None:
        """Take progress; `now` in seconds of a monotonic clock."""
        self._running[run.number] = run
        self._throttle.offer(run.number, progress, now)

    def ended(self, run: Run, result: Result, session_vars: dict[str, Any] | None = None) -> None:
        """Take the outcome of a run."""
        if (held_back := self.forget(run)) is not None:
            self._last_words.append((run.job, held_back))
        self._results.append((run, result, session_vars or {}))

    def forget(self, run: Run) -> Progress | None:
        """End the progress of a run that is over, or begins anew; gives what was still held back."""
        self._running.pop(run.number, None)
        return self._throttle.forget(run.number)

    def result(self, run: Run, outcome: Outcome, now: float, model_seconds: float = 0.0) -> Result:
        """Give the result that an outcome means; `now` in seconds since 1970."""
        return Result(
            state=JobState.DONE if outcome.error is None else JobState.FAILED,
            accepted=run.job.accepted,
            finished=now,
            outputs=outcome.outputs or {},
            error=outcome.error,
            started=run.started,
            worker=self._worker,
            blobs=outcome.blobs,
            model_seconds=round(model_seconds, 6),
        )

    def write(self, now: float) -> list[tuple[Run, Result]]:
        """Write all that is due; gives the outcomes that are stored now.

        Raises:
            Aborted: the worker is ending by force.
        """
        due = [(self._running[n].job, p) for n, p in self._throttle.take(now) if n in self._running]
        starts, self._starts = self._starts, []
        reports, self._last_words = due + self._last_words, []
        results, self._results = self._results, []
        if not (starts or reports or results):
            return []
        jobs = [run.job for run in starts]
        rows = [(run.job, result, session_vars) for run, result, session_vars in results]
        taken = until_stored(
            lambda: self._store.record(jobs, reports, rows, self._holder, time.time()), self._abort
        )
        self.refused += [run for run, was_open in zip(starts, taken, strict=True) if not was_open]
        return [(run, result) for run, result, _ in results]
