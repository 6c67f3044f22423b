"""Jobs that are listened to: one listener per process, one follower per stream.

Every change of a job is told on the channel of its record, without saying what has changed. The listener
then looks the job up: all jobs that changed at about the same time in one round trip.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from redis import RedisError
from redis.client import PubSub

from tasks.errors import StoreUnavailable
from tasks.jobs import JobState, JobStatus
from tasks.records import job_id_of, job_key
from tasks.store import JobStore

logger = logging.getLogger(__name__)

POLL = 1.0  # s; longest wait for one message
LOOK_WAITING = 1.0  # s; so often a waiting job is looked up: its place in the queue changes without a message
LOOK_RUNNING = 5.0  # s; the same for a running one: a message may have been missed
SHARE = 0.05  # of the time; what looking jobs up again may take
UNANSWERED = 5  # PINGs, which redis-py sends when nothing came for some seconds, one for each look
RECONNECT = 0.5  # s between attempts
CHUNK = 500  # jobs looked up in one round trip


class Follower:
    """What one stream gets to know of its job: always the newest, never a backlog."""

    def __init__(self, status: JobStatus) -> None:
        self._event = threading.Event()
        self._status = status
        self.gone = False

    def tell(self, status: JobStatus | None) -> None:
        """Take in what is known now; None: the store knows the job no more."""
        if status is None:
            self.gone = True
        elif status.newer_than(self._status):
            self._status = status
        else:
            return
        self._event.set()

    def wait(self, timeout: float) -> JobStatus | None:
        """Wait up to `timeout` seconds for something new; None if there is nothing, or if the job is gone."""
        if not self._event.wait(timeout) or self.gone:
            return None
        self._event.clear()
        return self._status


class _Topic:
    """One job that is followed."""

    def __init__(self, status: JobStatus) -> None:
        self.followers: set[Follower] = set()
        self.status: JobStatus | None = status
        self.looked_up = time.monotonic()

    def is_due(self, now: float) -> bool:
        waits = self.status is not None and self.status.state is JobState.QUEUED
        return now - self.looked_up >= (LOOK_WAITING if waits else LOOK_RUNNING)

    def tell(self, status: JobStatus | None) -> None:
        self.status = status
        self.looked_up = time.monotonic()
        for follower in self.followers:
            follower.tell(status)


class EventListener:
    """Follows jobs for the streams of this process.

    A message that is missed costs time, not the change: jobs are looked up when their channel is first
    listened to, after each connect, and from time to time.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._channel = f"events:{uuid.uuid4().hex}"  # says to this process: there is a new topic
        self._topics: dict[str, _Topic] = {}
        self._arrived: list[str] = []
        self._left: list[str] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def follow(self, status: JobStatus) -> Iterator[Follower]:
        """Follow a job inside this context, from `status` on, which the caller has seen."""
        follower = Follower(status)
        is_first = self._enter(status, follower)
        try:
            if is_first:
                self._wake()
            yield follower
        finally:
            self._leave(status.id, follower)

    def close(self) -> None:
        """Listen no more; for a process that goes on without it."""
        self._closed.set()
        if self._thread is not None:
            self._wake()
            self._thread.join()

    def _enter(self, status: JobStatus, follower: Follower) -> bool:
        """Add a follower; gives whether it is the first one of its job."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="events", daemon=True)
                self._thread.start()
            is_new = status.id not in self._topics
            if is_new:
                self._topics[status.id] = _Topic(status)
                self._arrived.append(status.id)
            topic = self._topics[status.id]
            topic.followers.add(follower)
            if topic.status is not None:
                follower.tell(topic.status)
            return is_new

    def _wake(self) -> None:
        try:
            self._store.publish(self._channel, "")
        except StoreUnavailable:  # then it finds its new topic by itself, when there is a store again
            pass

    def _leave(self, job_id: str, follower: Follower) -> None:
        with self._lock:
            topic = self._topics[job_id]
            topic.followers.discard(follower)
            if not topic.followers:
                del self._topics[job_id]
                self._left.append(job_id)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._listen()
            except (RedisError, StoreUnavailable, OSError) as error:
                logger.warning("channels of jobs lost, connecting again: %s", error)
            except Exception:  # whatever a record holds, the other streams go on
                logger.exception("a job could not be read, listening again")
            self._closed.wait(RECONNECT)

    def _listen(self) -> None:
        with self._store.pubsub(confirmations=True) as pubsub:
            pubsub.subscribe(self._channel)
            with self._lock:
                self._arrived.clear()
                self._left.clear()
                followed = list(self._topics)
            _in_chunks(followed, lambda ids: pubsub.subscribe(*map(job_key, ids)))
            due = time.monotonic()
            while not self._closed.is_set():
                self._look_up(_changed(pubsub))
                if pubsub.health_check_response_counter > UNANSWERED:
                    raise ConnectionError("the channels are silent")
                self._adjust(pubsub)
                if (now := time.monotonic()) >= due:
                    self._look_up([i for i, topic in list(self._topics.items()) if topic.is_due(now)])
                    due = now + (time.monotonic() - now) / SHARE

    def _adjust(self, pubsub: PubSub) -> None:
        """Listen to the jobs that are followed now, and to no others."""
        with self._lock:
            arrived = [job_id for job_id in self._arrived if job_id in self._topics]
            left = [job_id for job_id in self._left if job_id not in self._topics]
            self._arrived.clear()
            self._left.clear()
        _in_chunks(left, lambda ids: pubsub.unsubscribe(*map(job_key, ids)))
        _in_chunks(arrived, lambda ids: pubsub.subscribe(*map(job_key, ids)))

    def _look_up(self, job_ids: list[str]) -> None:
        _in_chunks(job_ids, self._tell)

    def _tell(self, job_ids: list[str]) -> None:
        for job_id, status in zip(job_ids, self._store.get_many(job_ids), strict=True):
            with self._lock:
                if (topic := self._topics.get(job_id)) is not None:
                    topic.tell(status)


def _changed(pubsub: PubSub) -> list[str]:
    """Wait for messages; gives the jobs that they are about."""
    found: dict[str, None] = {}
    message = pubsub.get_message(timeout=POLL)
    while message is not None:
        if message["type"] != "unsubscribe" and (job_id := job_id_of(message["channel"])):
            found[job_id] = None
        if len(found) == CHUNK:
            break
        message = pubsub.get_message(timeout=0)
    return list(found)


def _in_chunks(job_ids: list[str], act: Callable[[list[str]], object]) -> None:
    for start in range(0, len(job_ids), CHUNK):
        act(job_ids[start : start + CHUNK])
