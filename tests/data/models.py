"""Models for tests of the worker."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

from workers.models.base import Model, ModelJob


class Trial(Model):
    """Does what each job's `action` says, before it answers all of them.

    A job with `log` appends its text to that file when it runs, so that tests can count the runs.
    """

    model_label = "Trial"

    def predict(self, jobs: Sequence[ModelJob]) -> Sequence[Mapping[str, Any] | Exception]:
        for job in jobs:
            if "log" in job:
                with open(job["log"], "a") as file:
                    file.write(f"{job['text']}\n")
            self._act(job)
        return [{"text": job["text"], "batch_size": len(jobs)} for job in jobs]

    def _act(self, job: ModelJob) -> None:
        action = job["action"]
        if action == "raise":
            raise ValueError("told to raise")
        if action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if action == "exit":
            os._exit(7)
        if action == "sleep":
            time.sleep(job["seconds"])
        if action == "hold_gil":  # PyDLL keeps the GIL during the call, unlike CDLL
            ctypes.PyDLL(None).usleep(int(job["seconds"] * 1e6))
        if action == "report":
            for step in range(1, 11):
                job.report(step * 10, step=step)
                time.sleep(job["seconds"] / 10)


class Unloadable(Model):
    """Cannot be loaded."""

    def load(self) -> None:
        raise FileNotFoundError("no weights in /nowhere")
