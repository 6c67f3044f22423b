"""Jobs as resources."""

import dataclasses
from typing import Any

import pytest

from tasks.jobs import JobState, Progress, Result, WorkerInfo
from tests.unit.app.fakes import BOTH_KEY, DEMO_KEY, ECHO_KEY

ENDED: Any = {"accepted": 100.0, "finished": 102.0}


@pytest.fixture
def job_id(client: Any) -> Any:
    return client.post("/echo", json={"key": ECHO_KEY, "text": "hi", "wait_for_result": False}).json["job_id"]


@pytest.fixture
def change(store: Any, job_id: str) -> Any:
    def change(**changes: Any) -> None:
        store.jobs[job_id] = dataclasses.replace(store.jobs[job_id], accepted=100.0, **changes)

    return change


@pytest.fixture
def ask(client: Any) -> Any:
    return lambda path, key=ECHO_KEY, method="GET", **headers: client.open(
        path,
        method=method,
        headers={"Authorization": f"Bearer {key}"} | {n.replace("_", "-"): v for n, v in headers.items()},
    )


def test_a_waiting_job_tells_its_place_and_when_it_may_end(
    ask: Any, job_id: str, change: Any, store: Any
) -> None:
    change(queue_position=2)
    store.working["echo_cpu"] = [WorkerInfo("w", seconds_per_job=1.5)]
    answer = ask(f"/jobs/{job_id}")
    assert answer.status_code == 200
    assert answer.json == {
        "success": True,
        "job_id": job_id,
        "endpoint": "echo",
        "ep_version": 3,
        "job_state": "queued",
        "start_time": 100.0,
        "start_time_compute": None,
        "progress": {
            "progress": 0.0,
            "queue_position": 2,
            "estimate": 3.0,
            "num_workers_online": 1,
            "progress_data": {},
        },
    }


def test_a_running_job_tells_since_when_and_how_far(ask: Any, job_id: str, change: Any) -> None:
    change(
        state=JobState.PROCESSING, started=101.0, worker="w@gpu1", progress=Progress(40.0, {"status": "half"})
    )
    told = ask(f"/jobs/{job_id}").json
    assert (told["job_state"], told["start_time_compute"]) == ("processing", 101.0)
    assert (told["progress"]["progress"], told["progress"]["progress_data"]) == (40.0, {"status": "half"})
    assert "auth" not in told


def test_the_worker_is_named_where_the_file_asks_for_it(client: Any, store: Any) -> None:
    body = {"key": BOTH_KEY, "wait_for_result": False}
    job_id = client.post("/counter", json=body).json["job_id"]
    store.jobs[job_id] = dataclasses.replace(
        store.jobs[job_id], state=JobState.PROCESSING, started=101.0, worker="w@gpu1"
    )
    assert client.get(f"/jobs/{job_id}?key={BOTH_KEY}").json["auth"] == "w@gpu1"


def test_a_job_that_is_done_brings_the_answer_that_a_held_request_gets(
    ask: Any, client: Any, job_id: str, workers: Any
) -> None:
    held = client.post("/echo", json={"key": ECHO_KEY, "text": "hi"}).json
    workers.end(job_id, workers.result)
    told = ask(f"/jobs/{job_id}").json
    assert told["job_state"] == "done"
    assert told["job_result"] == held | {"job_id": job_id}
    assert told["start_time_compute"] == held["start_time_compute"]
    assert "progress" not in told


@pytest.mark.parametrize(
    ("state", "code"),
    [(JobState.FAILED, "job_failed"), (JobState.LAPSED, "lapsed"), (JobState.CANCELED, "canceled")],
)
def test_a_job_that_ended_otherwise_says_so_and_the_question_is_still_answered(
    ask: Any, job_id: str, workers: Any, state: JobState, code: str
) -> None:
    workers.end(job_id, Result(state, **ENDED, error="too bad"))
    answer = ask(f"/jobs/{job_id}")
    assert answer.status_code == 200
    assert answer.json["success"] is True
    assert answer.json["job_state"] == state.value
    told = answer.json["job_result"]
    assert (told["success"], told["error"], told["code"]) == (False, ["too bad"], code)
    assert told["ep_version"] == 3


@pytest.mark.parametrize("path", ["/jobs/{}", "/jobs/{}/events", "/stream_progress?job_id={}"])
@pytest.mark.parametrize("key", [BOTH_KEY, DEMO_KEY])
def test_to_another_key_the_job_does_not_exist(ask: Any, job_id: str, path: str, key: str) -> None:
    answer = ask(path.format(job_id), key)
    assert answer.status_code == 404
    assert answer.json == ask(path.format("nope"), key).json | {
        "error": [f"Client has no active request with this job id {job_id}"]
    }


def test_another_key_cancels_nothing(ask: Any, job_id: str, store: Any) -> None:
    assert ask(f"/jobs/{job_id}", BOTH_KEY, "DELETE").status_code == 404
    assert store.canceled == []


def test_a_key_that_opens_the_endpoint_no_more_has_no_jobs_there(
    ask: Any, job_id: str, store: Any, change: Any
) -> None:
    change(endpoint="counter")
    assert ask(f"/jobs/{job_id}").status_code == 404


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("/jobs/{}", "application/json", 200),
        ("/jobs/{}", "text/html,*/*;q=0.8", 200),
        ("/jobs/{}", "text/html", 406),
        ("/jobs/{}", "application/json;q=0", 406),
        ("/jobs/{}/events", "application/json", 406),
        ("/jobs", "image/png", 406),
        (
            "/jobs/{}",
            "image/png" + "\t" * 991 + "a",
            200,
        ),  # too long to be read: that takes time with its square
    ],
)
def test_what_the_client_does_not_accept_is_not_sent(
    ask: Any, job_id: str, path: str, accept: str, status: int
) -> None:
    answer = ask(path.format(job_id), method="HEAD" if status == 200 else "GET", Accept=accept)
    assert answer.status_code == status
    if status == 406:
        assert answer.json["code"] == "not_acceptable"


def test_head_and_options(ask: Any, job_id: str) -> None:
    for path, methods in ((f"/jobs/{job_id}", "DELETE, GET, HEAD, OPTIONS"), ("/jobs", "GET, HEAD, OPTIONS")):
        allowed = ask(path, method="OPTIONS").headers
        assert allowed["Allow"] == methods
        refused = ask(path, method="PATCH")
        assert (refused.status_code, refused.headers["Allow"]) == (405, methods)
    stream = ask(f"/jobs/{job_id}/events", method="HEAD")
    assert (stream.status_code, stream.mimetype, stream.data) == (200, "text/event-stream", b"")


def test_all_that_is_wrong_with_the_list_is_told_at_once(ask: Any) -> None:
    answer = ask("/jobs?limit=0&state=new&endpoint=none&cursor=x&more=1")
    assert answer.status_code == 400
    assert answer.json["errors"].keys() == {"limit", "state", "endpoint", "cursor", "more"}


@pytest.mark.parametrize("cursor", ["8%2B2_x", "1..2_x", "e_x", "1_", "_x", "1_a/b", ""])
def test_a_cursor_is_one_that_was_given_out(ask: Any, cursor: str) -> None:
    assert ask(f"/jobs?cursor={cursor}").json["errors"].keys() == {"cursor"}


@pytest.mark.parametrize("limit", ["0", "101", "1000", "-1", "1.5", "x", "", "00500000"])
def test_a_page_has_a_size(ask: Any, limit: str) -> None:
    assert ask(f"/jobs?limit={limit}").json["errors"].keys() == {"limit"}
