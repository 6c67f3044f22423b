"""The one publisher of a process: what its requests submit at the same time goes out together."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from celery import Celery

from schemas import Endpoint
from tasks.envelope import Envelope
from tasks.errors import BrokerUnavailable, DayLimitReached, QueueFull, StoreUnavailable, TooManyJobs
from tasks.jobs import Job
from tasks.postings import Posting
from tasks.room import NO_LIMITS, DayLimits, Room
from tasks.sender import Sender
from tasks.store import JobStore

logger = logging.getLogger(__name__)

CONFIRM_WITHIN = 5.0  # s; a broker that stands still holds no request for longer
MAX_HELD = 512 * 2**20  # bytes of jobs that are on their way to the broker


class Publisher:
    """Records and publishes jobs, for all threads of a process.

    It opens no connection before the first job, and starts anew in a process that was forked off.
    """

    def __init__(self, celery: Celery, store: JobStore) -> None:
        """Make one.

        Args:
            celery: the app of `create_celery`.
            store: the job store.
        """
        self._celery = celery
        self._store = store
        self._lock = threading.Lock()
        self._sender: Sender | None = None
        self._pid = 0  # of the process that the sender runs in
        self._envelopes: dict[str, Envelope] = {}  # by task
        self._held = 0  # bytes

    @property
    def store(self) -> JobStore:
        """Where jobs are recorded."""
        return self._store

    def publish(
        self,
        job: Job,
        endpoint: Endpoint,
        jobs_at_once: int = 0,
        per_day: DayLimits = NO_LIMITS,
        max_bytes: int = 0,
        recorded: bool = False,
    ) -> None:
        """Record a job as waiting and publish it; returns when the broker has confirmed it.

        Args:
            job: the job.
            endpoint: its endpoint.
            jobs_at_once: jobs of its owner that may wait or run there; 0: any number.
            per_day: what its owner may use of the endpoint.
            max_bytes: of the large jobs that may wait or run at the endpoint; 0: any number.
            recorded: it is recorded already, and the caller's to end if this raises.

        Raises:
            QueueFull: the endpoint's queue is full.
            TooManyJobs: `jobs_at_once` is reached.
            DayLimitReached: what `per_day` allows is used up.
            BrokerUnavailable: the broker did not take the message, or not in time.
            StoreUnavailable: the store did not record the job.
        """
        sender = self._running()
        room = Room(endpoint.max_queue_length, jobs_at_once, endpoint.client_share, per_day, max_bytes)
        posting = Posting(job, room, self._envelope(endpoint.task_name).message)
        posting.recorded = recorded
        with self._holding(posting.size):
            try:
                self._deliver(posting, sender)
            except BaseException:  # whatever it was, also the end of this greenlet
                posting.abandoned = True
                if posting.recorded and not recorded:
                    self._withdraw(job, sender)
                raise

    def close(self) -> None:
        """Send what is there and end the connection; the next job opens another one."""
        with self._lock:
            sender, self._sender = self._sender, None
        if sender is not None and self._pid == os.getpid():
            atexit.unregister(self.close)
            sender.close()

    def _running(self) -> Sender:
        sender = self._sender
        if sender is not None and self._pid == os.getpid():
            return sender
        with self._lock:
            if self._pid != os.getpid():
                self._pid, self._sender = os.getpid(), None
                self._held = 0
                self._envelopes = {}  # which name the process
            if self._sender is None:
                self._sender = Sender(self._celery, self._store)
                atexit.register(self.close)
            return self._sender

    def _envelope(self, task_name: str) -> Envelope:
        found = self._envelopes.get(task_name)
        if found is None:
            found = self._envelopes[task_name] = Envelope(self._celery, task_name)
        return found

    @contextmanager
    def _holding(self, size: int) -> Iterator[None]:
        with self._lock:
            if self._held and self._held + size > MAX_HELD:
                raise BrokerUnavailable(f"{self._held} bytes of jobs wait for the message broker already")
            self._held += size
        try:
            yield
        finally:
            with self._lock:
                self._held -= size

    def _deliver(self, posting: Posting, sender: Sender) -> None:
        try:
            self._send(posting, sender)
        except (QueueFull, TooManyJobs) as refusal:
            self._make_room(posting, refusal)
            self._send(posting, sender)

    def _send(self, posting: Posting, sender: Sender) -> None:
        sender.put(posting)
        try:
            posting.wait(posting.begun + CONFIRM_WITHIN - time.monotonic())
        except TimeoutError:
            sender.check(posting)
            late = f"the message broker did not confirm the job within {CONFIRM_WITHIN} s"
            raise BrokerUnavailable(late) from None

    def _make_room(self, posting: Posting, refusal: QueueFull | TooManyJobs) -> None:
        """Record the job after all, if the deadline of jobs that stand in its way has passed."""
        posting.recorded = True
        try:
            priority = self._store.make_room(posting.job, posting.room, refusal)
        except (QueueFull, TooManyJobs, DayLimitReached):
            posting.recorded = False
            raise
        posting.wait_as(priority)

    def _withdraw(self, job: Job, sender: Sender) -> None:
        try:
            self._store.withdraw(job)
        except StoreUnavailable as error:  # the request ends by the error that it has already
            logger.warning("job %s is withdrawn when the job store answers: %s", job.id, error)
            sender.withdraw_later(job)
