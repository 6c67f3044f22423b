"""The thread that brings jobs to the store and to the broker, many at a time.

It takes what has come meanwhile, records it in the store by one script, and sends it to the broker in one
piece, without waiting for the confirms; they come for one message or for many, see `tasks/brokerlink.py`. So
a job costs its share of two round trips. Under gevent the thread is a greenlet.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from celery import Celery

from tasks.brokerlink import Link, open_link
from tasks.celery import queue_name
from tasks.errors import BrokerUnavailable, StokerError, StoreUnavailable
from tasks.jobs import Job, Priority
from tasks.postings import Posting
from tasks.store import JobStore

logger = logging.getLogger(__name__)

ATTEMPTS = 3
RETRY_WITHIN = 2.0  # s; a broker that takes longer to fail has not just been restarted
LARGEST_BATCH = 500  # jobs
CLOSE_WITHIN = 2.0  # s


class Sender:
    """Settles every posting that is put: accepted, refused, or lost."""

    def __init__(self, celery: Celery, store: JobStore) -> None:
        """Start the thread; the connection is opened for the first posting.

        Args:
            celery: the app of `create_celery`.
            store: the job store.
        """
        self._celery = celery
        self._store = store
        self._link: Link | None = None
        self._inbox: queue.SimpleQueue[Posting | None] = queue.SimpleQueue()  # None: the end
        self._to_withdraw: list[Job] = []
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    def put(self, posting: Posting) -> None:
        """Send this, and record it before unless it is recorded already."""
        self._inbox.put(posting)

    def check(self, posting: Posting) -> None:
        """Give the connection up if the broker has said nothing since `posting` came."""
        if self._link is not None:
            self._link.check(posting.begun)

    def withdraw_later(self, job: Job) -> None:
        """Withdraw a job as soon as the store answers.

        Only what was under way when the store went away can be recorded: the first jobs of an outage.
        """
        if len(self._to_withdraw) < LARGEST_BATCH:
            self._to_withdraw.append(replace(job, inputs={}))

    def close(self) -> None:
        """Send what is there, end the connection in good order, end the thread."""
        self._inbox.put(None)
        self._thread.join(CLOSE_WITHIN)

    def _run(self) -> None:
        ended = False
        while not ended:
            batch = self._take()
            ended = None in batch
            postings = [posting for posting in batch if posting is not None and not posting.abandoned]
            try:
                self._handle(postings)
            except Exception as error:  # none of them shall wait in vain, and the next ones get their turn
                logger.exception("jobs could not be published")
                for posting in postings:
                    posting.settle(error)
        if self._link is not None:
            self._link.close()
            self._link = None
        _refuse(filter(None, self._take(wait=False)), BrokerUnavailable("the publisher was closed"))

    def _take(self, wait: bool = True) -> list[Posting | None]:
        """Take what is there; if that is nothing, wait for it."""
        batch: list[Posting | None] = []
        with suppress(queue.Empty):
            while len(batch) < LARGEST_BATCH:
                batch.append(self._inbox.get(block=wait and not batch))
        return batch

    def _handle(self, postings: Sequence[Posting]) -> None:
        if not postings:
            return
        if self._link is None or not self._link.alive:
            try:
                self._link = open_link(self._celery, self._lost)
            except BrokerUnavailable as error:
                return _refuse(postings, error)
        if recorded := self._record(self._routable(self._link, postings)):
            self._link.send(recorded)

    def _routable(self, link: Link, postings: Sequence[Posting]) -> list[Posting]:
        """Give those whose queues are there."""
        lost: set[str] = set()
        for name in {name for posting in postings for name in _queues(posting)}:
            try:
                link.declare(name)
            except BrokerUnavailable as error:
                _refuse([posting for posting in postings if name in _queues(posting)], error)
                lost.add(name)
        return [posting for posting in postings if not lost & _queues(posting)] if lost else list(postings)

    def _record(self, postings: Sequence[Posting]) -> list[Posting]:
        """Give those that the store knows of now."""
        if not postings:
            return []
        new = [posting for posting in postings if not posting.recorded]
        for posting in new:
            posting.recorded = True  # before it is: a request that ends from here on takes its job back
        new = [posting for posting in new if not posting.abandoned]
        try:
            verdicts = self._store.add_all([(posting.job, posting.room) for posting in new])
            self._withdraw()
        except StoreUnavailable as error:
            _refuse(new, error)
            return [p for p in postings if p not in new and not p.abandoned]
        for posting, verdict in zip(new, verdicts, strict=True):
            if isinstance(verdict, Priority):
                posting.wait_as(verdict)
            else:
                posting.recorded = False
                posting.settle(verdict)
        return [posting for posting in postings if posting.recorded and not posting.abandoned]

    def _withdraw(self) -> None:
        while self._to_withdraw:
            self._store.withdraw(self._to_withdraw[0])
            del self._to_withdraw[0]

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


def _queues(posting: Posting) -> set[str]:
    """Name the queues that it may go to: its own, and the one below if its client has many jobs."""
    lower = posting.job.priority.next_lower if posting.room.share and not posting.recorded else None
    return {posting.message.queue} | ({queue_name(posting.job.queue, lower)} if lower else set())


def _refuse(postings: Iterable[Posting], error: StokerError) -> None:
    for posting in postings:
        posting.settle(type(error)(str(error)))  # each raises its own
