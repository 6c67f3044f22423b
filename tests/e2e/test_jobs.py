"""Jobs as resources and streams, as clients see them: gunicorn, NGINX, a broker, a worker."""

from __future__ import annotations

import json
import re
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from client import ModelAPI
from tests.services import Nginx, wait_until

KEY = "a-key-for-the-tests"
HEADERS = {"Authorization": f"Bearer {KEY}"}
ESTABLISHED, CLOSE_WAIT = "01", "08"  # in /proc/net/tcp
ON_ONE_BROKER = pytest.mark.parametrize("broker", ["embedded"], indirect=True)


@pytest.fixture
def start(stoker_home, start_api):
    (stoker_home / "demo-key").write_text(KEY)
    return start_api


def submit(url, **inputs):
    return httpx.post(f"{url}/trial", json=inputs | {"wait_for_result": False}, headers=HEADERS).json()[
        "job_id"
    ]


def state(url, job_id):
    return httpx.get(f"{url}/jobs/{job_id}", headers=HEADERS).json()["job_state"]


def events(url, job_id, seen=None, most=None):
    """Follow a job; gives (id, name, data, when it came) of at most so many events, then hangs up."""
    headers = HEADERS | ({"Last-Event-ID": seen} if seen else {})
    found = []
    with httpx.stream("GET", f"{url}/jobs/{job_id}/events", headers=headers, timeout=30) as answer:
        assert answer.status_code == 200
        fields = {}
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            fields[name] = value
            if line == "" and "data" in fields:
                came = time.monotonic()
                found.append((fields["id"], fields["event"], json.loads(fields["data"]), came))
                if len(found) == most:
                    break
            if line == "":
                fields = {}
    return found


def test_a_stream_passes_nginx_as_it_happens_and_goes_on_in_another_process(start, start_worker, tmp_path):
    one, two = start(), start()
    start_worker("trial_cpu")
    folder = tmp_path / "nginx"
    folder.mkdir()
    nginx = Nginx(folder, one.port, two.port)
    try:
        nginx.wait_ready()
        job_id = submit(nginx.url, action="report", seconds=3, text="hi")
        first = events(nginx.url, job_id, most=4)
        rest = events(nginx.url, job_id, seen=first[-1][0])
        done = httpx.get(
            f"{nginx.url}/jobs/{job_id}/events", headers=HEADERS | {"Last-Event-ID": rest[-1][0]}
        )
    finally:
        nginx.close()
    assert {name for _, name, _, _ in [*first, *rest[:-1]]} <= {"queued", "progress"}
    assert (rest[-1][1], rest[-1][2]["job_result"]["text"]) == ("completed", "hi")
    revisions = [int(number) for number, *_ in [*first, *rest] if number != "0"]
    assert revisions == sorted(set(revisions))
    steps = [data["progress"]["progress_data"].get("step", 0) for _, _, data, _ in [*first, *rest[:-1]]]
    assert len(set(steps)) >= 8 and steps == sorted(steps)
    times = [came for *_, came in [*first, *rest]]
    assert times[-1] - times[0] > 1.5  # they came while the job ran, not together at its end
    assert done.status_code == 204
    path = f"/jobs/{job_id}/events"
    wait_until(lambda: path in one.log() and path in two.log(), 10, "both processes to have streamed")


def send(url, path, body):
    """Begin a call; gives its connection."""
    host, port = url.removeprefix("http://").split(":")
    text = json.dumps(body)
    connection = socket.create_connection((host, int(port)))
    head = f"Host: {host}\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json"
    head += f"\r\nContent-Length: {len(text)}"
    connection.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n\r\n{text}".encode())
    return connection


def running(url):
    return httpx.get(f"{url}/jobs?state=processing", headers=HEADERS).json()["jobs"]


