"""tasks/gunicorn.py with a real gunicorn."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.services import ROOT, Api, StartError, wait_until

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

    def start_one(ready: bool = True, **env: str) -> Api:
        home = str(tmp_path / "home")
        path = f"{tmp_path}:{ROOT}"
        started.append(Api({"STOKER_HOME": home, "PYTHONPATH": path, **env}, tmp_path, "backend:app"))
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


def test_too_long_request_line_is_refused(start: Start) -> None:
    with pytest.raises(urllib.error.HTTPError, match="414"):
        get(f"{start().url}/healthz?{'x' * 9000}")
