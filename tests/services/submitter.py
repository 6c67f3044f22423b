"""Submits jobs as the API does, without HTTP."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from schemas import load_endpoints
from tasks.blobs import unpack
from tasks.celery import create_celery
from tasks.jobs import JobState, Priority, Result
from tasks.publisher import Publisher
from tasks.replies import ReplyListener, Waiter
from tasks.settings import Settings
from tasks.store import JobStore
from tasks.submit import submit
from tests.services import wait_until


class Submitter:
    """Submits jobs as the API does, without HTTP."""

    def __init__(self, env: Mapping[str, str]) -> None:
        settings = Settings.from_env(env)
        self.endpoints = load_endpoints(settings.endpoint_folders)
        self.celery = create_celery(settings, self.endpoints)
        self.store = JobStore.from_url(settings.store_url)
        self.publisher = Publisher(self.celery, self.store)
        self.replies = ReplyListener(self.store)

    def submit(
        self,
        endpoint: str = "trial",
        priority: Priority = Priority.NORMAL,
        owner: str = "me",
        **inputs: Any,
    ) -> str:
        """Submit a job; gives its id."""
        called = self.endpoints[endpoint]
        loaded = called.load_inputs(inputs)
        return submit(self.publisher, called, loaded, owner=owner, priority=priority).id

    @contextmanager
    def hold(self, endpoint: str = "trial", **inputs: Any) -> Iterator[tuple[str, Waiter]]:
        """Submit a job as a request that is held does; gives its id, and who waits for its result."""
        called = self.endpoints[endpoint]
        job_id = str(uuid.uuid4())
        with self.replies.expect(job_id) as waiter:
            submit(
                self.publisher,
                called,
                called.load_inputs(inputs),
                owner="me",
                job_id=job_id,
                reply_to=self.replies.channel,
            )
            yield job_id, waiter

    def call(self, endpoint: str = "trial", timeout: float = 20, **inputs: Any) -> Result | None:
        """Submit a job and wait for its result on the reply channel."""
        with self.hold(endpoint, **inputs) as (_, waiter):
            return waiter.wait(timeout)

    def results(self, ids: Sequence[str], timeout: float = 40) -> list[Result]:
        """Wait until all jobs have ended; gives their results."""
        wait_until(
            lambda: all(s and s.state.terminal for s in self.store.get_many(ids)), timeout, "all jobs to end"
        )
        return [status.result for status in self.store.get_many(ids) if status and status.result]

    def outputs(self, result: Result) -> dict[str, Any]:
        """Give the outputs of a job, with the large ones."""
        return unpack(result.outputs, result.blobs, self.store.texts([name for _, name in result.blobs]))

    def states(self, ids: Sequence[str]) -> Counter[JobState]:
        """Count the jobs in each state."""
        return Counter(status.state for status in self.store.get_many(ids) if status)

    def close(self) -> None:
        """Close its connections."""
        self.replies.close()
        self.publisher.close()
        self.store.close()
        self.celery.close()
