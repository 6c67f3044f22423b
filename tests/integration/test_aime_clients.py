"""The calls of AIME's own clients, as they were seen on the wire, and what these clients need in the answers.

Its Python client takes every status but 200 for a failure. Its JavaScript client looks at `success`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tasks.jobs import JobState, Progress
from tests.integration.conftest import ALICE, PlayedWorker
from tests.services import wait_until

FILE = f"""
[ENDPOINT]
name = "bench"
version = 3
[WORKER]
queue = "bench_cpu"
[CLIENTS]
authorization_keys = {{ alice = "{ALICE}" }}
[INPUTS]
text = {{ type = "string" }}
options = {{ type = "json" }}
[OUTPUTS]
text = {{ type = "string" }}
[PROGRESS.OUTPUTS]
status = {{ type = "string" }}
"""
STATISTICS = {
    "start_time",
    "start_time_compute",
    "result_received_time",
    "compute_duration",
    "total_duration",
}
REPORT = {"progress", "queue_position", "estimate", "num_workers_online", "progress_data"}


@pytest.fixture
def app(home: Path, make_app: Callable[..., Flask]) -> Flask:
    (home / "endpoints" / "bench.toml").write_text(FILE)
    return make_app(STOKER_MAX_WAIT="1")


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def pool() -> Any:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def python_login(client: FlaskClient, key: str = ALICE) -> Any:
    return client.get("/bench/login", query_string={"user": "aime", "key": key, "version": "Python 0.8.9"})


def javascript_login(client: FlaskClient, key: str = ALICE) -> Any:
    return client.post(f"/bench/login?user=aime&key={key}", json={})


def request(
    client: FlaskClient, wait: bool, token: str | None = None, key: str | None = ALICE, **inputs: Any
) -> Any:
    body = {**inputs, "client_session_auth_key": token, "key": key, "wait_for_result": wait}
    return client.post("/bench", json=body)


def python_poll(client: FlaskClient, job_id: str) -> Any:
    return client.get("/bench/progress", query_string={"key": ALICE, "job_id": job_id})


def javascript_poll(client: FlaskClient, job_id: str, token: str) -> Any:
    return client.get("/bench/progress", query_string={"client_session_auth_key": token, "job_id": job_id})


@pytest.mark.parametrize("login", [python_login, javascript_login])
def test_a_login_is_answered_by_a_session_that_requests_and_polls_may_use(
    client: FlaskClient, worker: PlayedWorker, login: Callable[..., Any]
) -> None:
    answer = login(client)
    assert (answer.status_code, answer.json["success"], answer.json["ep_version"]) == (200, True, 3)
    token = answer.json["client_session_auth_key"]
    job_id = request(client, wait=False, token=token, key=None).json["job_id"]
    assert javascript_poll(client, job_id, token).json["success"] is True
    refused = login(client, key="wrong")
    assert refused.status_code != 200 and refused.json["success"] is False


def test_a_request_that_waits_is_answered_by_its_result(
    client: FlaskClient, worker: PlayedWorker, pool: ThreadPoolExecutor
) -> None:
    held: Future[Any] = pool.submit(request, client, wait=True, text="hi")
    job = worker.start("bench_cpu")
    worker.end(job, outputs={"text": "echo hi"})
    answer = held.result(10)
    assert answer.status_code == 200
    assert answer.json.keys() == {"success", "job_id", "ep_version", "text"} | STATISTICS
    assert (answer.json["success"], answer.json["job_id"], answer.json["text"]) == (True, job.id, "echo hi")


def test_a_request_with_progress_is_polled_until_it_is_done(
    client: FlaskClient, worker: PlayedWorker
) -> None:
    accepted = request(client, wait=False, text="hi").json
    assert accepted.keys() == {"success", "job_id", "ep_version"}
    job_id = accepted["job_id"]
    queued = python_poll(client, job_id).json
    assert queued.keys() == {"success", "job_id", "ep_version", "job_state", "progress"}
    assert queued["progress"].keys() == REPORT
    assert (queued["job_state"], queued["progress"]["queue_position"]) == ("queued", 1)
    job = worker.start("bench_cpu")
    worker.store.report([(job, Progress(33, {"status": "s1"}))])
    running = python_poll(client, job_id).json
    assert (running["job_state"], running["progress"]["progress"]) == ("processing", 33)
    assert running["progress"]["progress_data"] == {"status": "s1"}
    worker.end(job, outputs={"text": "done"})
    done = python_poll(client, job_id).json
    assert done.keys() == {"success", "job_id", "ep_version", "job_state", "job_result"}
    assert (done["job_state"], done["job_result"]["text"]) == ("done", "done")


def test_a_job_that_fails_is_no_success_for_either_client(
    client: FlaskClient, worker: PlayedWorker, pool: ThreadPoolExecutor
) -> None:
    held: Future[Any] = pool.submit(request, client, wait=True)
    worker.end(worker.start("bench_cpu"), state=JobState.FAILED, error="boom")
    assert held.result(10).status_code != 200 and held.result().json["success"] is False
    job_id = request(client, wait=False).json["job_id"]
    worker.end(worker.start("bench_cpu"), state=JobState.FAILED, error="boom")
    polled = python_poll(client, job_id)
    assert (polled.status_code, polled.json["job_state"]) == (200, "done")  # what ends the polling
    assert polled.json["job_result"]["success"] is False and "boom" in polled.json["job_result"]["error"][0]


def test_a_job_that_takes_longer_than_a_request_is_held_is_no_success_and_goes_on(
    client: FlaskClient, worker: PlayedWorker
) -> None:
    answer = request(client, wait=True)
    assert (answer.status_code, answer.json["success"], answer.json["code"]) == (504, False, "still_running")
    (sentence,) = answer.json["error"]
    job = worker.start("bench_cpu")
    assert job.id == answer.json["job_id"] and job.id in sentence
    worker.end(job, outputs={"text": "late"})
    assert python_poll(client, job.id).json["job_result"]["text"] == "late"


def test_objects_come_as_json_text_from_javascript(client: FlaskClient, worker: PlayedWorker) -> None:
    request(client, wait=False, options=json.dumps({"steps": [1, 2]}))
    request(client, wait=False, options={"steps": [1, 2]})
    jobs = [worker.take("bench_cpu") for _ in range(2)]
    assert [job.inputs["options"] for job in jobs] == [{"steps": [1, 2]}] * 2


def test_descriptions_and_keys_are_asked_for_by_query(client: FlaskClient) -> None:
    key = {"key": ALICE}
    assert "bench" in client.get("/api/endpoints", query_string=key).json["endpoints"]
    for path in ("/api/endpoints/bench", "/api/bench"):
        assert client.get(path).json["parameter_description"]["input"].keys() >= {"text", "wait_for_result"}
    assert client.get("/api/validate_key", query_string=key).json == {"success": True, "error": None}
    wrong = client.get("/api/validate_key", query_string={"key": "wrong"})
    assert (wrong.status_code, wrong.json["success"]) == (200, False)


def test_what_nobody_takes_is_told_when_it_lapses(client: FlaskClient) -> None:
    job_id = client.post("/hasty", json={"key": ALICE, "wait_for_result": False}).json["job_id"]

    def poll() -> Any:
        return client.get("/hasty/progress", query_string={"key": ALICE, "job_id": job_id})

    answer = wait_until(lambda: (a := poll()).status_code != 200 and a, 5, "the job to lapse")
    assert (answer.json["success"], answer.json["job_state"]) == (False, "lapsed")
