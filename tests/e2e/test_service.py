"""The whole data path as a client sees it: gunicorn, broker, a worker with its real model, the store."""

from __future__ import annotations

import json
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.services import Process, free_port, wait_until
from tests.services.stoker import BIN

KEY = "a-key-for-the-tests"


class Service:
    """An API and a client of it."""

    def __init__(self, api):
        self.url = api.url
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self.http = httpx.Client(
            base_url=api.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60, limits=limits
        )

    def post(self, path, **inputs):
        return self.http.post(path, json=inputs)

    def poll(self, endpoint, job_id):
        return self.http.get(f"/{endpoint}/progress", params={"job_id": job_id}).json()


@pytest.fixture
def service(stoker_home, start_api):
    (stoker_home / "demo-key").write_text(KEY)
    service = Service(start_api())
    yield service
    service.http.close()


def cosine(one, two):
    return sum(a * b for a, b in zip(one, two, strict=True))


def test_embeddings_tell_what_texts_mean(service, start_worker):
    start_worker("embed_cpu")

    def embed(text):
        answer = service.post("/embed", text=text)
        assert answer.status_code == 200 and answer.json()["success"] is True
        return answer.json()["embedding"]

    guitar = embed("A man is playing a guitar")
    assert len(guitar) == 384 and math.isclose(cosine(guitar, guitar), 1, abs_tol=1e-5)
    assert cosine(guitar, embed("Someone plays an instrument")) > 0.45
    assert cosine(guitar, embed("The stock market fell")) < 0.15


def test_64_concurrent_calls_run_in_batches_and_equal_single_calls(service, start_worker):
    worker = start_worker("embed_cpu")
    texts = [f"Sentence number {n} " + "and more " * (n % 7) for n in range(64)]
    single = [service.post("/embed", text=text).json()["embedding"] for text in texts]
    before = worker.log().count("batch of")
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda text: service.post("/embed", text=text), texts))
    assert {answer.status_code for answer in answers} == {200}
    for answer, expected in zip(answers, single, strict=True):
        assert max(abs(a - b) for a, b in zip(answer.json()["embedding"], expected, strict=True)) < 1e-5
    wait_until(lambda: worker.log().count("batch of") > before, 5, "the batches to be logged")
    assert worker.log().count("batch of") - before < 32, (
        "64 jobs took at least 32 batches: they were not batched"
    )


def test_job_can_be_followed_from_the_queue_to_its_result_and_read_twice(service, start_worker):
    start_worker("trial_cpu")
    first = service.post("/trial", action="report", seconds=2, wait_for_result=False).json()
    assert set(first) == {"success", "job_id", "ep_version"}
    wait_until(
        lambda: service.poll("trial", first["job_id"])["job_state"] == "processing", 10, "the job to run"
    )
    second = service.post("/trial", text="next", wait_for_result=False).json()
    queued = service.poll("trial", second["job_id"])
    assert (queued["job_state"], queued["progress"]["queue_position"]) == ("queued", 1)
    wait_until(
        lambda: (
            service.poll("trial", first["job_id"]).get("progress", {}).get("progress_data", {}).get("step")
        ),
        10,
        "partial outputs",
    )
    final = wait_until(
        lambda: (a := service.poll("trial", second["job_id"]))["job_state"] == "done" and a, 20, "the result"
    )
    assert final["job_result"]["text"] == "next" and final["job_result"]["total_duration"] > 0
    assert service.poll("trial", second["job_id"]) == final


def test_failing_job_is_told_as_a_failure_and_its_neighbours_succeed(service, start_worker):
    start_worker("trial_cpu")
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda n: service.post("/trial", action="raise" if n == 3 else "echo", text=str(n)), range(8)
            )
        )
    assert [answer.status_code for answer in answers] == [200] * 3 + [500] + [200] * 4
    assert answers[3].json()["success"] is False and "told to raise" in answers[3].json()["error"][0]


