"""Submitting jobs and asking how they stand."""

import dataclasses
from typing import Any

import pytest

from tasks.errors import BrokerUnavailable, QueueFull, StoreUnavailable
from tasks.jobs import JobState, Progress, Result, WorkerInfo
from tests.unit.app.fakes import BOTH_KEY, DEMO_KEY, ECHO_KEY

ENDED: Any = {"accepted": 100.0, "finished": 102.0}


@pytest.fixture
def post(client: Any) -> Any:
    return lambda path="/echo", key=ECHO_KEY, **body: client.post(path, json={"key": key, **body})


@pytest.fixture
def job_id(post: Any) -> Any:
    return post(text="hi", wait_for_result=False).json["job_id"]


@pytest.fixture
def progress(client: Any) -> Any:
    return lambda job_id, key=ECHO_KEY, path="/echo/progress": client.get(
        path, query_string={"key": key, "job_id": job_id}
    )


def test_the_answer_holds_the_result(post: Any, workers: Any) -> None:
    answer = post(text="hi")
    job = workers.submitted[0]
    assert answer.status_code == 200
    assert answer.json == {
        "success": True,
        "job_id": job.id,
        "ep_version": 3,
        "text": "hi",
        "start_time": 100.0,
        "start_time_compute": 100.5,
        "result_received_time": 102.0,
        "compute_duration": 1.5,
        "total_duration": 2.0,
    }
    assert list(answer.json)[:4] == ["success", "job_id", "ep_version", "text"]
    assert job.inputs == {"text": "hi", "repeat": 1}
    assert job.reply_to == workers.channel


@pytest.mark.parametrize("flag", [True, None])
def test_waiting_is_the_default(post: Any, workers: Any, flag: Any) -> None:
    assert post(text="hi", wait_for_result=flag).json["text"] == "hi"


def test_without_waiting_the_answer_is_the_job_id(post: Any, workers: Any) -> None:
    answer = post(text="hi", wait_for_result=False)
    assert answer.json == {"success": True, "job_id": workers.submitted[0].id, "ep_version": 3}
    assert workers.submitted[0].reply_to is None


@pytest.mark.parametrize("word", ["false", "False", "0"])
def test_a_query_can_say_not_to_wait(client: Any, workers: Any, word: str) -> None:
    query = {"key": ECHO_KEY, "text": "hi", "repeat": "2", "wait_for_result": word}
    assert client.get("/echo", query_string=query).json.keys() == {"success", "job_id", "ep_version"}
    assert workers.submitted[0].inputs == {"text": "hi", "repeat": 2}


def test_a_form_is_read_like_a_query(client: Any, workers: Any) -> None:
    client.post("/echo", data={"key": ECHO_KEY, "text": "hi", "repeat": "2", "wait_for_result": "0"})
    assert workers.submitted[0].inputs == {"text": "hi", "repeat": 2}


def test_all_wrong_inputs_are_told_at_once(post: Any, workers: Any) -> None:
    answer = post(repeat=10, more=1, wait_for_result="no")
    assert answer.status_code == 400
    assert answer.json["code"] == "invalid_input"
    assert answer.json["success"] is False
    assert answer.json["ep_version"] == 3
    assert answer.json["errors"].keys() == {"text", "repeat", "more", "wait_for_result"}
    assert answer.json["error"][0] == "Invalid input parameter(s): more"
    assert len(answer.json["error"]) == 4
    assert workers.submitted == []


def test_a_wrong_wait_flag_alone_is_refused(post: Any, workers: Any) -> None:
    assert post(text="hi", wait_for_result="false").json["errors"].keys() == {"wait_for_result"}
    assert workers.submitted == []


def test_a_missing_body_means_no_inputs(client: Any) -> None:
    answer = client.post("/echo", headers={"Authorization": f"Bearer {ECHO_KEY}"})
    assert answer.status_code == 400
    assert answer.json["error"] == ["Missing required argument: text"]


def test_a_disabled_endpoint_takes_no_job(post: Any, workers: Any) -> None:
    answer = post("/closed", DEMO_KEY)
    assert answer.status_code == 503
    assert answer.json["error"] == ["Endpoint disabled!"]
    assert workers.submitted == []


