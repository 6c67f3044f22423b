"""A job, from the call to its result or its error."""

import asyncio
import json
from typing import Any

import httpx
import pytest

import client
from client import JobProgress, JobResult, ModelAPI
from tests.unit.client.fake_stoker import JOB_ID, KEY, FakeStoker, done, processing, queued, result


def test_without_callbacks_one_call_is_held_until_the_result(server: FakeStoker, do_request: Any) -> None:
    server.replies["/bench"] = [(200, result(text="echo hi"))]
    assert do_request({"text": "hi"})["text"] == "echo hi"
    assert server.paths() == ["/bench"]
    assert server.bodies() == [{"text": "hi", "wait_for_result": True}]


def test_with_a_progress_callback_the_job_is_polled(server: FakeStoker, do_request: Any) -> None:
    server.accept_job(queued(2), processing(33, status="s1"), done(text="echo hi"))
    seen: list[Any] = []
    answer = do_request({"text": "hi"}, progress_callback=lambda info, data: seen.append((info, data)))
    assert answer == result(text="echo hi")
    assert server.paths() == ["/bench"] + ["/bench/progress"] * 3
    assert server.bodies()[:2] == [{"text": "hi", "wait_for_result": False}, {"job_id": JOB_ID}]
    assert seen[0][0] == {
        "success": True,
        "job_id": JOB_ID,
        "job_state": "queued",
        "progress": 0,
        "queue_position": 2,
        "estimate": 1.5,
    }
    assert seen[1][0]["progress"] == 33
    assert [data for _, data in seen] == [{}, {"status": "s1"}]


def test_the_result_callback_gets_the_result_once(server: FakeStoker, do_request: Any) -> None:
    server.replies["/bench"] = [(200, result(text="x"))]
    seen: list[Any] = []
    answer = do_request({}, result_callback=seen.append)
    assert seen == [answer]


def test_an_answer_that_comes_before_the_result_is_followed_by_polls(
    server: FakeStoker, do_request: Any
) -> None:
    server.replies["/bench"] = [(202, {"success": True, "job_id": JOB_ID, "job_state": "queued"})]
    server.replies[f"/jobs/{JOB_ID}"] = [processing(40), done(text="late")]
    assert do_request({})["text"] == "late"
    assert {request.headers["Prefer"] for request in server.requests} == {"wait=50"}


def test_the_key_travels_in_the_header_alone(server: FakeStoker, do_request: Any) -> None:
    server.accept_job(done())
    do_request({"text": "hi"}, progress_callback=lambda info, data: None)
    for request in server.requests:
        assert request.headers["Authorization"] == f"Bearer {KEY}"
        assert KEY not in str(request.url)
        assert KEY not in request.content.decode()


def test_asynchronous_callbacks_are_awaited(server: FakeStoker, async_api: ModelAPI) -> None:
    server.accept_job(queued(), done(text="x"))
    seen: list[str] = []

    async def progress(info: client.ProgressInfo, data: Any) -> None:
        await asyncio.sleep(0)
        seen.append(info["job_state"])

    async def finished(answer: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        seen.append(answer["text"])

    asyncio.run(async_api.do_api_request_async({}, finished, progress, progress_interval=0))
    assert seen == ["queued", "x"]


def test_the_plain_call_refuses_asynchronous_callbacks(server: FakeStoker, api: ModelAPI) -> None:
    server.accept_job(queued(), done())

    async def progress(info: client.ProgressInfo, data: Any) -> None: ...

    with pytest.raises(TypeError, match="do_api_request_async"):
        api.do_api_request({}, None, progress, progress_interval=0)


def test_the_generator_gives_progress_and_then_the_result(server: FakeStoker, api: ModelAPI) -> None:
    server.accept_job(queued(), processing(50), done(text="x"))
    events = list(api.get_api_request_generator({}, progress_interval=0))
    assert [type(event) for event in events] == [JobProgress, JobProgress, JobResult]
    assert isinstance(events[-1], JobResult)
    assert events[-1].result["text"] == "x"


def test_the_generator_serves_an_async_for_too(server: FakeStoker, async_api: ModelAPI) -> None:
    server.accept_job(queued(), done(text="x"))

    async def collect() -> list[type]:
        return [type(event) async for event in async_api.get_api_request_generator({}, progress_interval=0)]

    assert asyncio.run(collect()) == [JobProgress, JobResult]


def test_a_failed_question_for_progress_is_asked_again(server: FakeStoker, do_request: Any) -> None:
    server.accept_job(
        httpx.ConnectError("refused"), (502, "<html>Bad Gateway</html>"), queued(), done(text="x")
    )
    heard: list[str] = []
    assert do_request({}, progress_error_callback=heard.append)["text"] == "x"
    assert len(heard) == 2
    assert "refused" in heard[0]


def test_a_job_is_given_up_after_too_many_failed_questions(server: FakeStoker, do_request: Any) -> None:
    server.accept_job(httpx.ReadError("reset"))
    with pytest.raises(client.ConnectionFailed, match="reset"):
        do_request({}, progress_error_callback=lambda text: None)
    assert server.paths().count("/bench/progress") == 3


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ReadError("reset"),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("silent"),
        (429, {"success": False, "error": ["full"], "code": "queue_full"}, {"Retry-After": "1"}),
        (503, "<html>Service Unavailable</html>"),
        (504, "<html>Gateway Timeout</html>"),
    ],
)
def test_a_submission_that_failed_is_sent_again_as_the_same_one(
    server: FakeStoker, do_request: Any, failure: Any
) -> None:
    server.replies["/bench"] = [failure, failure, (200, result(text="x"))]
    assert do_request({})["text"] == "x"
    assert server.paths() == ["/bench"] * 3
    assert len({request.headers["Idempotency-Key"] for request in server.requests}) == 1


