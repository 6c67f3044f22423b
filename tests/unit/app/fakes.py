"""What the unit tests of the API play: endpoints, store and workers."""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from tasks.jobs import Job, JobState, JobStatus, Result, WorkerInfo
from tasks.room import DayLimits

ECHO_KEY = "echo-key-of-alice"
BOTH_KEY = "key-for-echo-and-counter"
DEMO_KEY = "demo-key-for-everything"

ECHO = f"""
[ENDPOINT]
name = "echo"
title = "Echo"
description = "Gives the text back"
version = 3
max_queue_length = 5
[WORKER]
queue = "echo_cpu"
model = "workers.models.echo:Echo"
[CLIENTS]
authorization_keys = {{ alice = "{ECHO_KEY}", bob = "{BOTH_KEY}" }}
[INPUTS]
text = {{ type = "string", required = true }}
repeat = {{ type = "integer", minimum = 1, maximum = 9, default = 1 }}
[OUTPUTS]
text = {{ type = "string" }}
[PROGRESS.OUTPUTS]
status = {{ type = "string" }}
"""
COUNTER = f"""
[ENDPOINT]
name = "counter"
methods = ["POST"]
[WORKER]
queue = "counter_cpu"
[CLIENTS]
authorization_keys = {{ bob = "{BOTH_KEY}" }}
provide_worker_meta_data = true
[SESSION.VARS]
count = {{ type = "integer", default = 0 }}
[OUTPUTS]
count = {{ type = "integer" }}
"""
CLOSED = """
[ENDPOINT]
name = "closed"
enabled = false
[WORKER]
queue = "closed_cpu"
"""


class FakeStore:
    """A store in memory: jobs by id, workers by queue."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobStatus] = {}
        self.working: dict[str, list[WorkerInfo]] = {}
        self.waiting: dict[str, int] = {}
        self.sessions: dict[tuple[str, str], dict[str, Any]] = {}
        self.canceled: list[str] = []
        self.used = DayLimits()
        self.down: Exception | None = None
        self.connection_pool = redis.ConnectionPool(port=1)  # nothing listens there

    def _answer(self, value: Any) -> Any:
        if self.down is not None:
            raise self.down
        return value

    def ping(self) -> Any:
        self._answer(None)

    def get(self, job_id: str, now: Any = None) -> Any:
        return self._answer(self.jobs.get(job_id))

    def cancel(self, job_id: str) -> Any:
        self.canceled.append(job_id)

    def workers(self, queue: Any, now: Any = None) -> Any:
        return self._answer(self.working.get(queue, []))

    def queue_length(self, queue: Any, priority: Any = None) -> Any:
        return self._answer(self.waiting.get(queue, 0))

    def used_today(self, owner: Any, endpoint: Any) -> Any:
        return self._answer(self.used)

    def session_vars(self, session: Any, endpoint: Any) -> Any:
        return self._answer(self.sessions.get((session, endpoint), {}))


class FakeWorkers:
    """Stands for submit, for the workers, and for the listener that brings their results."""

    channel = "replies:test"

    def __init__(self, store: Any) -> None:
        self.store = store
        self.submitted: list[Job] = []
        self.limits: list[int] = []
        self.per_day: list[DayLimits] = []
        self.refusal: Exception | None = None
        self.result = Result(
            JobState.DONE, accepted=100.0, started=100.5, finished=102.0, outputs={"text": "hi"}
        )
        self.expected: set[str] = set()

    def submit(self, publisher: Any, endpoint: Any, inputs: Any, **given: Any) -> Any:
        if self.refusal is not None:
            raise self.refusal
        job = Job(
            id=given["job_id"],
            endpoint=endpoint.name,
            queue=endpoint.queue,
            inputs=dict(inputs),
            owner=given["owner"],
            accepted=time.time(),
            deadline=time.time() + 60,
            result_lifetime=60,
            reply_to=given["reply_to"],
            session=given["session"],
            priority=given["priority"],
        )
        self.limits.append(given["jobs_at_once"])
        self.per_day.append(given["per_day"])
        self.submitted.append(job)
        self.store.jobs[job.id] = JobStatus(
            id=job.id, endpoint=job.endpoint, owner=job.owner, state=JobState.QUEUED, accepted=job.accepted
        )
        return job

    def end(self, job_id: str, result: Any) -> Any:
        status = self.store.jobs[job_id]
        self.store.jobs[job_id] = dataclasses.replace(status, state=result.state, result=result)

    @contextmanager
    def expect(self, job_id: str) -> Iterator[Any]:
        self.expected.add(job_id)
        yield self

    def wait(self, timeout: Any = None) -> Any:
        assert self.submitted[-1].id in self.expected, "submitted before the result was expected"
        return self.result