def test_a_full_queue_says_when_to_come_back(post: Any, store: Any, workers: Any) -> None:
    workers.refusal = QueueFull(5)
    answer = post(text="hi")
    assert answer.status_code == 429
    assert answer.json["error"] == ["Job queue reached max length 5!"]
    assert answer.json["code"] == "queue_full"
    assert answer.headers["Retry-After"] == "1"
    store.working["echo_cpu"] = [WorkerInfo("w", seconds_per_job=2.5)]
    assert post(text="hi").headers["Retry-After"] == "3"


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (BrokerUnavailable("amqp://user:pw@host"), "broker_unavailable"),
        (StoreUnavailable("x"), "store_unavailable"),
    ],
)
def test_an_outage_answers_503_and_when_to_come_back(
    post: Any, workers: Any, refusal: Any, code: str
) -> None:
    workers.refusal = refusal
    answer = post(text="hi")
    assert answer.status_code == 503
    assert answer.json["code"] == code
    assert 1 <= int(answer.headers["Retry-After"]) <= 5
    assert "pw" not in answer.text


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [
        (JobState.FAILED, 500, "job_failed"),
        (JobState.LAPSED, 410, "lapsed"),
        (JobState.CANCELED, 410, "canceled"),
    ],
)
def test_a_job_that_ends_without_outputs_is_told_as_such(
    post: Any, workers: Any, state: JobState, status: int, code: str
) -> None:
    workers.result = Result(state, **ENDED, error="ValueError: too long")
    answer = post(text="hi")
    assert answer.status_code == status
    assert answer.json == {
        "success": False,
        "error": ["ValueError: too long"],
        "code": code,
        "job_id": workers.submitted[0].id,
        "job_state": state.value,
        "ep_version": 3,
    }


def test_waiting_goes_on_until_the_job_ends(post: Any, workers: Any) -> None:
    results = iter([None, None, workers.result])
    workers.wait = lambda timeout: next(results)
    assert post(text="hi").status_code == 200


@pytest.mark.parametrize("prefer", ["wait=0", ""])
def test_a_job_that_was_accepted_is_named_though_the_store_went_away(
    client: Any, workers: Any, store: Any, monkeypatch: pytest.MonkeyPatch, prefer: str
) -> None:
    workers.result = dataclasses.replace(workers.result, blobs=[(["text"], "large")])
    submit = workers.submit

    def submit_at_last(*args: Any, **given: Any) -> Any:
        job = submit(*args, **given)
        store.down = StoreUnavailable("away")
        return job

    monkeypatch.setattr("app.jobs.submit", submit_at_last)
    monkeypatch.setattr(store, "text_sizes", lambda names: store.ping(), raising=False)
    answer = client.post("/echo", json={"key": ECHO_KEY, "text": "hi"}, headers={"Prefer": prefer})
    (job,) = workers.submitted
    assert (answer.status_code, answer.json["code"]) == (503, "store_unavailable")
    assert answer.json["job_id"] == job.id and job.id in answer.json["error"][0]
    workers.refusal = store.down
    refused = client.post("/echo", json={"key": ECHO_KEY, "text": "hi"})
    assert refused.status_code == 503 and "job_id" not in refused.json


