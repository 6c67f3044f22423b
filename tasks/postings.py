"""Jobs on their way to the broker, and which of them a channel has not confirmed yet."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import takewhile

from tasks.envelope import Message
from tasks.jobs import Job, Priority
from tasks.room import Room

OVERHEAD = 4096  # bytes; about what a posting takes beside its body


class Posting:
    """A job on its way to the broker, and the request that waits for it.

    Attributes:
        job: the job.
        room: for how many jobs there is any.
        message: what is published.
        begun: when its way began, by the monotonic clock, in s.
        attempts: how often it was lost.
        recorded: whether the store may hold it.
        abandoned: whether nobody waits for it any more.
        unroutable: whether the broker had no queue for it.
    """

    __slots__ = ("_error", "_make", "_settled", "abandoned", "attempts", "begun", "job", "message",
                 "recorded", "room", "unroutable")  # fmt: skip

    def __init__(self, job: Job, room: Room, make: Callable[[Job], Message]) -> None:
        self.job = job
        self.room = room
        self.message = make(job)
        self._make = make
        self.begun = time.monotonic()
        self.attempts = 0
        self.recorded = False
        self.abandoned = False
        self.unroutable = False
        self._error: Exception | None = None
        self._settled = threading.Event()

    @property
    def size(self) -> int:
        """Memory that it takes, in bytes."""
        return len(self.message.body) + OVERHEAD

    def wait_as(self, priority: Priority) -> None:
        """Take the priority that the store lets it wait with: another one means another queue."""
        if priority is not self.job.priority:
            self.job = replace(self.job, priority=priority)
            self.message = self._make(self.job)

    def settle(self, error: Exception | None = None) -> None:
        """Tell the request that waits how it went: accepted, or not because of `error`."""
        self._error = error
        self._settled.set()

    def wait(self, timeout: float) -> None:
        """Wait up to `timeout` seconds until it is accepted; if it is not, it may be sent again.

        Raises:
            TimeoutError: it is not settled by then.
            Exception: what it was settled with.
        """
        if not self._settled.wait(timeout):
            raise TimeoutError
        self._settled.clear()
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # which would keep this frame, and so itself, alive


class Unconfirmed:
    """What a channel has sent and not heard of, by delivery tag: 1 for the first message, and so on.

    One thread sends, another one hears.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_tag: dict[int, Posting] = {}  # in the order of the tags
        self._last = 0

    def sent(self, postings: Iterable[Posting]) -> None:
        """Note messages; called just before they are sent, so that no confirm can come too early."""
        with self._lock:
            for posting in postings:
                self._last += 1
                self._by_tag[self._last] = posting

    def take(self, tag: int, multiple: bool) -> list[Posting]:
        """Take out what the broker speaks of: `tag`, or all up to it."""
        with self._lock:
            if multiple:
                tags = list(takewhile(lambda sent: sent <= tag, self._by_tag))
            else:
                tags = [tag] if tag in self._by_tag else []
            return [self._by_tag.pop(tag) for tag in tags]

    def take_all(self) -> list[Posting]:
        """Take out everything."""
        return self.take(self._last, multiple=True)

    def find(self, job_id: str) -> Posting | None:
        """Look a job up."""
        with self._lock:
            return next((p for p in self._by_tag.values() if p.job.id == job_id), None)
