"""The load generator: N clients, each of which sends its next request when it has its answer.

Bare sockets and one epoll loop, in a process of its own: a request costs it about 10 us, so that it is far
from being what is measured (`python -m tests.bench ceiling` shows how far). Reads a `Load` as JSON from stdin
and writes a `Measured` as JSON to stdout.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.services import ROOT

TIMEOUT = 60.0  # s without any answer: the server is stuck
PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True)
class Load:
    """What to send, and for how long.

    Attributes:
        port: of 127.0.0.1.
        path: of the URL.
        key: an API key.
        inputs: JSON bodies; the clients take them in turn.
        clients: that wait for an answer at any moment.
        seconds: to measure, after the warm-up.
        requests: if set, measure so many requests instead.
        warm_up: s of load before.
        collect: name of an output whose values are counted.
    """

    port: int
    path: str
    key: str
    inputs: list[dict[str, Any]]
    clients: int
    seconds: float = 5.0
    requests: int | None = None
    warm_up: float = 1.0
    collect: str | None = None

    def run(self) -> Measured:
        """Send this load by a process of its own.

        Raises:
            subprocess.CalledProcessError: the server did not answer at all.
        """
        command = [sys.executable, "-m", "tests.bench.load"]
        done = subprocess.run(
            command, input=json.dumps(asdict(self)), text=True, stdout=subprocess.PIPE, check=True, cwd=ROOT
        )
        return Measured(**json.loads(done.stdout))


@dataclass(frozen=True)
class Measured:
    """What came of it.

    Attributes:
        rate: answers without error per second.
        latency: ms by name: p50, p90, p95, p99, max.
        answers: without error, in the time that was measured.
        errors: everything else, warm-up included; there should be none.
        error_examples: the beginnings of some of them.
        sent: all requests, warm-up included.
        seconds: that were measured.
        generator_cpu: share of one core that the generator used.
        collected: value of the output `collect` -> number of answers.
    """

    rate: float
    latency: dict[str, float]
    answers: int
    errors: int
    error_examples: list[str]
    sent: int
    seconds: float
    generator_cpu: float
    collected: dict[str, int] = field(default_factory=dict)


class _Client:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.connect()

    def connect(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self._port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.sent_at = 0.0

    def send(self, request: bytes) -> None:
        self.received = b""
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)  # a request is small beside a socket's buffer: never blocks

    def receive(self) -> tuple[bytes, bytes] | None:
        """Read what is there; gives head and body once they are complete.

        Raises:
            ConnectionError: the server closed the connection.
        """
        part = self.socket.recv(1 << 18)
        if not part:
            raise ConnectionError("connection closed")
        self.received += part
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator or len(body) < content_length(head):
            return None
        return head, body


def content_length(head: bytes) -> int:
    """Read how long the body of an answer is."""
    return int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])


class Generator:
    """Sends one `Load`."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._requests = [_request(load, inputs) for inputs in load.inputs]
        self._sent = 0
        self._latencies: list[float] = []
        self._errors = 0
        self._examples: list[str] = []
        self._collected: Counter[str] = Counter()
        self._poll = select.epoll()
        self._clients: dict[int, _Client] = {}

    def run(self) -> Measured:
        """Warm up, measure, wait for the last answers."""
        for _ in range(self._load.clients):
            self._add(_Client(self._load.port))
        self._turn_until(time.perf_counter() + self._load.warm_up)
        self._latencies.clear()
        self._collected.clear()
        began, cpu = time.perf_counter(), time.process_time()
        self._turn_until(began + self._load.seconds, self._load.requests)
        ended, cpu = time.perf_counter(), time.process_time() - cpu
        latencies, collected = sorted(self._latencies), dict(self._collected)
        self._drain()
        return Measured(
            rate=len(latencies) / (ended - began),
            latency=summary(latencies),
            answers=len(latencies),
            errors=self._errors,
            error_examples=self._examples,
            sent=self._sent,
            seconds=ended - began,
            generator_cpu=cpu / (ended - began),
            collected=collected,
        )

    def _add(self, client: _Client) -> None:
        self._clients[client.socket.fileno()] = client
        self._poll.register(client.socket, select.EPOLLIN)
        self._send(client)

    def _send(self, client: _Client) -> None:
        client.send(self._requests[self._sent % len(self._requests)])
        self._sent += 1

    def _turn_until(self, end: float, answers: int | None = None) -> None:
        """Go on until `end`, or for so many answers."""
        while len(self._latencies) < answers if answers else time.perf_counter() < end:
            wait = TIMEOUT if answers else min(TIMEOUT, max(0.0, end - time.perf_counter()))
            if not self._turn(wait) and wait == TIMEOUT:
                raise TimeoutError(f"no answer within {TIMEOUT} s")

    def _drain(self) -> None:
        """Wait for the answers that are under way: the next run finds an idle server."""
        while any(client.sent_at for client in self._clients.values()):
            if not self._turn(TIMEOUT, again=False):
                raise TimeoutError(f"no answer within {TIMEOUT} s")

    def _turn(self, wait: float, again: bool = True) -> bool:
        events = self._poll.poll(wait)
        for descriptor, _ in events:
            client = self._clients[descriptor]
            try:
                answer = client.receive()
            except OSError as error:
                self._error(str(error))
                self._poll.unregister(descriptor)
                del self._clients[descriptor]
                client.connect()
                if again:
                    self._add(client)
                continue
            if answer is not None:
                self._take(client, *answer)
                client.sent_at = 0.0
                if again:
                    self._send(client)
        return bool(events)

    def _take(self, client: _Client, head: bytes, body: bytes) -> None:
        if not head.startswith(b"HTTP/1.1 200") or not body.startswith(b'{"success":true'):
            return self._error(body[:200].decode(errors="replace"))
        self._latencies.append(time.perf_counter() - client.sent_at)
        if self._load.collect:
            self._collected[str(json.loads(body)[self._load.collect])] += 1

    def _error(self, text: str) -> None:
        self._errors += 1
        if len(self._examples) < 3:
            self._examples.append(text)


def _request(load: Load, inputs: dict[str, Any]) -> bytes:
    body = json.dumps(inputs).encode()
    head = (
        f"POST {load.path} HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\nAuthorization: Bearer {load.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def summary(latencies: Sequence[float]) -> dict[str, float]:
    """Give percentiles in ms of sorted latencies in s."""
    if not latencies:
        return {}
    last = len(latencies) - 1
    found = {f"p{percent}": latencies[round(last * percent / 100)] for percent in PERCENTILES}
    return {name: round(value * 1000, 3) for name, value in {**found, "max": latencies[-1]}.items()}


def main() -> None:
    """Send the load that stdin tells of."""
    json.dump(asdict(Generator(Load(**json.load(sys.stdin))).run()), sys.stdout)


if __name__ == "__main__":
    main()