def test_nobody_waits_for_a_job_that_is_forgotten(
    post: Any, workers: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(timeout: Any) -> Any:
        monkeypatch.setattr("app.waiting.time.time", lambda: 1e12)
        store.jobs.clear()

    workers.wait = wait
    assert post(text="hi").json["code"] == "job_not_found"


def test_a_request_goes_on_waiting_where_nobody_can_tell_whether_its_job_is_forgotten(
    post: Any, workers: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Any] = []

    def wait(timeout: Any) -> Any:
        monkeypatch.setattr("app.waiting.time.time", lambda: 1e12)
        looks.append(timeout)
        store.down = StoreUnavailable("away") if len(looks) == 1 else None
        return workers.result if len(looks) == 2 else None

    workers.wait = wait
    assert post(text="hi").status_code == 200


def test_a_client_that_is_gone_is_waited_for_no_longer(
    post: Any, workers: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers.wait = lambda timeout: None
    monkeypatch.setattr("app.waiting.client_is_gone", lambda environ: True)
    assert (post(text="hi").status_code, store.canceled) == (499, [])


def test_the_job_of_a_client_that_is_gone_is_canceled_as_soon_as_the_store_answers(
    post: Any, workers: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([StoreUnavailable("away"), None])

    def cancel(job_id: str) -> None:
        store.canceled.append(job_id)
        if error := next(answers):
            raise error

    workers.wait = lambda timeout: None
    monkeypatch.setattr("app.waiting.client_is_gone", lambda environ: True)
    monkeypatch.setattr(store, "cancel", cancel)
    assert post(text="hi", cancel_on_disconnect=True).status_code == 499
    assert store.canceled == [workers.submitted[0].id] * 2


def test_progress_of_a_waiting_job(progress: Any, job_id: str, store: Any) -> None:
    store.jobs[job_id] = dataclasses.replace(store.jobs[job_id], queue_position=2)
    store.working["echo_cpu"] = [WorkerInfo("w", seconds_per_job=1.5)]
    answer = progress(job_id)
    assert answer.status_code == 200
    assert answer.json == {
        "success": True,
        "job_id": job_id,
        "ep_version": 3,
        "job_state": "queued",
        "progress": {
            "progress": 0.0,
            "queue_position": 2,
            "estimate": 3.0,
            "num_workers_online": 1,
            "progress_data": {},
        },
    }


def test_progress_of_a_running_job(progress: Any, job_id: str, store: Any) -> None:
    store.jobs[job_id] = dataclasses.replace(
        store.jobs[job_id], state=JobState.PROCESSING, progress=Progress(40.0, {"status": "half"})
    )
    answer = progress(job_id).json
    assert answer["job_state"] == "processing"
    assert answer["progress"] == {
        "progress": 40.0,
        "queue_position": 0,
        "estimate": -1.0,
        "num_workers_online": 0,
        "progress_data": {"status": "half"},
    }


def test_the_result_can_be_read_again_and_again(progress: Any, job_id: str, workers: Any) -> None:
    workers.end(job_id, workers.result)
    first, second = progress(job_id).json, progress(job_id).json
    assert first == second
    assert first["job_state"] == "done"
    assert "progress" not in first
    assert first["job_result"]["text"] == "hi"
    assert first["job_result"]["success"] is True
    assert first["job_result"]["total_duration"] == 2.0


def test_a_failed_job_ends_polling_with_a_result_that_tells_of_failure(
    progress: Any, job_id: str, workers: Any
) -> None:
    workers.end(job_id, Result(JobState.FAILED, **ENDED, error="ValueError: too long"))
    answer = progress(job_id)
    assert answer.status_code == 200
    assert answer.json["job_state"] == "done"
    result = answer.json["job_result"]
    assert result["success"] is False
    assert result["error"] == ["ValueError: too long"]
    assert (result["code"], result["job_state"]) == ("job_failed", "failed")


@pytest.mark.parametrize("state", [JobState.LAPSED, JobState.CANCELED])
def test_progress_of_a_job_that_is_gone(progress: Any, job_id: str, workers: Any, state: JobState) -> None:
    workers.end(job_id, Result(state, **ENDED, error="Job lapsed!"))
    answer = progress(job_id)
    assert answer.status_code == 410
    assert answer.json["job_state"] == state.value
    assert answer.json["success"] is False


def test_an_unknown_job_and_the_job_of_another_look_alike(
    client: Any, progress: Any, post: Any, job_id: str
) -> None:
    unknown = progress("11111111-1111-1111-1111-111111111111")
    assert unknown.status_code == 404
    assert unknown.json["error"] == [
        "Client has no active request with this job id 11111111-1111-1111-1111-111111111111"
    ]
    other_key = progress(job_id, key=BOTH_KEY)
    other_path = progress(post("/counter", BOTH_KEY, wait_for_result=False).json["job_id"], key=BOTH_KEY)
    for answer in (other_key, other_path):
        assert answer.status_code == 404
        assert answer.json["code"] == "job_not_found"
        assert answer.json.keys() == unknown.json.keys()


def test_progress_is_open_to_key_and_token_alike(client: Any, progress: Any, job_id: str, token: str) -> None:
    assert progress(job_id, key=token).status_code == 200
    assert (
        client.post("/echo/progress", json={"job_id": job_id, "client_session_auth_key": token}).status_code
        == 200
    )
    assert client.post(f"/echo/progress?key={ECHO_KEY}&job_id={job_id}").status_code == 200


@pytest.mark.parametrize("wrong", [None, "", 5, ["a"]])
def test_progress_asks_for_a_job_id(post: Any, wrong: Any) -> None:
    answer = post("/echo/progress", job_id=wrong)
    assert answer.status_code == 400
    assert answer.json["error"] == ["No job_id given"]


def test_session_variables_reach_the_worker(post: Any, client: Any, store: Any, workers: Any) -> None:
    first = post("/counter", BOTH_KEY)
    cookie = first.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    assert workers.submitted[0].inputs == {"count": 0}
    store.sessions[workers.submitted[0].session, "counter"] = {"count": 4, "dropped": 1}
    post("/counter", BOTH_KEY)
    assert workers.submitted[1].inputs == {"count": 4}
    assert workers.submitted[1].session == workers.submitted[0].session


def test_a_client_cannot_set_session_variables(post: Any, workers: Any) -> None:
    assert post("/counter", BOTH_KEY, count=7).status_code == 400
    assert workers.submitted == []


def test_the_session_cookie_stays_on_https(client: Any) -> None:
    answer = client.post("/counter", json={"key": BOTH_KEY}, base_url="https://localhost")
    assert "Secure" in answer.headers["Set-Cookie"]


def test_no_cookie_without_session_variables(post: Any) -> None:
    assert "Set-Cookie" not in post(text="hi").headers


def test_the_worker_is_named_where_the_file_asks_for_it(post: Any, store: Any, workers: Any) -> None:
    store.working["counter_cpu"] = [WorkerInfo("gpu1@host", description={"interface_version": "1.2"})]
    workers.result = Result(JobState.DONE, **ENDED, outputs={"count": 1}, worker="gpu1@host")
    answer = post("/counter", BOTH_KEY).json
    assert (answer["auth"], answer["worker_interface_version"]) == ("gpu1@host", "1.2")
    assert "auth" not in post(text="hi").json
