"""Large images for the API, and how soon it answers others meanwhile."""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.bench.load import Measured, summary
from tests.data.hostile import picture

SIZE = (4000, 3000)
PROBE = """
import http.client, sys, time
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    began = time.perf_counter()
    connection.request("GET", "/healthz")
    connection.getresponse().read()
    print(time.perf_counter() - began)
    time.sleep(0.005)
"""


def probe_health(port: int, seconds: float) -> list[float]:
    """Ask `/healthz` again and again, from a process of its own; gives how long each answer took, in s."""
    command = [sys.executable, "-c", PROBE, str(port), str(seconds)]
    return [float(line) for line in subprocess.check_output(command, text=True).split()]


@contextmanager
def sending(port: int, key: str, clients: int) -> Iterator[list[tuple[int, float]]]:
    """Send images to the endpoint `pictures`, each client its next when the last is accepted.

    Yields:
        A list that grows: status and duration (s) of each request.
    """
    head = b'--x\r\nContent-Disposition: form-data; name="wait_for_result"\r\n\r\nfalse\r\n'
    head += b'--x\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
    body = head + picture("JPEG", SIZE, quality=95) + b"\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x", "Authorization": f"Bearer {key}"}
    answers: list[tuple[int, float]] = []
    stop = threading.Event()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while not stop.is_set():
            began = time.perf_counter()
            connection.request("POST", "/pictures", body, headers)
            answer = connection.getresponse()
            answer.read()
            answers.append((answer.status, time.perf_counter() - began))
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    yield answers
    stop.set()
    for thread in threads:
        thread.join()


def measured(durations: Sequence[float], seconds: float, errors: int = 0) -> Measured:
    """Give durations in s as a run of a case."""
    latency = summary(sorted(durations))
    count = len(durations)
    return Measured(count / seconds, latency, count, errors, [], count + errors, seconds, 0.0)
