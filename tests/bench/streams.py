"""Event streams: many clients follow their jobs, which a played worker runs 64 at a time.

Each of those reports ten times a second, for a second. Latency is from the moment of a report, or of an
outcome, to the arrival of its event; the driver itself is part of it.
"""

from __future__ import annotations

import json
import select
import socket
import time
import uuid

import httpx

from tasks.jobs import Job, JobState, Progress, Result
from tasks.store import JobStore
from tests.bench.load import Measured, summary

AT_ONCE = 64  # jobs that run
REPORTS = 10  # of each job
PAUSE = 0.1  # s between two reports of a job
HOLDER = "bench@played#1"
OPEN_WITHIN = 60.0  # s


class Stream:
    """One client that follows one job."""

    def __init__(self, port: int, key: str, job_id: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.events = 0
        self.is_complete = False
        self._received = b""
        head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}"
        self.socket.sendall(f"GET /jobs/{job_id}/events HTTP/1.1\r\n{head}\r\n\r\n".encode())

    def receive(self) -> list[str]:
        """Read what is there; gives the data of the events that are complete.

        Raises:
            ConnectionError: the stream has ended.
        """
        part = self.socket.recv(1 << 16)
        if not part:
            raise ConnectionError("stream ended")
        *complete, self._received = (self._received + part).split(b"\n\n")
        found = [event.rpartition(b"data: ")[2].decode() for event in complete if b"data: " in event]
        self.events += len(found)
        self.is_complete = b"event: completed" in part
        return found


class Streams:
    """Opens streams, and plays the worker of their jobs."""

    def __init__(self, port: int, key: str, store: JobStore) -> None:
        self._port = port
        self._key = key
        self._store = store
        self._streams: dict[int, Stream] = {}
        self._poll = select.epoll()
        self._latencies: list[float] = []
        self._errors = 0
        self._jobs: list[Job] = []

    def open(self, count: int) -> float:
        """Record jobs and follow each of them; gives the seconds until all streams had their first event."""
        now, owner = time.time(), self._owner()
        self._jobs = [
            Job(str(uuid.uuid4()), "echo", "echo_cpu", {}, owner, now + number * 1e-6, now + 3600, 60.0)
            for number in range(count)
        ]
        for job in self._jobs:
            self._store.add(job, 10 * count)
        began = time.monotonic()
        for job in self._jobs:
            stream = Stream(self._port, self._key, job.id)
            self._streams[stream.socket.fileno()] = stream
            self._poll.register(stream.socket, select.EPOLLIN)
            self._take(0)
        while not all(stream.events for stream in self._streams.values()):
            self._take(0.1)
            if time.monotonic() - began > OPEN_WITHIN:
                raise TimeoutError("not all streams were opened")
        return time.monotonic() - began

    def rest(self, seconds: float) -> None:
        """Let nothing happen but what happens by itself."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._take(left)

    def run(self, seconds: float) -> Measured:
        """Run jobs for so many seconds, or until all are done."""
        self._latencies.clear()
        began, cpu, sent = time.monotonic(), time.process_time(), 0
        for start in range(0, len(self._jobs), AT_ONCE):
            if time.monotonic() - began > seconds:
                break
            sent += self._live(self._jobs[start : start + AT_ONCE])
        self.rest(1)
        taken = time.monotonic() - began
        return Measured(
            rate=len(self._latencies) / taken,
            latency=summary(sorted(self._latencies)),
            answers=len(self._latencies),
            errors=self._errors,
            error_examples=[],
            sent=sent,
            seconds=taken,
            generator_cpu=(time.process_time() - cpu) / taken,
        )

    def close(self) -> None:
        """Hang up."""
        for stream in self._streams.values():
            stream.socket.close()
        self._poll.close()

    def _owner(self) -> str:
        """Submit a job; gives the id of the API key, as its record says."""
        body = {"text": "x", "wait_for_result": False}
        headers = {"Authorization": f"Bearer {self._key}"}
        answer = httpx.post(f"http://127.0.0.1:{self._port}/echo", json=body, headers=headers)
        status = self._store.get(answer.json()["job_id"])
        assert status is not None
        return status.owner

    def _live(self, jobs: list[Job]) -> int:
        """Let a batch run from its start to its end; gives the number of events."""
        self._store.start(jobs, HOLDER, time.time())
        for number in range(1, REPORTS + 1):
            self.rest(PAUSE)
            now = time.monotonic()
            self._store.report([(job, Progress(100 * number / REPORTS, {"sent": now})) for job in jobs])
        self.rest(PAUSE)
        now = time.monotonic()
        result = Result(JobState.DONE, time.time(), time.time(), {"text": "x", "sent": now})
        self._store.finish([(job, result, {}) for job in jobs])
        return len(jobs) * (REPORTS + 2)

    def _take(self, wait: float) -> None:
        for descriptor, _ in self._poll.poll(wait):
            stream = self._streams[descriptor]
            try:
                events = stream.receive()
            except OSError:
                self._errors += 1
                self._poll.unregister(descriptor)
                continue
            if stream.is_complete:
                self._poll.unregister(descriptor)
            for body in map(json.loads, events):
                told = body.get("job_result") or body["progress"]["progress_data"]
                if "sent" in told:
                    self._latencies.append(time.monotonic() - told["sent"])
