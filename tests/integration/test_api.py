"""The API on a real Redis (store and broker), with workers that the tests play."""

from __future__ import annotations

import re
import time
from queue import Empty

import pytest
from flask import Flask

from tasks.jobs import Job, JobState, Progress, WorkerInfo
from tests.integration.conftest import ALICE, BOB, Call, PlayedWorker
from tests.services import RedisServer, free_port, wait_until


def test_a_held_answer_brings_the_result(background: Call, worker: PlayedWorker) -> None:
    held = background("/echo", text="hello")
    job = worker.start("echo_cpu")
    assert job.inputs == {"text": "hello"}
    assert not held.done()
    worker.end(job, outputs={"text": "hello"})
    answer = held.result(5)
    assert answer.status_code == 200
    assert answer.json["text"] == "hello"
    assert answer.json["job_id"] == job.id
    assert answer.json["start_time"] == job.accepted
    assert answer.json["total_duration"] >= 0


def test_no_key_reaches_the_broker_or_the_store(
    submit: Call, worker: PlayedWorker, redis_server: RedisServer
) -> None:
    job_id = submit("/echo")
    assert ALICE not in str(worker.take("echo_cpu").to_wire())
    with redis_server.client() as client:
        stored = {key: client.hgetall(key) for key in client.scan_iter("job:*")}
    assert list(stored) == [f"job:{job_id}".encode()]
    assert ALICE not in str(stored)


def test_many_clients_wait_and_each_gets_its_own_result(background: Call, worker: PlayedWorker) -> None:
    held = {text: background("/echo", text=text) for text in map(str, range(30))}
    for _ in held:
        job = worker.start("echo_cpu")
        worker.end(job, outputs={"text": job.inputs["text"]})
    assert {text: future.result(10).json["text"] for text, future in held.items()} == {t: t for t in held}


def test_polling_follows_a_job_to_its_result(submit: Call, post: Call, worker: PlayedWorker) -> None:
    first, second = submit("/echo"), submit("/echo")
    assert [post("/echo/progress", job_id=i).json["progress"]["queue_position"] for i in (first, second)] == [
        1,
        2,
    ]
    worker.store.announce(WorkerInfo("worker@test", seconds_per_job=2.0), ["echo_cpu"], time.time())
    waiting = post("/echo/progress", job_id=second).json
    assert waiting["job_state"] == "queued"
    assert (waiting["progress"]["estimate"], waiting["progress"]["num_workers_online"]) == (4.0, 1)

    job = worker.start("echo_cpu")
    worker.store.report([(job, Progress(50.0, {"status": "half"}))])
    running = post("/echo/progress", job_id=first).json
    assert running["job_state"] == "processing"
    assert running["progress"]["progress"] == 50.0
    assert running["progress"]["progress_data"] == {"status": "half"}
    assert post("/echo/progress", job_id=second).json["progress"]["queue_position"] == 1

    worker.end(job, outputs={"text": "hi"})
    done, again = post("/echo/progress", job_id=first).json, post("/echo/progress", job_id=first).json
    assert done == again
    assert done["job_state"] == "done"
    assert done["job_result"]["text"] == "hi"


def test_any_api_process_answers_polls(make_app: Call, submit: Call, worker: PlayedWorker) -> None:
    job_id = submit("/echo")
    worker.end(worker.start("echo_cpu"), outputs={"text": "hi"})
    answer = make_app().test_client().post("/echo/progress", json={"key": ALICE, "job_id": job_id})
    assert answer.json["job_result"]["text"] == "hi"


def test_only_the_key_that_submitted_a_job_sees_it(submit: Call, post: Call, worker: PlayedWorker) -> None:
    job_id = submit("/echo")
    worker.end(worker.start("echo_cpu"), outputs={"text": "secret"})
    token = post("/echo/login").json["client_session_auth_key"]
    assert post("/echo/progress", job_id=job_id, key=token).json["job_result"]["text"] == "secret"
    for answer in (post("/echo/progress", job_id=job_id, key=BOB), post("/brief/progress", job_id=job_id)):
        assert answer.status_code == 404
        assert "secret" not in answer.text
    other_token = post("/echo/login", key=BOB).json["client_session_auth_key"]
    assert post("/echo/progress", job_id=job_id, key=other_token).status_code == 404


def test_a_result_is_forgotten_after_its_lifetime(submit: Call, post: Call, worker: PlayedWorker) -> None:
    job_id = submit("/brief")
    worker.end(worker.start("brief_cpu"), outputs={"text": "hi"})
    assert post("/brief/progress", job_id=job_id).status_code == 200
    wait_until(lambda: post("/brief/progress", job_id=job_id).status_code == 404, 5, "the end of the result")


def test_a_failed_job_is_told_to_those_who_wait_and_those_who_poll(
    background: Call, post: Call, worker: PlayedWorker
) -> None:
    held = background("/echo")
    job = worker.start("echo_cpu")
    worker.end(job, state=JobState.FAILED, error="ValueError: no")
    answer = held.result(5)
    assert answer.status_code == 500
    assert (answer.json["code"], answer.json["error"]) == ("job_failed", ["ValueError: no"])
    polled = post("/echo/progress", job_id=job.id)
    assert polled.status_code == 200
    assert polled.json["job_state"] == "done"
    assert polled.json["job_result"]["success"] is False
    assert polled.json["job_result"]["error"] == ["ValueError: no"]


