"""The jobs on a continuous model: they join while others run, and each leaves when it has ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from tasks.errors import ModelError
from workers.messages import Item, Outcome
from workers.models.base import ContinuousModel, ModelJob
from workers.queueing import Running
from workers.runner import Runner, in_words, is_out_of_memory

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Entry:
    item: Item
    runner: Runner
    job: ModelJob
    cost: float
    deadline: float


class Session:
    """Runs one continuous model, whichever endpoints its jobs are of.

    Args:
        model: loaded already.
        is_canceled: whether the run of that number shall end.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        model: ContinuousModel,
        is_canceled: Callable[[int], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._is_canceled = is_canceled
        self._clock = clock
        self._group: Hashable = None
        self._entries: dict[int, _Entry] = {}  # by id() of the model's job: a dict is not hashable
        self._worked = 0.0

    @property
    def running(self) -> Running | None:
        """What runs; None if nothing does."""
        if not self._entries:
            return None
        return Running(self._group, len(self._entries), sum(entry.cost for entry in self._entries.values()))

    def take_time(self) -> float:
        """Give the seconds that the model worked since this was asked before."""
        worked, self._worked = self._worked, 0.0
        return worked

    def admit(self, runner: Runner, item: Item, group: Hashable, cost: float) -> Outcome | None:
        """Let a job join; gives its outcome if the model refuses it."""
        self._group = group
        job = runner.model_job(item)
        entry = _Entry(item, runner, job, cost, self._clock() + runner.max_runtime)
        began = self._clock()
        try:
            self._model.admit(job)
        except Exception as error:  # the end of this job, whatever a model may raise
            logger.exception("%s cannot admit job %s", item.endpoint, item.job_id)
            return Outcome(item.number, error=in_words(error))
        finally:
            self._worked += self._clock() - began
        self._entries[id(job)] = entry
        return None

    def step(self) -> tuple[list[Outcome], list[int]]:
        """Let the model take one step.

        Returns:
            Outcomes of the jobs that ended, and numbers of those that must run again, each alone.
        """
        outcomes = self._evict_unwanted()
        began = self._clock()
        failure: Exception | None = None
        try:
            for job, answer in self._model.step() if self._entries else ():
                outcomes.append(self._outcome(job, answer))
        except Exception as error:  # one of these jobs is the culprit, whatever a model may raise
            failure = error
        self._worked += self._clock() - began
        if failure is None:
            return outcomes, []
        failed, again = self._fail(failure)
        return outcomes + failed, again

    def _outcome(self, job: ModelJob, answer: Any) -> Outcome:
        entry = self._entries.pop(id(job), None)
        if entry is None:
            name = type(self._model).__name__
            raise ModelError(f"{name}.step gave an answer for a job that is not running")
        return entry.runner.outcome(entry.item, answer)

    def _evict_unwanted(self) -> list[Outcome]:
        """Take out who is canceled or over time."""
        outcomes = []
        now = self._clock()
        for key, entry in list(self._entries.items()):
            if self._is_canceled(entry.item.number):
                error = "canceled"
            elif now >= entry.deadline:
                error = f"ran longer than max_runtime ({entry.runner.max_runtime:g} s)"
            else:
                continue
            self._evict(key)
            outcomes.append(Outcome(entry.item.number, error=error))
        return outcomes

    def _fail(self, error: Exception) -> tuple[list[Outcome], list[int]]:
        """Empty the model after a failed step: a job that was alone did it; of several, nobody knows."""
        entries = list(self._entries.values())
        for key in list(self._entries):
            self._evict(key)
        if is_out_of_memory(error):
            self._model.release_memory()
        if len(entries) == 1:
            (entry,) = entries
            logger.error("%s failed on job %s", entry.item.endpoint, entry.item.job_id, exc_info=error)
            return [Outcome(entry.item.number, error=in_words(error))], []
        logger.error("a step with %d jobs failed; each runs again, alone", len(entries), exc_info=error)
        return [], [entry.item.number for entry in entries]

    def _evict(self, key: int) -> None:
        """Take a job out; a model that fails at this is not to be trusted: the host ends."""
        self._model.evict(self._entries.pop(key).job)
