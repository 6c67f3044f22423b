"""A crowd: very many clients that wait for their results at the same moment, all on one API process.

A played worker lets all of them wait until the last has come and some seconds more; then it ends their jobs
one after another. Latency is from the moment at which a result is stored to its arrival at the client.
"""

from __future__ import annotations

import json
import select
import socket
import time
from typing import Any

import redis

from tasks.jobs import JobState, Result
from tasks.records import job_key, recorded, waiting_key
from tasks.store import JobStore
from tests.bench.load import Measured, content_length, summary

ARRIVING = 500  # clients per s
ENDING = 500  # jobs per s
AT_ONCE = 25  # jobs that end together
QUEUE = "echo_cpu"
PATIENCE = 120.0  # s


class Crowd:
    """Clients of one API, each with a connection of its own.

    Args:
        port: of the API.
        key: an API key.
        store_url: of the job store.
    """

    def __init__(self, port: int, key: str, store_url: str) -> None:
        body = b'{"text":"x"}'
        head = f"Host: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json"
        head += f"\r\nContent-Length: {len(body)}"
        self._request = f"POST /echo HTTP/1.1\r\n{head}\r\n\r\n".encode() + body
        self._port = port
        self._store = JobStore.from_url(store_url)
        self._redis: Any = redis.Redis.from_url(store_url, decode_responses=True)
        self._sockets: dict[int, socket.socket] = {}
        self._received: dict[int, bytes] = {}
        self._poll = select.epoll()
        self._latencies: list[float] = []
        self._examples: list[str] = []
        self._answered = 0

    def come(self, count: int) -> None:
        """Let so many clients send their request, and wait until all of their jobs are queued."""
        began = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, began + number / ARRIVING - time.monotonic()))
            client = socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE)
            self._sockets[client.fileno()] = client
            self._poll.register(client, select.EPOLLIN)
            client.sendall(self._request)
        while self._store.queue_length(QUEUE) + self._answered < count:
            self._take(0.1)
            if time.monotonic() - began > PATIENCE:
                raise TimeoutError("not all jobs were accepted")

    def leave(self) -> Measured:
        """End all jobs; gives what the clients saw."""
        jobs = [str(job_id) for job_id in self._redis.zrange(waiting_key(QUEUE), 0, -1)]
        began, cpu = time.monotonic(), time.process_time()
        for start in range(0, len(jobs), AT_ONCE):
            while (left := began + start / ENDING - time.monotonic()) > 0:
                self._take(left)
            self._end(jobs[start : start + AT_ONCE])
        end = time.monotonic() + PATIENCE
        while self._sockets and time.monotonic() < end:
            self._take(0.1)
        taken = time.monotonic() - began
        return Measured(
            rate=len(self._latencies) / taken,
            latency=summary(sorted(self._latencies)),
            answers=len(self._latencies),
            errors=self._answered - len(self._latencies) + len(self._sockets),
            error_examples=self._examples,
            sent=self._answered + len(self._sockets),
            seconds=taken,
            generator_cpu=(time.process_time() - cpu) / taken,
        )

    def close(self) -> None:
        """Hang up."""
        for client in self._sockets.values():
            client.close()
        self._poll.close()
        self._redis.close()
        self._store.close()

    def _end(self, job_ids: list[str]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipeline.hgetall(job_key(job_id))
        jobs = [recorded(i, record) for i, record in zip(job_ids, pipeline.execute(), strict=True)]
        now = time.time()
        outputs = {"text": "x", "sent": time.monotonic()}
        result = Result(JobState.DONE, now, now, outputs)
        self._store.finish([(job, result, {}) for job in jobs])

    def _take(self, wait: float) -> None:
        for descriptor, _ in self._poll.poll(wait):
            client = self._sockets[descriptor]
            try:
                part = client.recv(1 << 16)
            except OSError:
                part = b""
            self._received[descriptor] = answer = self._received.get(descriptor, b"") + part
            head, _, body = answer.partition(b"\r\n\r\n")
            if part and len(body) < max(1, content_length(head)):
                continue
            now = time.monotonic()
            self._answered += 1
            self._poll.unregister(descriptor)
            del self._received[descriptor]  # its number may come again
            self._sockets.pop(descriptor).close()
            try:
                self._latencies.append(now - json.loads(body)["sent"])
            except (ValueError, KeyError):
                self._examples = [*self._examples[:2], repr(answer[:200])]
