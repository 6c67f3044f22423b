"""Results to the API process that waits: one listener per process, one waiter per request."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from typing import Any

import redis

from tasks.errors import StoreUnavailable
from tasks.jobs import Result
from tasks.store import JobStore

logger = logging.getLogger(__name__)

RESYNC = 5.0  # s; so often waiting jobs are looked up, whatever was published
POLL = 1.0  # s; longest wait for one message
RECONNECT = 0.5  # s between attempts
CONNECT = 0.8  # s; a request is refused if there is no channel by then
CHUNK = 500  # jobs looked up in one round trip


class Waiter:
    """Waits for the result of one job, while its context lasts.

    Attributes:
        since: when it began, by the monotonic clock, in s.
    """

    # There are as many as clients that wait.
    __slots__ = ("_event", "_job_id", "_result", "_waiters", "since")

    def __init__(self, waiters: dict[str, Waiter], job_id: str) -> None:
        self._waiters = waiters
        self._job_id = job_id
        self._event = threading.Event()
        self._result: Result | None = None
        self.since = time.monotonic()

    def __enter__(self) -> Waiter:
        self._waiters[self._job_id] = self
        return self

    def __exit__(self, *reason: object) -> None:
        self._waiters.pop(self._job_id, None)

    def resolve(self, result: Result) -> None:
        """Give the waiting request its result."""
        self._result = result
        self._event.set()

    def wait(self, timeout: float | None = None) -> Result | None:
        """Wait up to `timeout` seconds; None if there is no result by then."""
        self._event.wait(timeout)
        return self._result


class ReplyListener:
    """Listens on this process's own channel and hands every result to its waiter.

    A message that is missed (Redis restarted, the connection was cut) costs time, not the result:
    after each connect, and every `resync` seconds, the jobs that are waited for are looked up.
    """

    def __init__(self, store: JobStore, resync: float = RESYNC) -> None:
        self.channel = f"replies:{uuid.uuid4().hex}"
        self._store = store
        self._resync_interval = resync
        self._waiters: dict[str, Waiter] = {}
        self._lock = threading.Lock()
        self._listening = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def expect(self, job_id: str) -> Waiter:
        """Give the context in which `job_id` is waited for; enter it before the job is submitted.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        self._ensure_listening()
        return Waiter(self._waiters, job_id)

    def close(self) -> None:
        """Listen no more; for a process that goes on without it."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _ensure_listening(self) -> None:
        if self._listening.is_set():
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="replies", daemon=True)
                self._thread.start()
        if not self._listening.wait(timeout=CONNECT):
            raise StoreUnavailable("the job store does not answer: no channel for results")

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._listen()
            except (redis.RedisError, StoreUnavailable, OSError) as error:
                self._listening.clear()
                logger.warning("reply channel lost, connecting again: %s", error)
            except Exception:  # whatever a message holds, the other requests get their results
                self._listening.clear()
                logger.exception("a result could not be read, listening again")
            self._closed.wait(RECONNECT)

    def _listen(self) -> None:
        with self._store.pubsub() as pubsub:
            pubsub.subscribe(self.channel)
            pubsub.get_message(timeout=POLL)  # the confirmation: from here on nothing is missed
            self._listening.set()
            self._resync(min_age=0)
            due = time.monotonic() + self._resync_interval
            silent = False  # since the last PING
            connection: Any = pubsub.connection
            while not self._closed.is_set():
                answer = _next_answer(connection, min(POLL, self._resync_interval))
                if answer is not None:
                    silent = False
                    self._tell(answer)
                if time.monotonic() >= due:
                    if silent:  # forgotten by a firewall, or by a server that is gone without a word
                        raise redis.ConnectionError("the channel is silent")
                    connection.send_command("PING", check_health=False)
                    silent = True
                    self._resync(min_age=self._resync_interval)
                    due = time.monotonic() + self._resync_interval

    def _tell(self, answer: Any) -> None:
        if not isinstance(answer, list) or answer[0] != "message":
            return
        job_id, _, text = answer[2].partition(" ")
        if job_id in self._waiters:
            self._resolve(job_id, Result.from_wire(json.loads(text)))

    def _resync(self, min_age: float) -> None:
        now = time.monotonic()
        ids = [i for i, waiter in list(self._waiters.items()) if now - waiter.since >= min_age]
        for start in range(0, len(ids), CHUNK):
            chunk = ids[start : start + CHUNK]
            for job_id, status in zip(chunk, self._store.get_many(chunk), strict=True):
                if status is not None and status.result is not None:
                    self._resolve(job_id, status.result)

    def _resolve(self, job_id: str, result: Result) -> None:
        waiter = self._waiters.get(job_id)
        if waiter is not None:
            waiter.resolve(result)


def _next_answer(connection: Any, timeout: float) -> Any:
    """Give what the server says next; None if that is nothing for `timeout` seconds.

    Not `PubSub.get_message`: for each message it asks the system whether there is one.
    """
    try:
        return connection.read_response(disconnect_on_error=False, push_request=True, timeout=timeout)
    except redis.TimeoutError:
        return None
