"""A simulated GPU: a batch takes a fixed time plus a little for each item, and no CPU.

With batches of 32 the best that any server can reach is 32 / (20 ms + 32 x 1 ms) = 615 items/s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workers.models.base import Model, ModelJob

BATCH_TIME = 0.020  # s
ITEM_TIME = 0.001  # s


class Sleep(Model):
    """Input: `text`. Outputs: `text`, `batch_size` (how many jobs ran together).

    Args:
        sleep: waits for a number of seconds.
    """

    model_label = "Simulated GPU"

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep

    def predict(self, jobs: Sequence[ModelJob]) -> Sequence[Mapping[str, Any]]:
        """Sleep 20 ms and 1 ms for each job, then return the inputs."""
        self._sleep(BATCH_TIME + ITEM_TIME * len(jobs))
        return [{"text": job["text"], "batch_size": len(jobs)} for job in jobs]
