"""Large images for the API, and how soon it answers others meanwhile."""

from __future__ import annotations

import base64
import http.client
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from PIL import Image

from tests.bench.load import Measured, summary

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


def photograph() -> bytes:
    """Give a JPEG of 12 megapixels and 3 MB, as a camera takes it."""
    file = io.BytesIO()
    bands = [Image.effect_noise((SIZE[0] // 8, SIZE[1] // 8), 40 + 20 * band) for band in range(3)]
    Image.merge("RGB", bands).resize(SIZE).save(file, "JPEG", quality=90)
    return file.getvalue()


def _form(image: bytes) -> bytes:
    wait = b'--x\r\nContent-Disposition: form-data; name="wait_for_result"\r\n\r\nfalse\r\n'
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
    return wait + head + image + b"\r\n--x--\r\n"


def _json(image: bytes) -> bytes:
    url = "data:image/jpeg;base64," + base64.b64encode(image).decode()
    return json.dumps({"image": url, "wait_for_result": False}).encode()


@contextmanager
def sending(port: int, key: str, clients: int) -> Iterator[list[tuple[int, float]]]:
    """Send images to the endpoint `pictures`, each client its next when the last is accepted.

    Half of the clients send forms, the other half JSON.

    Yields:
        A list that grows: status and duration (s) of each request.
    """
    image = photograph()
    bodies = [("multipart/form-data; boundary=x", _form(image)), ("application/json", _json(image))]
    answers: list[tuple[int, float]] = []
    stop = threading.Event()

    def client(kind: str, body: bytes) -> None:
        headers = {"Content-Type": kind, "Authorization": f"Bearer {key}"}
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while not stop.is_set():
            began = time.perf_counter()
            connection.request("POST", "/pictures", body, headers)
            answer = connection.getresponse()
            answer.read()
            answers.append((answer.status, time.perf_counter() - began))
        connection.close()

    threads = [threading.Thread(target=client, args=bodies[number % 2]) for number in range(clients)]
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
