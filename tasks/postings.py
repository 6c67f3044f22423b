"""Jobs on their way to the broker, and which of them a channel has not confirmed yet."""

from __future__ import annotations

import threading
import time
from itertools import takewhile

from tasks.envelope import Message
from tasks.jobs import Job

OVERHEAD = 4096  # bytes; about what a posting takes beside its body


class Posting:
    """A job on its way to the broker, and the request that waits for it.

    Attributes:
        job: the job.
        limit: of the jobs that may wait in its queue.
        message: what is published.
        begun: when its way began, by the monotonic clock, in s.
        attempts: how often it was lost.
        recorded: whether the store may hold it.
        abandoned: whether nobody waits for it any more.
        unroutable: whether the broker had no queue for it.
        error: why it was not accepted; None if it was.
    """

    __slots__ = ("_settled", "abandoned", "attempts", "begun", "error", "job", "limit", "message", "recorded",
                 "unroutable")  # fmt: skip

    def __init__(self, job: Job, limit: int, message: Message) -> None:
        self.job = job
        self.limit = limit
        self.message = message
        self.begun = time.monotonic()
        self.attempts = 0
        self.recorded = False
        self.abandoned = False
        self.unroutable = False
        self.error: Exception | None = None
        self._settled = threading.Event()

    @property
    def size(self) -> int:
        """Memory that it takes, in bytes."""
        return len(self.message.body) + OVERHEAD

    def settle(self, error: Exception | None = None) -> None:
        """Tell the request that waits how it went."""
        self.error = error
        self._settled.set()

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds; tells whether it is settled."""
        return self._settled.wait(timeout)

    def again(self) -> None:
        """Forget how it went: it goes its way once more."""
        self.error = None
        self._settled.clear()


class Unconfirmed:
    """What a channel has sent and not heard of, by delivery tag: 1 for the first message, and so on.

    One thread sends, another one hears.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_tag: dict[int, Posting] = {}  # in the order of the tags
        self._last = 0

    def sent(self, posting: Posting) -> None:
        """Note a message; called just before it is sent, so that no confirm can come too early."""
        with self._lock:
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
