"""tasks/gunicorn.py with a real gunicorn."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.services import ROOT, Api, StartError, wait_until

HASTY = """
import app.bodies

app.bodies.PATIENCE = 1

from app import create_app

app = create_app()
"""
BACKEND = """
import os
import resource
import time

from flask import Flask

app = Flask(__name__)


@app.get("/healthz")
def healthz():
    return {"pid": os.getpid(), "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0]}


@app.get("/wait")
def wait():
    print("a client waits", flush=True)
    time.sleep(3)
    return "done"
"""
Start = Callable[..., Api]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Api] = []
    (tmp_path / "backend.py").write_text(BACKEND)
    (tmp_path / "hasty.py").write_text(HASTY)

    def start_one(ready: bool = True, wsgi: str = "backend:app", **env: str) -> Api:
        home = str(tmp_path / "home")
        path = f"{tmp_path}:{ROOT}"
        started.append(Api({"STOKER_HOME": home, "PYTHONPATH": path, **env}, tmp_path, wsgi))
        if ready:
            started[-1].wait_ready()
        return started[-1]

    yield start_one
    for api in started:
        api.close()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        body: bytes = answer.read()
        return body.decode()


def test_client_that_waits_is_answered_after_sigterm(start: Start) -> None:
    api = start()
    answers: list[str] = []
    client = threading.Thread(target=lambda: answers.append(get(f"{api.url}/wait")))
    client.start()
    wait_until(lambda: "a client waits" in api.log(), 10, "the request")
    begin = time.monotonic()
    assert api.terminate() == 0
    client.join(10)
    assert answers == ["done"]
    assert time.monotonic() - begin < 20


def test_number_of_processes_comes_from_the_settings(start: Start) -> None:
    api = start(STOKER_API_PROCESSES="3")
    wait_until(lambda: len(api.children()) == 3, 10, "three processes")


def test_wrong_setting_stops_the_start_with_a_sentence(start: Start) -> None:
    api = start(ready=False, STOKER_API_PROCESSES="none")
    with pytest.raises(StartError, match="STOKER_API_PROCESSES"):
        api.wait_ready()
    assert "Traceback" not in api.log()


def test_quiet_log_level_has_no_access_log(start: Start) -> None:
    api = start(STOKER_LOG_LEVEL="warning")
    get(f"{api.url}/healthz")
    assert "GET" not in api.log()


def test_clients_may_be_more_than_the_usual_limit_of_open_files(start: Start) -> None:
    assert '"files":1024' not in get(f"{start().url}/healthz")


def test_a_client_that_sends_all_its_requests_at_once_leaves_the_others_their_turn(start: Start) -> None:
    api = start()
    many = 20_000  # seconds of work
    with socket.create_connection(("127.0.0.1", api.port), timeout=30) as greedy:
        greedy.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * many)
        get(f"{api.url}/healthz")
        greedy.setblocking(False)
        answered = 0
        with suppress(BlockingIOError):
            while part := greedy.recv(1 << 20):
                answered += part.count(b"HTTP/1.1 200 OK")
    assert 0 < answered < many


def raw(api: Api, request: bytes, parts: int = 1) -> tuple[int, dict[str, str], str]:
    """Send bytes, and each of the further parts of one byte after 0.3 s; gives status, headers, body."""
    with socket.create_connection(("127.0.0.1", api.port), timeout=20) as connection:
        connection.sendall(request)
        for _ in range(parts - 1):
            time.sleep(0.3)
            try:
                connection.sendall(b"x")
            except OSError:
                break
        received = b""
        while part := connection.recv(65536):
            received += part
    head, _, body = received.decode().partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    headers = {name.title(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(status.split()[1]), headers, body


def lines(api: Api) -> list[dict[str, object]]:
    """Give the lines of the access log."""
    return [json.loads(line) for line in api.log().splitlines() if line.startswith("{")]


def is_logged(api: Api, text: str) -> bool:
    return text in api.log()


NO_REQUESTS = [
    (b"GET /healthz?key=s3cret" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 414, "uri_too_long"),
    (b"GET / HTTP/1.1\r\nX: s3cret" + b"x" * 9000 + b"\r\n\r\n", 431, "headers_too_large"),
    (b"GET / HTTP/1.1\r\n" + b"X: s3cret\r\n" * 101 + b"\r\n", 431, "headers_too_large"),
    (b"GET /?key=s3cret and more HTTP/1.1\r\n\r\n", 400, "malformed_request"),
    (b"GET /?key=s3cret HTTP/9.9\r\n\r\n", 400, "malformed_request"),
    (b"GET / HTTP/1.1\r\nAuthorization s3cret\r\n\r\n", 400, "malformed_request"),
    (b"POST / HTTP/1.1\r\nTransfer-Encoding: s3cret\r\n\r\n", 501, "malformed_request"),
    (b"\x16\x03\x01\x02\x00\x01s3cret\r\n\r\n", 400, "malformed_request"),
]


def test_what_is_no_request_is_refused_as_json_and_not_logged(start: Start) -> None:
    api = start(STOKER_LOG_LEVEL="debug")
    for request, status, code in NO_REQUESTS:
        got, headers, body = raw(api, request)
        answer = json.loads(body)
        assert (got, answer["code"], answer["success"]) == (status, code, False), request[:50]
        assert headers["Content-Type"] == "application/json"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "s3cret" not in body
        wait_until(partial(is_logged, api, answer["request_id"]), 5, "the log")
    assert "s3cret" not in api.log()


def test_the_access_log_is_json_without_query_and_headers(start: Start) -> None:
    api = start(wsgi="hasty:app")
    for path in ("/healthz?key=s3cret", "/nope%0a%22x%22?client_session_auth_key=s3cret"):
        raw(
            api,
            f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Request-Id: id-1\r\nAuthorization: Bearer s3cret\r\n"
            "Referer: http://x/?key=s3cret\r\nX-Forwarded-For: 203.0.113.9\r\n"
            "Connection: close\r\n\r\n".encode(),
        )
    wait_until(lambda: len(lines(api)) >= 3, 5, "the access log")  # with the look whether it is ready
    *_, healthy, unknown = lines(api)
    assert {name: healthy[name] for name in ("address", "method", "path", "status", "request_id")} == {
        "address": "127.0.0.1",  # whatever somebody says who is no trusted proxy
        "method": "GET",
        "path": "/healthz",
        "status": 200,
        "request_id": "id-1",
    }
    assert isinstance(healthy["bytes"], int) and isinstance(healthy["seconds"], float)
    assert (unknown["path"], unknown["status"]) == ('/nope\n"x"', 404)
    assert "s3cret" not in api.log()


def test_a_proxy_that_is_trusted_tells_the_address(start: Start) -> None:
    api = start(wsgi="hasty:app", STOKER_TRUSTED_PROXIES="127.0.0.0/8")
    raw(api, b"GET /nope HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\n")
    wait_until(lambda: [one for one in lines(api) if one["address"] == "203.0.113.9"], 5, "the access log")


def test_a_body_that_comes_too_slowly_is_given_up(start: Start) -> None:
    api = start(wsgi="hasty:app")
    head = b"POST /api/validate_key HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    began = time.monotonic()
    for length in (b"Content-Length: 1000\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n400\r\n{"):
        status, _, body = raw(api, head + length, parts=12)
        assert (status, json.loads(body)["code"]) == (408, "body_too_slow")
    assert time.monotonic() - began < 30
    assert get(f"{api.url}/healthz")


def test_a_body_that_nobody_wants_and_that_does_not_end_is_hung_up_on(start: Start) -> None:
    api = start(GUNICORN_CMD_ARGS="--keep-alive 1")
    piece = bytes(1 << 20)
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", api.port), timeout=30) as connection:
        connection.sendall(b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n")
        with pytest.raises(OSError):
            while time.monotonic() - began < 30:
                connection.sendall(piece)
    get(f"{api.url}/healthz")


@pytest.mark.parametrize(
    "chunks",
    [b"x\r\n", b"1;" + b"s3cret" * 100 + b"=\x01\r\n{\r\n", b"0\r\nContent-Length: 3\r\nX: s3cret\r\n\r\n"],
)
def test_a_body_in_malformed_chunks_is_the_clients_fault(start: Start, chunks: bytes) -> None:
    api = start(wsgi="hasty:app")
    head = b"POST /api/validate_key HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    status, _, body = raw(api, head + chunks)
    assert (status, json.loads(body)["code"]) == (400, "malformed_request")
    assert "Traceback" not in api.log() and "s3cret" not in api.log()
