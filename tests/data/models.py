"""Models for tests of the worker."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from workers.models import ContinuousModel, Model, ModelJob


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
        return [self._answer(job, len(jobs)) for job in jobs]

    def _answer(self, job: ModelJob, size: int) -> dict[str, Any]:
        return {name: job[name] for name in ("text", "value") if name in job} | {"batch_size": size}

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


class Steps(ContinuousModel):
    """Works on all its jobs in steps of 10 ms, until each has had as many as it wants."""

    model_label = "Steps"

    def __init__(self) -> None:
        self.running: list[tuple[ModelJob, Iterator[int]]] = []

    def admit(self, job: ModelJob) -> None:
        self.running.append((job, itertools.count(1)))

    def step(self) -> Iterator[tuple[ModelJob, Mapping[str, Any]]]:
        time.sleep(0.01)
        for job, count in self.running.copy():
            step = next(count)
            if job["action"] == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if job["action"] == "raise":
                raise ValueError("told to raise")
            if job["action"] == "hang":
                time.sleep(60)
            job.report(100 * step / job["steps"], step=step)
            if step == job["steps"]:
                company = len(self.running)
                self.evict(job)
                yield job, {"steps": step, "company": company}

    def evict(self, job: ModelJob) -> None:
        self.running = [(j, count) for j, count in self.running if j is not job]


class SlowToLoad(Model):
    """Needs long to load, except for the first time: the file that `STOKER_HOME` holds tells."""

    def load(self) -> None:
        loaded = Path(os.environ["STOKER_HOME"]) / "loaded-before"
        if loaded.exists():
            time.sleep(60)
        loaded.touch()

    def predict(self, jobs: Sequence[ModelJob]) -> Sequence[Mapping[str, Any]]:
        os._exit(1)


class Unloadable(Model):
    """Cannot be loaded."""

    def load(self) -> None:
        raise FileNotFoundError("no weights in /nowhere")


class GivesBack(Model):
    """Gives back what it gets."""

    def predict(self, jobs: Sequence[ModelJob]) -> Sequence[Mapping[str, Any]]:
        return [dict(job) for job in jobs]
