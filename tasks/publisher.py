"""The one publisher of a process: what all of its requests submit goes out together.

One thread takes what has come meanwhile, records it in the store in one round trip, and sends it to the
broker without waiting for the confirms; they come for one message or for many, see `tasks/brokerlink.py`. So
a job costs its share of two round trips, and a request waits for its own job only. Under gevent a thread is
a greenlet.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from celery import Celery

from schemas import Endpoint
from tasks.brokerlink import Link, open_link
from tasks.envelope import Envelope
from tasks.errors import BrokerUnavailable, QueueFull, StokerError, StoreUnavailable
from tasks.jobs import Job
from tasks.postings import Posting
from tasks.store import JobStore

logger = logging.getLogger(__name__)

ATTEMPTS = 3
RETRY_WITHIN = 0.5  # s; a broker that takes longer to fail has not just been restarted
CONFIRM_WITHIN = 5.0  # s; a broker that stands still holds no request for longer
LARGEST_BATCH = 500  # jobs recorded in one round trip
MAX_HELD = 512 * 2**20  # bytes of jobs on their way to the broker
CLOSE_WITHIN = 2.0  # s


class Publisher:
    """Records and publishes jobs for all threads of a process.

    It starts when it is first used, and again in a process that was forked off or after `close`.
    """

    def __init__(self, celery: Celery, store: JobStore) -> None:
        """Open no connection yet.

        Args:
            celery: the app of `create_celery`.
            store: the job store.
        """
        self._celery = celery
        self._store = store
        self._lock = threading.Lock()
        self._pid: int | None = None  # of the process that the rest belongs to
        self._inbox: queue.SimpleQueue[Posting | None]
        self._envelopes: dict[str, Envelope]  # by task
        self._held: int  # bytes
        self._link: Link | None
        self._thread: threading.Thread

    def publish(self, job: Job, endpoint: Endpoint) -> None:
        """Record a job as waiting and publish it; returns when the broker has confirmed it.

        Raises:
            QueueFull: the endpoint's queue is full.
            BrokerUnavailable: the broker did not take the message, or not in time.
            StoreUnavailable: the store did not record the job.
        """
        self._start()
        posting = Posting(job, endpoint.max_queue_length, self._envelope(endpoint.task_name).message(job))
        with self._holding(posting.size):
            try:
                self._deliver(posting)
            except BaseException:  # whatever it was, also the end of this greenlet
                posting.abandoned = True
                if posting.recorded:
                    self._withdraw(job)
                raise

    def close(self) -> None:
        """Send what is there, and end the connection in good order."""
        with self._lock:
            if self._pid != os.getpid():
                return
            self._pid = None
        atexit.unregister(self.close)
        self._inbox.put(None)
        self._thread.join(CLOSE_WITHIN)

    # -- in the thread of a request

    def _start(self) -> None:
        if self._pid == os.getpid():
            return
        with self._lock:
            if self._pid == os.getpid():
                return
            self._inbox = queue.SimpleQueue()
            self._envelopes = {}
            self._held = 0
            self._link = None  # after a fork: the parent's connection is not ours to close
            self._thread = threading.Thread(target=self._work, name="publisher", daemon=True)
            self._thread.start()
            atexit.register(self.close)
            self._pid = os.getpid()

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

    def _deliver(self, posting: Posting) -> None:
        try:
            self._pass_on(posting)
        except QueueFull:
            self._make_room(posting)
            posting.again()
            self._pass_on(posting)

    def _pass_on(self, posting: Posting) -> None:
        self._inbox.put(posting)
        if not posting.wait(CONFIRM_WITHIN):
            if self._link is not None:
                self._link.check(posting.begun)
            raise BrokerUnavailable(f"the message broker did not confirm the job within {CONFIRM_WITHIN} s")
        if posting.error is not None:
            raise posting.error

    def _make_room(self, posting: Posting) -> None:
        """Record the job after all if jobs wait whose deadline has passed."""
        posting.recorded = True
        try:
            self._store.add(posting.job, posting.limit)
        except QueueFull:
            posting.recorded = False
            raise

    def _withdraw(self, job: Job) -> None:
        try:
            self._store.withdraw(job)
        except Exception as error:  # the request has an error to end with already
            logger.error("job %s counts as waiting until it lapses: %s", job.id, error)

    # -- in the publisher's own thread

    def _work(self) -> None:
        inbox, going_on = self._inbox, True
        while going_on:
            batch = _all_of(inbox)
            going_on = None not in batch
            postings = [posting for posting in batch if posting is not None and not posting.abandoned]
            try:
                self._handle(postings)
            except Exception as error:  # none of them shall wait in vain, and the next ones get their turn
                logger.exception("jobs could not be published")
                for posting in postings:
                    posting.settle(error)
        if self._link is not None:
            self._link.close()
        _refuse(filter(None, _all_of(inbox, block=False)), BrokerUnavailable("the publisher was closed"))

    def _handle(self, postings: Sequence[Posting]) -> None:
        """Record jobs and send them; every posting is settled now, or when the link hears of it."""
        if self._link is None or not self._link.alive:
            try:
                self._link = open_link(self._celery, self._lost)
            except BrokerUnavailable as error:
                return _refuse(postings, error)
        self._link.send(self._record(self._routable(self._link, postings)))

    def _routable(self, link: Link, postings: Sequence[Posting]) -> list[Posting]:
        """Give those whose queue is there."""
        known = set()
        for name in {posting.message.queue for posting in postings}:
            try:
                link.declare(name)
            except BrokerUnavailable as error:
                _refuse([posting for posting in postings if posting.message.queue == name], error)
            else:
                known.add(name)
        return [posting for posting in postings if posting.message.queue in known]

    def _record(self, postings: Sequence[Posting]) -> list[Posting]:
        """Give those that the store knows of now."""
        new = [posting for posting in postings if not posting.recorded]
        for posting in new:
            posting.recorded = True  # before it is: a request that ends from here on takes its job back
        new = [posting for posting in new if not posting.abandoned]
        try:
            added = self._store.add_all([(posting.job, posting.limit) for posting in new])
        except StoreUnavailable as error:
            _refuse(new, error)
            return [posting for posting in postings if posting not in new]
        for posting, was_added in zip(new, added, strict=True):
            if not was_added:
                posting.recorded = False
                posting.settle(QueueFull(posting.limit))
        return [posting for posting in postings if posting.recorded and not posting.abandoned]

    # -- in any thread

    def _lost(self, postings: Sequence[Posting], error: Exception) -> None:
        """Try again what the broker did not take, for a while.

        A connection goes stale while messages are on their way when the broker restarts. Should a message
        arrive twice, the worker drops the second one by its job id.
        """
        for posting in postings:
            posting.attempts += 1
            posting.unroutable = False
            if posting.attempts < ATTEMPTS and time.monotonic() - posting.begun < RETRY_WITHIN:
                self._inbox.put(posting)
            else:
                posting.settle(BrokerUnavailable(f"the message broker did not take the job: {error}"))


def _all_of(inbox: queue.SimpleQueue[Posting | None], block: bool = True) -> list[Posting | None]:
    """Take what is there; if that is nothing, wait for it."""
    batch: list[Posting | None] = []
    with suppress(queue.Empty):
        while len(batch) < LARGEST_BATCH:
            batch.append(inbox.get(block=block and not batch))
    return batch


def _refuse(postings: Iterable[Posting], error: StokerError) -> None:
    for posting in postings:
        posting.settle(type(error)(str(error)))  # each raises its own