def test_a_job_that_nobody_takes_lapses(
    background: Call, post: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.replies.RESYNC", 0.1)
    answer = background("/hasty").result(10)
    assert answer.status_code == 410
    assert (answer.json["code"], answer.json["job_state"]) == ("lapsed", "lapsed")
    polled = post("/hasty/progress", job_id=answer.json["job_id"])
    assert polled.status_code == 410
    assert polled.json["error"] == answer.json["error"]


def test_a_full_queue_takes_no_more(submit: Call, post: Call, worker: PlayedWorker) -> None:
    submit("/narrow")
    refused = post("/narrow")
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert post("/api/endpoints/narrow").json["free_queue_slots"] == 0
    worker.start("narrow_cpu")
    assert post("/api/endpoints/narrow").json["free_queue_slots"] == 1
    assert post("/narrow", wait_for_result=False).status_code == 200


def test_session_variables_come_back_with_the_cookie(app: Flask, worker: PlayedWorker) -> None:
    client, stranger = app.test_client(), app.test_client()
    body = {"key": ALICE, "wait_for_result": False}
    client.post("/counter", json=body)
    job = worker.start("counter_cpu")
    assert job.inputs["count"] == 0
    worker.end(job, {"count": 1}, outputs={})
    client.post("/counter", json=body)
    assert worker.start("counter_cpu").inputs["count"] == 1
    stranger.post("/counter", json=body)
    assert worker.start("counter_cpu").inputs["count"] == 0


def test_variables_are_kept_for_a_day_until_the_cookie_comes_back(app: Flask, worker: PlayedWorker) -> None:
    client, body, day = app.test_client(), {"key": ALICE, "wait_for_result": False}, 86_400

    def submit() -> Job:
        client.post("/counter", json=body)
        return worker.start("counter_cpu")

    def lifetime(job: Job) -> int:
        return int(worker.store.command("TTL", f"session:{job.session}:counter"))

    first = submit()
    worker.end(first, {"count": 1}, outputs={})
    assert 0 < lifetime(first) <= day
    second = submit()
    assert second.session == first.session
    assert 29 * day < lifetime(second) <= 30 * day
    worker.end(second, {"count": 2}, outputs={})
    assert 29 * day < lifetime(second) <= 30 * day


def test_a_result_survives_a_restart_of_the_store(
    background: Call, worker: PlayedWorker, redis_server: RedisServer
) -> None:
    held = background("/echo")
    job = worker.start("echo_cpu")
    redis_server.restart()
    wait_until(lambda: _ended(worker, job), 10, "the store to answer")
    assert held.result(15).json["text"] == "late"


def _ended(worker: PlayedWorker, job: Job) -> bool:
    worker.end(job, outputs={"text": "late"})
    return True


def test_without_a_broker_nothing_is_accepted(make_app: Call, worker: PlayedWorker) -> None:
    client = make_app(STOKER_BROKER_URL=f"redis://127.0.0.1:{free_port()}").test_client()
    for wait in (True, False):
        begin = time.monotonic()
        answer = client.post("/echo", json={"key": ALICE, "wait_for_result": wait})
        assert time.monotonic() - begin < 1
        assert answer.status_code == 503
        assert answer.json["code"] == "broker_unavailable"
        assert 1 <= int(answer.headers["Retry-After"]) <= 5
    assert worker.store.queue_length("echo_cpu") == 0
    with pytest.raises(Empty):
        worker.take("echo_cpu", timeout=0.1)


def test_a_broker_that_refuses_us_gets_no_job(
    make_app: Call, worker: PlayedWorker, rabbitmq_url: str
) -> None:
    for wrong in (re.sub("//.*@", "//guest:wrong@", rabbitmq_url), rabbitmq_url + "-of-nobody"):
        client = make_app(STOKER_BROKER_URL=wrong).test_client()
        answer = client.post("/echo", json={"key": ALICE, "wait_for_result": False})
        assert answer.json["code"] == "broker_unavailable"
        assert worker.store.queue_length("echo_cpu") == 0
        assert client.get("/readyz").json["error"][0] == "The message broker does not answer"


def test_without_a_store_nothing_is_accepted(make_app: Call, worker: PlayedWorker) -> None:
    client = make_app(STOKER_STORE_URL=f"redis://127.0.0.1:{free_port()}").test_client()
    for wait in (True, False):
        begin = time.monotonic()
        answer = client.post("/echo", json={"key": ALICE, "wait_for_result": wait})
        assert time.monotonic() - begin < 1
        assert answer.status_code == 503
        assert answer.json["code"] == "store_unavailable"
    with pytest.raises(Empty):
        worker.take("echo_cpu", timeout=0.1)


def test_ready_when_store_broker_and_workers_are_there(
    app: Flask, make_app: Call, worker: PlayedWorker
) -> None:
    client = app.test_client()
    assert client.get("/readyz").json["error"] == ["No worker for queue echo_cpu"]
    worker.store.announce(WorkerInfo("worker@test"), ["echo_cpu"], time.time())
    assert client.get("/readyz").status_code == 200
    broken = make_app(STOKER_BROKER_URL=f"redis://127.0.0.1:{free_port()}").test_client().get("/readyz")
    assert broken.status_code == 503
    assert broken.json["error"] == ["The message broker does not answer"]