def test_another_request_is_another_submission(server: FakeStoker, do_request: Any) -> None:
    server.replies["/bench"] = [(200, result())]
    do_request({})
    do_request({})
    assert len({request.headers["Idempotency-Key"] for request in server.requests}) == 2


def test_a_submission_is_given_up_after_too_many_failures(server: FakeStoker, do_request: Any) -> None:
    server.replies["/bench"] = [httpx.ReadError("reset")]
    with pytest.raises(client.ConnectionFailed):
        do_request({})
    assert server.paths() == ["/bench"] * 3


@pytest.mark.parametrize(
    ("state", "expected"),
    [("failed", client.JobFailed), ("canceled", client.JobCanceled), ("lapsed", client.JobLapsed)],
)
@pytest.mark.parametrize("status", [200, 400, 410, 500])
def test_a_polled_job_without_success_raises_by_its_state(
    server: FakeStoker, do_request: Any, state: str, expected: type[client.JobError], status: int
) -> None:
    body = {"success": False, "job_id": JOB_ID, "job_state": state, "error": ["ValueError: boom"]}
    server.accept_job(queued(), (status, body))
    with pytest.raises(expected, match="boom") as caught:
        do_request({}, progress_callback=lambda info, data: None)
    assert caught.value.job_id == JOB_ID
    assert type(caught.value) is expected


def test_a_result_that_tells_of_failure_raises(server: FakeStoker, do_request: Any) -> None:
    failure = {"success": False, "job_id": JOB_ID, "error": "boom"}
    server.accept_job((200, {"success": True, "job_id": JOB_ID, "job_state": "done", "job_result": failure}))
    with pytest.raises(client.JobFailed, match="boom"):
        do_request({}, progress_callback=lambda info, data: None)


def test_a_held_call_whose_job_failed_raises(server: FakeStoker, do_request: Any) -> None:
    server.replies["/bench"] = [
        (500, {"success": False, "job_id": JOB_ID, "error": ["x"], "code": "job_failed"})
    ]
    with pytest.raises(client.JobFailed) as caught:
        do_request({})
    assert caught.value.job_id == JOB_ID


def test_a_result_that_was_handed_out_before_is_not_found(server: FakeStoker, do_request: Any) -> None:
    server.accept_job((200, {"success": True, "job_id": JOB_ID, "ep_version": 3, "job_state": "done"}))
    with pytest.raises(client.JobNotFound):
        do_request({}, progress_callback=lambda info, data: None)


def test_waiting_for_progress_ends_at_the_timeout(server: FakeStoker) -> None:
    session = httpx.Client(transport=httpx.MockTransport(server))
    api = ModelAPI("http://stoker.test", "bench", KEY, session, timeout=0)
    server.accept_job(processing(1))
    with pytest.raises(client.Timeout) as caught:
        api.do_api_request({}, progress_callback=lambda info, data: None)
    assert caught.value.job_id == JOB_ID


def test_a_held_call_is_waited_for_longer_than_it_is_held(server: FakeStoker, do_request: Any) -> None:
    server.replies["/bench"] = [(200, result())]
    do_request({})
    timeout = server.requests[0].extensions["timeout"]
    assert server.requests[0].headers["Prefer"] == "wait=50"
    assert (timeout["read"], timeout["connect"], timeout["pool"]) == (110.0, 10.0, None)


def test_bytes_become_data_urls(server: FakeStoker, do_request: Any) -> None:
    server.replies["/bench"] = [(200, result())]
    do_request({"image": b"\xff\xd8\xff\xe0", "sounds": [b"RIFF\0\0\0\0WAVE"]})
    body = server.bodies()[0]
    assert body["image"] == "data:image/jpeg;base64,/9j/4A=="
    assert body["sounds"][0].startswith("data:audio/wav;base64,")


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"key": "x"}, ValueError),
        ({"wait_for_result": False}, ValueError),
        ({"scale": float("nan")}, ValueError),
        ({"image": b"no image"}, ValueError),
        ({"image": object()}, TypeError),
    ],
)
def test_parameters_that_cannot_be_sent_are_refused_before_sending(
    server: FakeStoker, do_request: Any, params: dict[str, Any], expected: type[Exception]
) -> None:
    with pytest.raises(expected):
        do_request(params)
    assert server.requests == []


def test_the_name_of_the_endpoint_is_one_path_segment(server: FakeStoker) -> None:
    session = httpx.Client(transport=httpx.MockTransport(server))
    with pytest.raises(client.EndpointNotFound):
        ModelAPI("http://stoker.test/prefix/", "a/../b?c", KEY, session).do_api_request({})
    assert server.requests[0].url.raw_path == b"/prefix/a%2F..%2Fb%3Fc"


def test_text_is_sent_as_utf8(server: FakeStoker, do_request: Any) -> None:
    server.replies["/bench"] = [(200, result())]
    do_request({"text": "Žižka 火"})
    assert json.loads(server.requests[0].content.decode("utf-8"))["text"] == "Žižka 火"
