"""Jobs as resources and streams of the API, on a real Redis, with workers that the tests play."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.services import EXTENSION
from app.stream import IS_ENDING
from tasks.accounts import Grant, KeyStore
from tasks.database import Database
from tasks.errors import StoreUnavailable
from tasks.jobs import JobState, Progress, WorkerInfo
from tests.integration.conftest import ALICE, BOB, Call, PlayedWorker
from tests.services import RedisServer, free_port, wait_until

HEADERS = {"Authorization": f"Bearer {ALICE}"}
Event = tuple[str | None, str | None, Any]


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def listen(client: FlaskClient, path: str, seen: str | None = None, key: str = ALICE) -> Iterator[Event]:
    """Open a stream; gives id, name and data of each event, (None, None, comment) for a sign of life."""
    headers = {"Authorization": f"Bearer {key}"} | ({"Last-Event-ID": seen} if seen is not None else {})
    answer = client.get(path, headers=headers)
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream"), answer.text
    assert answer.headers["X-Accel-Buffering"] == "no"
    text = ""
    for part in answer.iter_encoded():
        *complete, text = (text + part.decode()).split("\n\n")
        for block in complete:
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            if "data" in fields:
                yield fields.get("id"), fields.get("event"), json.loads(fields["data"])
            elif "" in fields:
                yield None, None, fields[""]
    assert text == ""


def channels(redis_server: RedisServer) -> list[bytes]:
    with redis_server.client() as client:
        return list(client.pubsub_channels("job:*"))


def test_a_stream_tells_of_a_job_from_the_queue_to_its_result(
    client: FlaskClient, submit: Callable[[str], str], worker: PlayedWorker
) -> None:
    job_id = submit("/echo")
    events = listen(client, f"/jobs/{job_id}/events")
    first, name, body = next(events)
    assert (name, body["job_state"], body["progress"]["queue_position"]) == ("queued", "queued", 1)
    job = worker.start("echo_cpu")
    _, name, body = next(events)
    assert (name, body["job_state"], body["progress"]["progress"]) == ("progress", "processing", 0.0)
    worker.store.report([(job, Progress(50.0, {"status": "half"}))])
    _, name, body = next(events)
    assert (name, body["progress"]["progress_data"]) == ("progress", {"status": "half"})
    worker.end(job, outputs={"text": "hi"})
    last, name, body = next(events)
    assert (name, body["job_state"], body["job_result"]["text"]) == ("completed", "done", "hi")
    assert body == client.get(f"/jobs/{job_id}", headers=HEADERS).json
    assert int(last or 0) > int(first or 0)
    assert list(events) == []


def test_a_stream_goes_on_in_another_process(
    make_app: Call, submit: Callable[[str], str], worker: PlayedWorker
) -> None:
    here, there = make_app().test_client(), make_app().test_client()
    path = f"/jobs/{submit('/echo')}/events"
    job = worker.start("echo_cpu")
    broken_off = listen(here, path)
    seen, _, _ = next(broken_off)
    broken_off.close()  # type: ignore[attr-defined]

    again = listen(there, path, seen)
    assert next(again) == (None, None, "keep-alive")  # nothing new
    worker.store.report([(job, Progress(50.0))])
    seen, name, body = next(again)
    assert (name, body["progress"]["progress"]) == ("progress", 50.0)
    again.close()  # type: ignore[attr-defined]

    worker.end(job, outputs={"text": "hi"})
    ((last, name, _),) = listen(here, path, seen)
    assert name == "completed"
    done = there.get(path, headers=HEADERS | {"Last-Event-ID": str(last)})
    assert (done.status_code, done.data) == (204, b"")


def test_a_stream_of_a_job_that_has_ended_tells_how(
    client: FlaskClient, submit: Callable[[str], str], worker: PlayedWorker
) -> None:
    job_id = submit("/echo")
    worker.end(worker.start("echo_cpu"), state=JobState.FAILED, error="ValueError: no")
    ((_, name, body),) = listen(client, f"/jobs/{job_id}/events")
    assert (name, body["job_state"]) == ("completed", "failed")
    assert (body["job_result"]["success"], body["job_result"]["error"]) == (False, ["ValueError: no"])


def test_a_stream_without_news_gives_signs_of_life(
    client: FlaskClient, submit: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.stream.KEEP_ALIVE", 0.05)
    events = listen(client, f"/jobs/{submit('/echo')}/events")
    assert next(events)[1] == "queued"
    assert next(events) == next(events) == (None, None, "keep-alive")


def test_a_stream_ends_with_its_process(
    app: Flask, client: FlaskClient, submit: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.stream.KEEP_ALIVE", 0.05)
    stops = iter([False, False, True])
    app.config[IS_ENDING] = lambda: next(stops)
    names = [name for _, name, _ in listen(client, f"/jobs/{submit('/echo')}/events")]
    assert names == ["queued", None, None]


@pytest.mark.parametrize(
    ("path", "by"), [("/jobs/{}/events", "key"), ("/stream_progress?job_id={}", "token")]
)
def test_a_stream_ends_soon_after_its_key_was_revoked(
    path: str, by: str, app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.stream.LOOK_AGAIN", 0.05)
    keys = KeyStore(Database.of(app.extensions[EXTENSION].settings))
    record, key = keys.add(Grant("app", frozenset({"echo"})), time.time())
    job_id = client.post("/echo", json={"key": key, "wait_for_result": False}).json["job_id"]
    if by == "token":
        key = client.post("/echo/login", json={"key": key}).json["client_session_auth_key"]
    events = listen(client, path.format(job_id), key=key)
    assert next(events)[2]["job_state"] == "queued"
    keys.revoke([record.id], time.time())
    *_, (seen, name, body) = events
    assert name == ("refused" if "events" in path else None)
    assert seen is None  # the client may go on with another key
    assert (body["success"], body["code"]) == (False, "key_not_valid")


def test_a_client_that_hangs_up_leaves_nothing_behind(
    client: FlaskClient, submit: Callable[[str], str], redis_server: RedisServer
) -> None:
    answer = client.get(f"/jobs/{submit('/echo')}/events", headers=HEADERS)
    next(iter(answer.response))
    wait_until(lambda: channels(redis_server), 5, "the subscription")
    answer.close()
    wait_until(lambda: not channels(redis_server), 5, "the end of the subscription")


def test_stream_progress_speaks_as_progress_does(
    client: FlaskClient, submit: Callable[[str], str], post: Call, worker: PlayedWorker
) -> None:
    job_id, token = submit("/echo"), post("/echo/login").json["client_session_auth_key"]
    assert post("/stream_progress").json["code"] == "job_id_missing"
    assert post("/stream_progress", key=BOB, job_id=job_id).status_code == 404
    job = worker.start("echo_cpu")
    worker.store.report([(job, Progress(50.0, {"status": "half"}))])
    answer = client.get("/stream_progress", query_string={"client_session_auth_key": token, "job_id": job_id})
    parts = (part.decode() for part in answer.iter_encoded())
    assert next(parts).startswith("retry: ")
    id_line, data_line = next(parts).strip().split("\n")
    assert id_line.startswith("id: ")
    told = json.loads(data_line.removeprefix("data: "))
    assert told.keys() == {
        "success",
        "job_id",
        "ep_version",
        "job_state",
        "progress",
        "queue_position",
        "estimate",
        "num_workers_online",
        "progress_data",
    }
    assert (told["progress"], told["progress_data"], told["job_state"]) == (
        50.0,
        {"status": "half"},
        "processing",
    )
    worker.end(job, outputs={"text": "hi"})
    *_, last = parts
    told = json.loads(last.partition("data: ")[2])
    assert (told["job_state"], told["job_result"]["text"]) == ("done", "hi")
    assert told == post("/echo/progress", job_id=job_id).json


def test_a_waiting_job_is_canceled_at_once_and_a_running_one_when_its_worker_stops(
    client: FlaskClient, submit: Callable[[str], str], worker: PlayedWorker
) -> None:
    running, waiting = submit("/echo"), submit("/echo")
    job = worker.start("echo_cpu")
    answer = client.delete(f"/jobs/{waiting}", headers=HEADERS)
    assert (answer.status_code, answer.json["job_state"]) == (200, "canceled")
    answer = client.delete(f"/jobs/{running}", headers=HEADERS)
    assert (answer.status_code, answer.json["job_state"]) == (202, "processing")
    assert worker.store.tend([running], "worker@test#1") == [running]
    worker.end(job, state=JobState.CANCELED, error="stopped")
    answer = client.delete(f"/jobs/{running}", headers=HEADERS)
    assert (answer.status_code, answer.json["job_state"]) == (200, "canceled")


@pytest.mark.parametrize("state", [JobState.DONE, JobState.FAILED])
def test_a_job_that_has_ended_is_not_canceled(
    client: FlaskClient, submit: Callable[[str], str], worker: PlayedWorker, state: JobState
) -> None:
    job_id = submit("/echo")
    worker.end(worker.start("echo_cpu"), state=state, error=None if state is JobState.DONE else "no")
    answer = client.delete(f"/jobs/{job_id}", headers=HEADERS)
    assert answer.status_code == 409
    assert (answer.json["code"], answer.json["job_state"]) == ("job_ended", state.value)
    assert client.get(f"/jobs/{job_id}", headers=HEADERS).json["job_state"] == state.value


def test_the_list_holds_my_jobs_and_no_others(
    client: FlaskClient, submit: Callable[[str], str], post: Call, worker: PlayedWorker
) -> None:
    mine = [submit("/echo"), submit("/brief"), submit("/echo")]
    post("/echo", key=BOB, wait_for_result=False)
    worker.start("brief_cpu")
    page = client.get("/jobs?limit=2", headers=HEADERS).json
    assert [job["job_id"] for job in page["jobs"]] == [mine[2], mine[1]]
    assert page["jobs"][1].keys() == {
        "job_id",
        "endpoint",
        "job_state",
        "start_time",
        "start_time_compute",
    }
    rest = client.get(f"/jobs?limit=2&cursor={page['next']}", headers=HEADERS).json
    assert ([job["job_id"] for job in rest["jobs"]], rest["next"]) == ([mine[0]], None)
    running = client.get("/jobs?state=processing&endpoint=brief", headers=HEADERS).json
    assert [job["job_id"] for job in running["jobs"]] == [mine[1]]


def test_who_prefers_not_to_wait_for_long_gets_the_job_and_later_its_result(
    client: FlaskClient, worker: PlayedWorker
) -> None:
    answer = client.post("/echo", json={}, headers=HEADERS | {"Prefer": "wait=1"})
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "wait=1")
    assert answer.json["job_state"] == "queued"
    where = answer.headers["Location"]
    assert where == f"/jobs/{answer.json['job_id']}"
    job = worker.start("echo_cpu")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.get, where, headers=HEADERS | {"Prefer": "wait=30"})
        worker.end(job, outputs={"text": "late"})
        told = asked.result(10)
    assert (told.status_code, told.json["job_result"]["text"]) == (200, "late")


def test_who_waits_for_a_job_is_told_that_it_was_canceled(
    app: Flask, submit: Callable[[str], str], redis_server: RedisServer
) -> None:
    job_id = submit("/echo")
    with ThreadPoolExecutor(1) as pool, redis_server.client() as store:
        asked = pool.submit(app.test_client().get, f"/jobs/{job_id}", headers=HEADERS | {"Prefer": "wait=30"})
        wait_until(lambda: store.pubsub_channels("job:*"), 10, "the request to be held")
        app.test_client().delete(f"/jobs/{job_id}", headers=HEADERS)
        told = asked.result(10)
    assert (told.status_code, told.json["job_state"]) == (200, "canceled")
    assert told.json["job_result"]["code"] == "canceled"


def test_a_job_is_asked_for_and_not_waited_for_unless_the_client_wants_that(
    client: FlaskClient, submit: Callable[[str], str]
) -> None:
    job_id, begin = submit("/echo"), time.monotonic()
    assert client.get(f"/jobs/{job_id}", headers=HEADERS).json["job_state"] == "queued"
    assert time.monotonic() - begin < 1
    waited = client.get(f"/jobs/{job_id}", headers=HEADERS | {"Prefer": "wait=1"})
    assert waited.json["job_state"] == "queued"
    assert time.monotonic() - begin >= 1


def test_a_result_that_comes_in_time_is_the_answer(app: Flask, worker: PlayedWorker) -> None:
    with ThreadPoolExecutor(1) as pool:
        headers = HEADERS | {"Prefer": "respond-async, wait=30"}
        held = pool.submit(app.test_client().post, "/echo", json={}, headers=headers)
        worker.end(worker.start("echo_cpu"), outputs={"text": "hi"})
        answer = held.result(10)
    assert (answer.status_code, answer.json["text"]) == (200, "hi")
    assert answer.headers["Preference-Applied"] == "wait=30"


def test_nobody_is_held_for_longer_than_the_setting_says_and_no_job_is_lost(
    make_app: Call, worker: PlayedWorker
) -> None:
    client = make_app(STOKER_MAX_WAIT="1").test_client()
    for headers in (HEADERS, HEADERS | {"Prefer": "wait=100"}):
        answer = client.post("/echo", json={}, headers=headers)
        assert answer.status_code == 202
        assert answer.headers.get("Preference-Applied") == ("wait=1" if "Prefer" in headers else None)
        worker.end(worker.start("echo_cpu"), outputs={"text": "hi"})
        assert client.get(answer.headers["Location"], headers=HEADERS).json["job_result"]["text"] == "hi"


@pytest.fixture
def once(make_app: Call) -> Call:
    """Post with an idempotency key, each time to another process."""

    def call(key: str = "k1", path: str = "/echo", api_key: str = ALICE, **body: Any) -> Any:
        headers = {"Authorization": f"Bearer {api_key}", "Idempotency-Key": key}
        return make_app().test_client().post(path, json=body, headers=headers)

    return call


def test_twins_get_the_answer_of_one_job(once: Call, worker: PlayedWorker) -> None:
    with ThreadPoolExecutor(3) as pool:
        held = [pool.submit(once, text="same") for _ in range(3)]
        worker.end(worker.start("echo_cpu"), outputs={"text": "same"})
        answers = [future.result(20) for future in held]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert worker.store.queue_length("echo_cpu") == 0
    assert once(text="same").json == answers[0].json
    later = once(text="same", wait_for_result=False)
    assert later.json == {"success": True, "job_id": answers[0].json["job_id"], "ep_version": None}


def test_a_failure_is_repeated_as_well(once: Call, worker: PlayedWorker) -> None:
    job_id = once(wait_for_result=False).json["job_id"]
    worker.end(worker.start("echo_cpu"), state=JobState.FAILED, error="ValueError: no")
    answer = once()
    assert (answer.status_code, answer.json["code"], answer.json["job_id"]) == (500, "job_failed", job_id)


def test_a_key_that_came_with_another_request_is_refused(once: Call, worker: PlayedWorker) -> None:
    job_id = once(text="a", wait_for_result=False).json["job_id"]
    for other in ({"text": "b"}, {"text": "a", "path": "/brief"}):
        answer = once(**other)
        assert (answer.status_code, answer.json["code"]) == (422, "idempotency_key_reused")
    assert once(text="a", wait_for_result=False, api_key=BOB).json["job_id"] != job_id
    assert once('"k1"', text="a", wait_for_result=False).json["job_id"] == job_id  # quoted: the same key


@pytest.mark.parametrize("key", ["", "a b", '"', "é", "x" * 256])
def test_a_malformed_key_is_refused(once: Call, key: str, worker: PlayedWorker) -> None:
    assert once(key).json["code"] == "idempotency_key_malformed"
    assert worker.store.queue_length("echo_cpu") == 0


def test_what_was_not_accepted_may_be_tried_again(once: Call, make_app: Call, worker: PlayedWorker) -> None:
    down = make_app(STOKER_BROKER_URL=f"redis://127.0.0.1:{free_port()}").test_client()
    headers = HEADERS | {"Idempotency-Key": "k1"}
    assert down.post("/echo", json={}, headers=headers).status_code == 503
    assert once(text=3).status_code == 400
    answer = once(wait_for_result=False)
    assert answer.status_code == 200
    assert once(wait_for_result=False).json == answer.json
    assert worker.take("echo_cpu").id == answer.json["job_id"]


def test_a_request_is_answered_again_though_no_new_one_would_be_accepted(
    once: Call, worker: PlayedWorker
) -> None:
    first = once(path="/narrow", wait_for_result=False)
    worker.store.announce(WorkerInfo("slow@test", seconds_per_job=1e6), ["narrow_cpu"], time.time())
    assert once("k2", path="/narrow", wait_for_result=False).json["code"] in ("overloaded", "queue_full")
    assert once(path="/narrow", wait_for_result=False).json == first.json


def test_the_answer_of_a_job_that_is_forgotten_cannot_be_repeated(once: Call, worker: PlayedWorker) -> None:
    once(path="/brief", wait_for_result=False)
    worker.end(worker.start("brief_cpu"), outputs={"text": "hi"})
    wait_until(lambda: once(path="/brief").status_code == 404, 5, "the end of the result")
    assert worker.store.queue_length("brief_cpu") == 0


def test_a_stream_ends_in_order_where_the_store_goes_away_under_it(
    client: FlaskClient, submit: Call, worker: PlayedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def go_away(*_: Any) -> Any:
        raise StoreUnavailable("away")

    events = listen(client, f"/jobs/{submit('/echo')}/events")
    assert next(events)[1] == "queued"
    monkeypatch.setattr("app.answers.stored_texts", go_away)
    worker.end(worker.start("echo_cpu"), outputs={"text": None}, blobs=[(["text"], "large")])
    assert all(name != "completed" for _, name, _ in events)


def test_the_flag_to_cancel_is_read_and_reaches_no_worker(post: Call, worker: PlayedWorker) -> None:
    assert post("/echo", cancel_on_disconnect="yes").json["errors"].keys() == {"cancel_on_disconnect"}
    post("/echo", cancel_on_disconnect=True, wait_for_result=False)
    assert worker.take("echo_cpu").inputs == {"text": "hi"}
