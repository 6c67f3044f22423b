"""API processes and the store are restarted, and any call may come to any process: no client notices."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.services import Api, Nginx, RedisServer, Worker, wait_until

pytestmark = pytest.mark.parametrize("broker", ["embedded"], indirect=True)
KEY = "a-key-for-the-tests"
StartApi = Callable[..., Api]
StartWorker = Callable[..., Worker]


@pytest.fixture
def start(stoker_home: Path, start_api: StartApi) -> StartApi:
    (stoker_home / "demo-key").write_text(KEY)
    return start_api


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as pool:
        yield pool


def client(url: str, credential: str = KEY) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {credential}"}, timeout=60)


def submit(http: httpx.Client, **inputs: Any) -> str:
    return str(
        http.post("/trial", json=inputs | {"wait_for_result": False}).raise_for_status().json()["job_id"]
    )


def state(http: httpx.Client, job_id: str) -> str:
    return str(http.get(f"/jobs/{job_id}").raise_for_status().json()["job_state"])


def hold(url: str, text: str) -> httpx.Response:
    with client(url) as http:
        return http.post("/trial", json={"action": "report", "seconds": 0.6, "text": text})


def follow(url: str, job_id: str) -> list[dict[str, Any]]:
    """Follow a job to its end as a browser does, over as many streams as it takes."""
    told: list[dict[str, Any]] = []
    seen = ""
    with client(url) as http:
        while not (told and "job_result" in told[-1]):
            with http.stream("GET", f"/jobs/{job_id}/events", headers={"Last-Event-ID": seen}) as answer:
                assert answer.status_code == 200
                for line in answer.iter_lines():
                    name, _, value = line.partition(": ")
                    if name == "id":
                        seen = value
                    elif name == "data":
                        told.append(json.loads(value))
    return told


def poll(url: str, job_id: str, asked: list[str], stop: threading.Event) -> None:
    """Ask again and again, on connections that stay open where they may."""
    with client(url) as http:
        while not stop.is_set():
            asked.append(state(http, job_id))
            stop.wait(0.05)


def test_a_reload_drops_nobody_who_waits_follows_or_polls(
    start: StartApi, start_worker: StartWorker, pool: ThreadPoolExecutor
) -> None:
    api = start({"STOKER_API_PROCESSES": "2"})
    start_worker("trial_cpu")
    before = set(api.children())
    asked: list[str] = []
    stop = threading.Event()
    with client(api.url) as http:
        job_id = submit(http, action="report", seconds=2, text="followed")
        pollers = [pool.submit(poll, api.url, job_id, asked, stop) for _ in range(4)]
        streams = [pool.submit(follow, api.url, job_id) for _ in range(4)]
        held = [pool.submit(hold, api.url, f"held {n}") for n in range(3)]
        wait_until(lambda: len(http.get("/jobs").json()["jobs"]) == 4, 10, "the jobs to be accepted")
        wait_until(lambda: state(http, job_id) == "processing", 10, "the job to run")
    api.send_signal(signal.SIGHUP)
    wait_until(lambda: set(api.children()) - before, 20, "new processes")
    texts = [answer.result(60).raise_for_status().json()["text"] for answer in held]
    assert texts == [f"held {n}" for n in range(3)]
    for stream in streams:
        told = stream.result(60)
        assert told[-1]["job_result"]["text"] == "followed"
        assert len({json.dumps(one, sort_keys=True) for one in told}) == len(told)  # nothing twice
    wait_until(lambda: not before & set(api.children()), 30, "the end of the old processes")
    stop.set()
    for poller in pollers:
        poller.result(10)
    assert len(asked) > 10 and {"processing", "done"} <= set(asked) <= {"queued", "processing", "done"}


def test_clients_of_a_process_that_is_stopped_get_their_result(
    start: StartApi, start_worker: StartWorker, pool: ThreadPoolExecutor
) -> None:
    api = start()
    start_worker("trial_cpu")
    held = [pool.submit(hold, api.url, f"held {n}") for n in range(3)]
    with client(api.url) as http:
        wait_until(lambda: len(http.get("/jobs").json()["jobs"]) == 3, 10, "the jobs to be accepted")
    assert api.terminate(60) == 0
    assert [answer.result(1).json()["text"] for answer in held] == [f"held {n}" for n in range(3)]


def test_any_call_may_come_to_any_process(start: StartApi, start_worker: StartWorker, tmp_path: Path) -> None:
    one, two = start(), start()
    start_worker("trial_cpu")
    (tmp_path / "nginx").mkdir()
    with closing(Nginx(tmp_path / "nginx", one.port, two.port)) as nginx:
        nginx.wait_ready()
        with client(one.url) as http:
            token = http.post("/trial/login").json()["client_session_auth_key"]
        with client(two.url, token) as there, client(one.url) as here, client(nginx.url, token) as anywhere:
            job_id = submit(there, action="report", seconds=1, text="hi")
            wait_until(lambda: state(here, job_id) == "processing", 10, "the job to run")
            assert follow(one.url, job_id)[-1]["job_result"]["text"] == "hi"
            assert there.get("/trial/progress", params={"job_id": job_id}).json()["job_state"] == "done"
            running = submit(here, action="report", seconds=20)
            wait_until(lambda: state(there, running) == "processing", 10, "the job to run")
            assert there.delete(f"/jobs/{running}").status_code in (200, 202)
            wait_until(lambda: state(here, running) == "canceled", 10, "the end of the job")
            for number in range(50):  # NGINX takes turns, whatever is asked
                job_id = submit(anywhere, text=f"job {number}")
                wait_until(lambda i=job_id: state(anywhere, i) == "done", 10, "the job")  # type: ignore[misc]
                assert follow(nginx.url, job_id)[-1]["job_result"]["text"] == f"job {number}"
                if all('"path":"/trial"' in api.log() and "/events" in api.log() for api in (one, two)):
                    break
            else:
                pytest.fail("NGINX never took turns")


def test_everything_goes_on_after_a_restart_of_all_processes_and_the_store(
    start: StartApi, start_worker: StartWorker, redis_server: RedisServer
) -> None:
    api, worker = start(), start_worker("trial_cpu")
    with client(api.url) as http:
        token = http.post("/trial/login").json()["client_session_auth_key"]
    with client(api.url, token) as http:
        done = http.post("/trial", json={"text": "done before"}).json()["job_id"]
        worker.terminate()
        queued = [submit(http, text=f"queued {n}") for n in range(5)]
    api.kill9()
    redis_server.restart()
    api = start()
    with client(api.url, token) as http:
        assert http.get(f"/jobs/{done}").json()["job_result"]["text"] == "done before"
        assert [state(http, job_id) for job_id in queued] == ["queued"] * 5
        start_worker("trial_cpu")
        wait_until(lambda: {state(http, job_id) for job_id in queued} == {"done"}, 40, "the jobs")
        results = [http.get(f"/jobs/{job_id}").json()["job_result"]["text"] for job_id in queued]
    assert results == [f"queued {n}" for n in range(5)]
