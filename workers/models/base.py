"""What a model is: a class that loads once and then turns batches of inputs into outputs.

A complete model, in a file that Python can import, say `shout.py`:

    from workers.models import Model

    class Shout(Model):
        def load(self):
            self.ending = "!"

        def predict(self, jobs):
            return [{"text": job["text"].upper() + self.ending} for job in jobs]

Its endpoint file names it (`[WORKER] model = "shout:Shout"`) and says what goes in and out. Without any
server the same class runs in a script, a notebook or a test:

    model = Shout()
    model.load()
    model.predict([ModelJob({"text": "hello"})])        # [{"text": "HELLO!"}]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any


class JobCanceled(BaseException):
    """Raised by `ModelJob.report` when nobody wants the batch any more.

    Like `KeyboardInterrupt` it is no `Exception`, so that a model that handles errors does not catch it.
    """


class ModelJob(dict[str, Any]):
    """The inputs of one job, by name: checked, converted and with defaults as the endpoint file says.

    An optional input without a default that the client left out is absent: use `job.get("seed")`.
    Session variables of the endpoint are among the inputs.

    Args:
        inputs: the inputs by name.
        id: id of the job.
        report: is called as `report(percent, outputs)`; None if nobody listens.
        is_canceled: tells whether the job was canceled; None if it cannot be.
    """

    def __init__(
        self,
        inputs: Mapping[str, Any],
        id: str = "",
        report: Callable[[float, dict[str, Any]], None] | None = None,
        is_canceled: Callable[[], bool] | None = None,
    ) -> None:
        super().__init__(inputs)
        self.id = id
        self._report = report
        self._is_canceled = is_canceled

    def report(self, percent: float, **outputs: Any) -> None:
        """Tell the client how far this job is.

        Cheap enough for every step of a loop: what comes too fast is thinned out, the latest counts. So
        each report says all there is to say (the whole text so far, not the last word).

        Args:
            percent: 0 to 100; beyond is clamped.
            outputs: partial outputs by name, as declared in `[PROGRESS.OUTPUTS]`.

        Raises:
            ValueError: if `percent` is not a finite number.
        """
        if not math.isfinite(percent):
            raise ValueError(f"percent must be a finite number, not {percent}")
        if self._report is not None:
            self._report(min(100.0, max(0.0, float(percent))), outputs)

    @property
    def canceled(self) -> bool:
        """Whether the client wants this job no more.

        Worth asking at each step of a long computation. Stop working on the job and return any mapping
        for it, for instance what there is so far: the other jobs of the batch go on.
        """
        return self._is_canceled is not None and self._is_canceled()


class Model:
    """Base class of all models.

    The worker makes one instance without arguments, calls `load` once and then `predict` for each batch,
    always from the same thread, in a process that serves nothing else. A model therefore may block,
    hold the GIL and keep a GPU to itself.

    Attributes:
        model_label: name of the model to show to clients; the other attributes describe it likewise.
            None: unknown.
    """

    model_label: str | None = None
    model_family: str | None = None
    model_type: str | None = None
    model_size: str | None = None
    model_quantization: str | None = None
    model_repo_name: str | None = None
    framework: str | None = None
    framework_version: str | None = None  # may be set by `load`, when the framework is imported

    @property
    def description(self) -> dict[str, Any]:
        """What the attributes say, as `/api/endpoints/<name>` shows it among the workers."""
        names = ("label", "family", "type", "size", "quantization", "repo_name")
        model = {name: getattr(self, f"model_{name}") for name in names}
        return {"model": model, "framework": self.framework, "framework_version": self.framework_version}

    def load(self) -> None:
        """Get ready: read weights, move them to the GPU.

        Import heavy libraries here, not at the top of the file: whoever only wants to know the class
        then pays nothing. An error that is raised stops the start of the worker and is shown there.
        """

    def cost(self, job: ModelJob) -> float:
        """Say how much of the endpoint file's `max_batch_cost` a job takes, for instance in pixels.

        It is asked when the job arrives, so it should be quick. Without `max_batch_cost` nobody asks.
        """
        return 1.0

    def predict(self, jobs: Sequence[ModelJob]) -> Sequence[Mapping[str, Any] | Exception]:
        """Compute a batch.

        Args:
            jobs: at least one and at most `max_batch_size` of the endpoint file.

        Returns:
            For each job, in the same order, its outputs by name, or an exception instance, which fails
            that job alone with its text.

        Raises:
            Exception: anything; the batch is then run again in halves until the job at fault is found.
                What a job does must therefore bear being done twice.
        """
        raise NotImplementedError(f"{type(self).__name__} has no predict method")
