"""Clients that hang up, send half of a body, or read nothing: they cost nothing but their time."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.services import ROOT, Api, RedisServer, Worker, wait_until

pytestmark = pytest.mark.parametrize("broker", ["embedded"], indirect=True)
KEY = "a-key-for-the-tests"
HEADERS = {"Authorization": f"Bearer {KEY}"}
LARGE = 500_000  # characters; more than the buffers of a connection that nobody reads from take
IMPATIENT = """
import app.bodies
import tasks.apiworker

app.bodies.PATIENCE = 1
tasks.apiworker.READ_NOTHING = 2000

from app import create_app

app = create_app()
"""


@dataclass(frozen=True)
class Held:
    """What an API process holds."""

    files: int
    memory: float  # MB
    connections: int  # to Redis
    channels: int  # of jobs that it follows


@pytest.fixture
def api(stoker_home: Path, start_api: Callable[..., Api], tmp_path: Path) -> Api:
    """An API that gives clients up sooner than usual."""
    (stoker_home / "demo-key").write_text(KEY)
    (tmp_path / "impatient.py").write_text(IMPATIENT)
    return start_api({"PYTHONPATH": f"{tmp_path}:{ROOT}", "STOKER_LOG_LEVEL": "warning"}, "impatient:app")


def held(api: Api, redis_server: RedisServer) -> Held:
    (pid,) = api.children()
    with redis_server.client() as client:
        connections, channels = len(client.client_list()), len(client.pubsub_channels("job:*"))
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Held(files, pages * 4096 / 1e6, connections, channels)


def request(method: str, path: str, body: str = "") -> bytes:
    head = f"Host: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json"
    return f"{method} {path} HTTP/1.1\r\n{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def connect(api: Api, window: int | None = None) -> socket.socket:
    connection = socket.socket()
    if window:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", api.port))
    return connection


def hang_up(api: Api, number: int) -> None:
    """Go away in the middle of a request, while its answer is held, or while a stream runs."""
    chance = random.Random(number)
    body = json.dumps({"action": "sleep", "seconds": 0.01})
    whole = request("POST", "/trial", body) if number % 2 else request("GET", "/jobs", "")
    with closing(connect(api)) as connection:
        connection.sendall(whole[: chance.randrange(1, 2 * len(whole))])
        time.sleep(chance.random() / 5)


def send_half(api: Api) -> int:
    """Announce a body, send half of it, and wait; gives the status of the answer."""
    whole = request("POST", "/trial", json.dumps({"text": "x" * 100}))
    with closing(connect(api)) as connection:
        connection.sendall(whole[:-60])
        return int(connection.recv(4096).split()[1])


def read_nothing(api: Api, job_id: str) -> bool:
    """Follow a job with a large outcome and read none of it; gives whether the API hangs up."""
    with closing(connect(api, window=2048)) as connection:
        connection.sendall(request("GET", f"/jobs/{job_id}/events"))
        time.sleep(5)  # the client's own slowness, which is what is tested
        try:
            read = 0
            while part := connection.recv(65536):
                read += len(part)
        except ConnectionResetError:
            return True
        return read < LARGE


def misbehave(api: Api, job_id: str, count: int) -> None:
    """Let so many clients of each kind do their worst at once, and see that others are served."""
    with ThreadPoolExecutor(3 * count) as pool:
        slow = [pool.submit(read_nothing, api, job_id) for _ in range(count)]
        halves = [pool.submit(send_half, api) for _ in range(count)]
        gone = [pool.submit(hang_up, api, number) for number in range(count)]
        good: list[float] = []
        while not all(one.done() for one in slow):
            began = time.monotonic()
            answer = httpx.post(f"{api.url}/trial", json={"text": "good"}, headers=HEADERS, timeout=20)
            assert answer.json()["text"] == "good"
            good.append(time.monotonic() - began)
        assert [one.result() for one in halves] == [408] * count
        assert all(one.result() for one in slow)
        assert all(one.result() is None for one in gone)
    assert sorted(good)[len(good) // 2] < 1


def test_300_bad_clients_leave_nothing_behind(
    api: Api, start_worker: Callable[..., Worker], redis_server: RedisServer
) -> None:
    start_worker("trial_cpu")
    answer = httpx.post(f"{api.url}/trial", json={"text": "x" * LARGE}, headers=HEADERS, timeout=30)
    job_id = answer.raise_for_status().json()["job_id"]
    misbehave(api, job_id, 100)  # what the process keeps for ever, such as connections to Redis, it has now
    before = wait_until(
        lambda: (h := held(api, redis_server)).channels == 0 and h, 20, "the end of all streams"
    )
    misbehave(api, job_id, 100)

    def is_as_before() -> bool:
        now = held(api, redis_server)
        return (
            now.channels == 0
            and now.files <= before.files + 10
            and now.connections <= before.connections + 5
            and now.memory <= before.memory + 40
        )

    wait_until(is_as_before, 30, f"as little as before, {before}; now it is {held(api, redis_server)}")
    assert "ERROR" not in api.log()
    jobs = httpx.get(f"{api.url}/jobs?state=queued", headers=HEADERS).json()["jobs"]
    assert not jobs  # whose client is gone is done all the same
