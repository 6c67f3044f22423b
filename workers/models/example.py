"""A demonstration: waits, reports progress on the way, and counts the requests of a session."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workers.models.base import Model, ModelJob

POLL_INTERVAL = 0.1  # s: how long it may take until a canceled job is noticed


class Example(Model):
    """Inputs: `prompt`, `sleep_duration`, `progress_steps`, `counter`. Outputs: `text`, `counter`.

    Args:
        sleep: waits for a number of seconds.
        clock: monotonic, in seconds.
    """

    model_label = "Example"
    framework = "Python"

    def __init__(
        self, sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sleep = sleep
        self._clock = clock

    def predict(self, jobs: Sequence[ModelJob]) -> Sequence[Mapping[str, Any]]:
        """Wait for all jobs side by side: a batch takes as long as its longest job."""
        began = self._clock()
        agenda = [(0.0, index, 0) for index in range(len(jobs))]  # when (s after `began`), job, steps done
        while agenda:
            due, index, step = heapq.heappop(agenda)
            job = jobs[index]
            duration, steps = job.get("sleep_duration", 0.1), job.get("progress_steps", 5)
            self._wait_until(began + due, job)
            if job.canceled:
                continue
            job.report(100 * step / steps, status=f"step {step} of {steps}")
            if step < steps:
                heapq.heappush(agenda, (duration * (step + 1) / steps, index, step + 1))
        return [{"text": f"You said: {job['prompt']}", "counter": job.get("counter", 0) + 1} for job in jobs]

    def _wait_until(self, moment: float, job: ModelJob) -> None:
        while (remaining := moment - self._clock()) > 0 and not job.canceled:
            self._sleep(min(remaining, POLL_INTERVAL))
