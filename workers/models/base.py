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
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
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

    def release_memory(self) -> None:
        """Give back memory that is only cached: a batch ran out of memory and is tried again in halves."""
        if torch := sys.modules.get("torch"):
            torch.cuda.empty_cache()

    def predict(self, jobs: Sequence[ModelJob]) -> Sequence[Mapping[str, Any] | Exception]:
        """Compute a batch.

        Args:
            jobs: at least one and at most `max_batch_size` of the endpoint file.

        Returns:
            For each job, in the same order, its outputs by name, or an exception instance, which fails
            that job alone with its text. They are encoded while the next batch runs: give each batch arrays
            of its own.

        Raises:
            Exception: anything; the batch is then run again in halves until the job at fault is found.
                What a job does must therefore bear being done twice.
        """
        raise NotImplementedError(f"{type(self).__name__} has no predict method")


class ContinuousModel(Model):
    """Base class of models that work in steps and take new jobs between any two of them.

    A text generator, for instance, makes one token for every job at each step. Jobs join while others run,
    up to `max_batch_size` of the endpoint file, and each leaves when it has ended: a short one never waits
    for a long one. All methods are called from the thread that called `load`.

        class Count(ContinuousModel):
            def load(self):
                self.running = []

            def admit(self, job):
                self.running.append((job, iter(range(job["n"]))))

            def step(self):
                for job, numbers in self.running.copy():
                    if next(numbers, None) is None:
                        self.evict(job)
                        yield job, {"counted": job["n"]}

            def evict(self, job):
                self.running = [(j, numbers) for j, numbers in self.running if j is not job]
    """

    def admit(self, job: ModelJob) -> None:
        """Take a job in; the next step works on it too.

        Raises:
            Exception: anything; it fails this job alone.
        """
        raise NotImplementedError(f"{type(self).__name__} has no admit method")

    def step(self) -> Iterable[tuple[ModelJob, Mapping[str, Any] | Exception]]:
        """Do one step of the work on all jobs.

        Report progress with `job.report`. A job that is canceled is evicted between two steps.

        Returns:
            The jobs that have ended, each with its outputs by name, or with an exception instance, which
            fails it alone. The model has forgotten them.

        Raises:
            Exception: anything; all jobs are evicted, and each runs again from its beginning, alone.
        """
        raise NotImplementedError(f"{type(self).__name__} has no step method")

    def evict(self, job: ModelJob) -> None:
        """Forget a job that has not ended, and free what it holds. Also called for all after an error."""
        raise NotImplementedError(f"{type(self).__name__} has no evict method")

    def predict(self, jobs: Sequence[ModelJob]) -> Sequence[Mapping[str, Any] | Exception]:
        """Run these jobs side by side until the last has ended: for scripts, tests and the warm-up."""
        answers: dict[int, Mapping[str, Any] | Exception] = {}
        running: dict[int, ModelJob] = {}
        try:
            for job in jobs:
                self.admit(job)
                running[id(job)] = job
            while running:
                for job, answer in self.step():
                    answers[id(running.pop(id(job)))] = answer
        finally:
            for job in running.values():  # after an error
                self.evict(job)
        return [answers[id(job)] for job in jobs]