def test_session_variable_counts_for_one_client_and_not_for_another(service, start_worker):
    start_worker("example_cpu")
    one = [service.post("/example_api", prompt="hi", sleep_duration=0).json()["counter"] for _ in range(3)]
    assert one == [1, 2, 3]
    fresh = httpx.post(
        f"{service.url}/example_api",
        json={"prompt": "hi", "sleep_duration": 0},
        headers={"Authorization": f"Bearer {KEY}"},
        timeout=60,
    )
    assert fresh.json()["counter"] == 1


def test_text_streams_its_words_as_progress(service, start_worker):
    start_worker("text_cpu")
    answer = service.post(
        "/text", prompt="The function", max_tokens=1000, seed=7, wait_for_result=False
    ).json()
    final = wait_until(
        lambda: (a := service.poll("text", answer["job_id"]))["job_state"] == "done" and a, 20, "the text"
    )
    assert final["job_result"]["num_tokens"] > 10
    again = service.post("/text", prompt="The function", max_tokens=1000, seed=7).json()
    assert again["text"] == final["job_result"]["text"]


def test_all_that_is_wrong_with_the_inputs_is_told_at_once(service):
    answer = service.post(
        "/trial", action="dance", text=7, seconds="long", nonsense=1, more=2, wait_for_result=False
    )
    assert answer.status_code == 400
    assert set(answer.json()["errors"]) == {"action", "text", "seconds", "nonsense", "more"}


def test_flower_lists_the_worker_and_its_jobs(service, start_worker, stoker_env, tmp_path):
    worker = start_worker("trial_cpu")
    port = free_port()
    flower = Process(
        "Flower",
        [BIN / "celery", "-A", "workers", "flower", "--address=127.0.0.1", f"--port={port}"],
        {**os.environ, **stoker_env, "FLOWER_BASIC_AUTH": "stoker:secret"},
        tmp_path / "flower.log",
    )
    try:
        url, auth = f"http://127.0.0.1:{port}", ("stoker", "secret")

        def asked(path):
            try:
                return httpx.get(url + path, auth=auth, timeout=10)
            except httpx.TransportError:
                return None

        wait_until(
            lambda: (a := asked("/workers")) and worker.hostname in a.text, 30, "Flower to see the worker"
        )
        assert httpx.get(f"{url}/workers").status_code == 401
        service.post("/trial", text="a secret prompt")
        service.post("/trial", action="raise")

        def listed():
            tasks = [t for t in asked("/api/tasks").json().values() if t["name"] == "infer.trial"]
            return tasks if {"SUCCESS", "FAILURE"} <= {task["state"] for task in tasks} else None

        tasks = wait_until(listed, 20, "Flower to list the finished jobs")
        assert any(task["runtime"] is not None for task in tasks if task["state"] == "SUCCESS")
        assert "a secret prompt" not in json.dumps(tasks)
    finally:
        flower.close()


def test_keys_stay_out_of_the_job_messages_and_the_logs(service, start_worker, redis_server):
    worker = start_worker("trial_cpu")
    answer = service.post("/trial", text="x", key=KEY)
    assert answer.status_code == 200
    stored = redis_server.client().hgetall(f"job:{answer.json()['job_id']}")
    assert KEY not in json.dumps({str(k): str(v) for k, v in stored.items()}) and KEY not in worker.log()
    assert all(KEY not in process.log() for process in Process.running)


@pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)
def test_api_waits_for_the_broker_and_serves_again(rabbitmq, service, start_worker):
    start_worker("trial_cpu")
    assert service.post("/trial", text="x").status_code == 200
    rabbitmq.stop_app()
    try:
        began = time.monotonic()
        answer = service.post("/trial", text="x")
        assert answer.status_code == 503 and answer.headers["Retry-After"]
        assert time.monotonic() - began < 1.5
    finally:
        rabbitmq.start_app()
    answer = wait_until(
        lambda: (a := service.post("/trial", text="back")).status_code == 200 and a,
        30,
        "the API to serve again",
    )
    assert answer.json()["text"] == "back"
