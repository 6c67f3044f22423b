"""One batch on one model: progress, outputs, one failure per job."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from schemas import Endpoint, OutputError
from tasks.blobs import Blobs
from tasks.errors import ModelError
from workers.luggage import Stow
from workers.messages import Item, Outcome
from workers.models.base import JobCanceled, Model, ModelJob

logger = logging.getLogger(__name__)

Report = Callable[[int, float, dict[str, Any], Blobs], None]


class Runner:
    """Runs batches of one endpoint on its model.

    Args:
        endpoint: declares the outputs.
        model: loaded already.
        report: is called with number, percent and encoded partial outputs.
        is_canceled: whether the run of that number shall end.
        stow: takes the large values out of outputs.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        model: Model,
        report: Report = lambda number, percent, outputs, blobs: None,
        is_canceled: Callable[[int], bool] = lambda number: False,
        stow: Stow = lambda values: (values, []),
    ) -> None:
        self._endpoint = endpoint
        self._model = model
        self._report = report
        self._is_canceled = is_canceled
        self._stow = stow

    def group(self, item: Item) -> Hashable:
        """Say with which jobs of its endpoint this one may share a batch: those of equal groups."""
        return tuple(repr(item.inputs.get(name)) for name in self._endpoint.group_by)

    def cost(self, item: Item) -> float:
        """Say how much of `max_batch_cost` this job takes; as much as there is, if the model cannot say."""
        if self._endpoint.max_batch_cost is None:
            return 1.0
        try:
            return float(self._model.cost(ModelJob(item.inputs, id=item.job_id)))
        except Exception:  # it fails in predict too, alone, where the client is told
            logger.exception("%s cannot tell the cost of job %s", self._endpoint.name, item.job_id)
            return math.inf

    @property
    def max_runtime(self) -> float:
        """Seconds after which a job counts as hung."""
        return self._endpoint.max_runtime

    def run(self, items: Sequence[Item]) -> list[Any]:
        """Run a batch; raises nothing.

        Returns:
            For each item, in order, what the model gave, or the outcome of one that failed: for `outcomes`.
        """
        try:
            return self._predict(items)
        except JobCanceled:
            return [Outcome(item.number, error="canceled") for item in items]
        except ModelError as error:  # the model broke its contract: which job it was does not matter
            logger.error("%s: %s", self._endpoint.name, error)
            return [Outcome(item.number, error=in_words(error)) for item in items]
        except Exception as error:  # the end of these jobs, whatever a model may raise
            if len(items) == 1:
                logger.exception("%s failed on job %s", self._endpoint.name, items[0].job_id)
                return [Outcome(items[0].number, error=in_words(error))]
            out_of_memory = is_out_of_memory(error)
        # The error is gone here, and with it the model's frames, which may hold the memory that was short.
        if out_of_memory:
            logger.warning("%s: out of memory with %d jobs; trying halves", self._endpoint.name, len(items))
            self._model.release_memory()
        middle = len(items) // 2  # one of them is the culprit: halve until it stands alone
        return self.run(items[:middle]) + self.run(items[middle:])

    def outcomes(self, items: Sequence[Item], answers: Sequence[Any]) -> list[Outcome]:
        """Encode what `run` gave for these items; from any thread."""
        return [self.outcome(item, answer) for item, answer in zip(items, answers, strict=True)]

    def _predict(self, items: Sequence[Item]) -> list[Any]:
        numbers = [item.number for item in items]
        answers = list(self._model.predict([self.model_job(item, numbers) for item in items]))
        if len(answers) != len(items):
            name = type(self._model).__name__
            raise ModelError(f"{name}.predict gave {len(answers)} results for {len(items)} jobs")
        return answers

    def model_job(self, item: Item, batch: Sequence[int] = ()) -> ModelJob:
        """Give the job as its model sees it; when all of `batch` are canceled, its report raises."""

        def report(percent: float, outputs: dict[str, Any]) -> None:
            self._report(item.number, percent, *self._stow(self._endpoint.dump_progress_outputs(outputs)))
            if batch and all(map(self._is_canceled, batch)):  # else the others of the batch would end with it
                raise JobCanceled

        return ModelJob(
            item.inputs, id=item.job_id, report=report, is_canceled=lambda: self._is_canceled(item.number)
        )

    def outcome(self, item: Item, answer: Any) -> Outcome:
        """Encode what the model gave for a job."""
        if isinstance(answer, Outcome):
            return answer
        if isinstance(answer, Exception):
            return Outcome(item.number, error=in_words(answer))
        if not isinstance(answer, Mapping):
            name = type(self._model).__name__
            return Outcome(item.number, error=f"{name} gave a {type(answer).__name__}, not a mapping")
        session_vars = {name: answer[name] for name in self._endpoint.session_vars if name in answer}
        try:
            outputs, blobs = self._stow(self._endpoint.dump_outputs(answer))
            json.dumps(session_vars, allow_nan=False, ensure_ascii=False).encode()
        except OutputError as error:
            return Outcome(item.number, error=in_words(error))
        except (TypeError, ValueError) as error:
            return Outcome(item.number, error=f"a session variable is not JSON: {in_words(error)}")
        except Exception as error:  # the end of this job, whatever an encoder may raise
            logger.exception("%s: outputs of job %s cannot be encoded", self._endpoint.name, item.job_id)
            return Outcome(item.number, error=in_words(error))
        return Outcome(item.number, outputs=outputs, session_vars=session_vars, blobs=blobs)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory, also that of a GPU, was short: torch's error is named so in every backend."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def in_words(error: BaseException) -> str:
    """Give an error as text that UTF-8 can carry: a file name in it may hold halves of surrogate pairs."""
    name = "" if isinstance(error, ModelError | OutputError) else type(error).__name__
    return ": ".join(filter(None, [name, str(error)])).encode("utf-8", "backslashreplace").decode()