@ON_ONE_BROKER
@pytest.mark.parametrize(("reset", "behind_nginx"), [(False, True), (True, False)])
def test_a_client_that_hangs_up_cancels_its_job_if_it_said_so(
    start, start_worker, tmp_path, reset, behind_nginx
):
    api = start()
    start_worker("example_cpu")
    folder = tmp_path / "nginx"
    folder.mkdir()
    nginx = Nginx(folder, api.port) if behind_nginx else None
    try:
        if nginx:
            nginx.wait_ready()
        url = nginx.url if nginx else api.url
        body = {"prompt": "hi", "sleep_duration": 20, "cancel_on_disconnect": True}
        connection = send(url, "/example_api", body)
        (job,) = wait_until(lambda: running(url), 10, "the job to run")
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        wait_until(lambda: state(url, job["job_id"]) == "canceled", 8, "the job to be canceled")
    finally:
        if nginx:
            nginx.close()
    told = f'"status":499,"job":"{job["job_id"]}"'
    wait_until(lambda: told in api.log(), 5, "the access log")
    assert re.search(rf"^20.* INFO app.waiting: job {job['job_id']}: .* canceled$", api.log(), re.MULTILINE)


@ON_ONE_BROKER
@pytest.mark.parametrize(
    ("headers", "flags"), [({}, {}), ({"Idempotency-Key": "k"}, {"cancel_on_disconnect": True})]
)
def test_a_client_that_hangs_up_cancels_nothing_otherwise(start, start_worker, headers, flags):
    api = start()
    start_worker("trial_cpu")
    body = {"action": "sleep", "seconds": 2.5} | flags
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{api.url}/trial", json=body, headers=HEADERS | headers, timeout=0.5)
    (job,) = wait_until(lambda: running(api.url), 10, "the job to run")
    wait_until(lambda: state(api.url, job["job_id"]) == "done", 10, "the job to end")


@ON_ONE_BROKER
def test_our_client_goes_on_asking_when_it_is_held_no_longer(start, start_worker):
    api = start({"STOKER_MAX_WAIT": "1"})
    start_worker("trial_cpu")
    with ModelAPI(api.url, "trial", KEY) as client:
        result = client.do_api_request({"action": "sleep", "seconds": 2, "text": "late"})
    assert result["text"] == "late" and result["total_duration"] > 1.9


@ON_ONE_BROKER
def test_a_process_that_is_stopped_ends_its_streams_and_nobody_loses_a_job(start, start_worker):
    api = start({"STOKER_MAX_WAIT": "4"})
    start_worker("trial_cpu")
    with ThreadPoolExecutor(2) as pool:
        body = {"action": "report", "seconds": 8}
        held = pool.submit(httpx.post, f"{api.url}/trial", json=body, headers=HEADERS, timeout=30)
        (job,) = wait_until(lambda: running(api.url), 10, "the job to run")
        stream = pool.submit(events, api.url, job["job_id"])
        wait_until(lambda: connections(api) >= 2, 10, "both to be connected")
        began = time.monotonic()
        assert api.terminate() == 0
        assert time.monotonic() - began < 7  # less than the job takes
        told = stream.result(1)
        assert told and told[-1][1] == "progress"
        answer = held.result(1)
    assert (answer.status_code, answer.headers["Location"]) == (202, f"/jobs/{job['job_id']}")
    again = start()
    ((_, name, data, _),) = events(again.url, job["job_id"], seen=told[-1][0])[-1:]
    assert (name, data["job_state"]) == ("completed", "done")


def connections(api):
    """Count the connections of clients that the API has not closed."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(
        local.endswith(f":{api.port:04X}") and status in (ESTABLISHED, CLOSE_WAIT)
        for _, local, _, status, *_ in lines
    )


@ON_ONE_BROKER
def test_clients_that_come_and_go_leave_nothing_behind(start, redis_server):
    api = start({"STOKER_LOG_LEVEL": "warning"})
    job_ids = [submit(api.url, text=str(number)) for number in range(100)]

    def follow(number):
        connection = socket.create_connection(("127.0.0.1", api.port))
        path = f"/jobs/{job_ids[number % 100]}/events"
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode()
        if number % 3 == 0:
            connection.sendall(request[: number % len(request)])  # half a request
        else:
            connection.sendall(request)
        if number % 3 == 1:
            assert b"event: queued" in read_until(connection, b"event: queued")
        connection.close()

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(follow, range(300)))
    with redis_server.client() as client:
        for job_id in job_ids:
            assert httpx.delete(f"{api.url}/jobs/{job_id}", headers=HEADERS).status_code == 200
        wait_until(lambda: not client.pubsub_channels("job:*"), 30, "the end of all streams")
    wait_until(lambda: not connections(api), 30, "the end of all connections")


def read_until(connection, mark):
    text = b""
    while mark not in text and (part := connection.recv(4096)):
        text += part
    return text
