"""Jobs by their id: submitted, waited for, followed, canceled."""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import client
from client import JobProgress, JobResult, ModelAPI
from client.sse import EventReader
from tests.unit.client.fake_stoker import JOB_ID, FakeStoker, Reply, done, processing, queued

PATH = f"/jobs/{JOB_ID}"
EVENTS = f"{PATH}/events"
Ask = Callable[..., Any]


@pytest.fixture(params=["plain", "async"])
def ask(request: pytest.FixtureRequest, api: ModelAPI, async_api: ModelAPI) -> Ask:
    """Call a method by its name, or its asynchronous twin."""

    def asynchronous(name: str, *args: Any, **kwargs: Any) -> Any:
        if name != "stream":
            return asyncio.run(getattr(async_api, f"{name}_async")(*args, **kwargs))

        async def collect() -> list[Any]:
            return [event async for event in async_api.stream(*args)]

        return asyncio.run(collect())

    def plain(name: str, *args: Any, **kwargs: Any) -> Any:
        answer = getattr(api, name)(*args, **kwargs)
        return list(answer) if name == "stream" else answer

    return plain if request.param == "plain" else asynchronous


def ended(state: str, **outcome: Any) -> Reply:
    body = {"success": True, "job_id": JOB_ID, "job_state": state}
    return 200, {**body, "job_result": {"success": state == "done", "job_id": JOB_ID, **outcome}}


def frames(*events: tuple[int, Reply]) -> Reply:
    """What a stream tells before it breaks off or ends."""
    text = "retry: 1000\n\n: keep-alive\n\n"
    return 200, text + "".join(f"id: {n}\nevent: x\ndata: {json.dumps(reply[1])}\n\n" for n, reply in events)  # type: ignore[index]


def test_submitting_gives_the_id_at_once(server: FakeStoker, ask: Ask) -> None:
    server.accept_job()
    assert ask("submit", {"text": "hi"}) == JOB_ID
    assert server.bodies() == [{"text": "hi", "wait_for_result": False}]


def test_a_submission_may_have_a_name(server: FakeStoker, ask: Ask) -> None:
    server.accept_job()
    ask("submit", {}, idempotency_key="order-17")
    assert server.requests[0].headers["Idempotency-Key"] == "order-17"


def test_a_result_is_waited_for_whatever_breaks_off(server: FakeStoker, ask: Ask) -> None:
    server.replies[PATH] = [queued(), httpx.ReadError("reset"), processing(1), (502, "bad"), done(text="x")]
    assert ask("result", JOB_ID)["text"] == "x"
    assert {request.headers["Prefer"] for request in server.requests} == {"wait=50"}


def test_a_result_that_is_not_there_in_time_is_told_with_the_job(server: FakeStoker, ask: Ask) -> None:
    server.replies[PATH] = [processing(1)]
    with pytest.raises(client.Timeout) as caught:
        ask("result", JOB_ID, timeout=0)
    assert caught.value.job_id == JOB_ID
    assert [request.headers["Prefer"] for request in server.requests] == ["wait=0"]


@pytest.mark.parametrize(
    ("state", "expected"),
    [("failed", client.JobFailed), ("canceled", client.JobCanceled), ("lapsed", client.JobLapsed)],
)
def test_a_job_without_a_result_raises_by_its_state(
    server: FakeStoker, ask: Ask, state: str, expected: type[client.JobError]
) -> None:
    server.replies[PATH] = [ended(state, error=["boom"], code=f"job_{state}")]
    server.replies[EVENTS] = [frames((4, ended(state, error=["boom"])))]
    for name in ("result", "stream"):
        with pytest.raises(expected, match="boom") as caught:
            ask(name, JOB_ID)
        assert (type(caught.value), caught.value.job_id) == (expected, JOB_ID)


def test_a_stream_gives_progress_and_then_the_result(server: FakeStoker, ask: Ask) -> None:
    server.replies[EVENTS] = [
        frames((0, queued(2)), (3, processing(50, step=5)), (4, ended("done", text="x")))
    ]
    *reports, last = ask("stream", JOB_ID)
    assert [report.info["queue_position"] for report in reports] == [2, 0]
    assert isinstance(reports[1], JobProgress) and reports[1].data == {"step": 5}
    assert isinstance(last, JobResult) and last.result["text"] == "x"
    assert server.requests[0].headers["Accept"] == "text/event-stream"


def test_a_stream_that_breaks_off_goes_on_after_what_was_seen(server: FakeStoker, ask: Ask) -> None:
    server.replies[EVENTS] = [
        (503, "restarting"),
        frames((3, processing(10)), (5, processing(30))),
        httpx.ReadError("reset"),
        frames((7, processing(60)), (9, ended("done"))),
    ]
    *reports, _ = ask("stream", JOB_ID)
    assert [report.info["progress"] for report in reports] == [10, 30, 60]
    seen = [request.headers.get("Last-Event-ID") for request in server.requests]
    assert seen == [None, None, "5", "5"]


def test_a_stream_that_never_tells_anything_is_given_up(server: FakeStoker, ask: Ask) -> None:
    server.replies[EVENTS] = [frames()]
    with pytest.raises(client.ConnectionFailed, match="broke off"):
        ask("stream", JOB_ID)
    assert len(server.requests) == 3


def test_a_stream_that_is_refused_in_the_middle_is_told_as_any_refusal(server: FakeStoker, ask: Ask) -> None:
    refusal = {"success": False, "error": ["Key not valid"], "code": "key_not_valid"}
    server.replies[EVENTS] = [frames((3, processing(10)), (3, (200, refusal))), (401, refusal)]
    with pytest.raises(client.Unauthorized, match="Key not valid"):
        ask("stream", JOB_ID)


def test_an_unknown_job_cannot_be_followed_waited_for_or_canceled(server: FakeStoker, ask: Ask) -> None:
    refusal = (404, {"success": False, "error": ["no such job"], "code": "job_not_found"})
    server.replies = {PATH: [refusal], EVENTS: [refusal]}
    for name in ("result", "stream", "cancel"):
        with pytest.raises(client.JobNotFound):
            ask(name, JOB_ID)


@pytest.mark.parametrize(
    ("status", "state"), [(200, "canceled"), (202, "processing"), (409, "done"), (409, "failed")]
)
def test_canceling_tells_how_the_job_stands(server: FakeStoker, ask: Ask, status: int, state: str) -> None:
    body: dict[str, Any] = {"success": status < 300, "job_id": JOB_ID, "job_state": state}
    if status == 409:
        body |= {"error": ["has ended"], "code": "job_ended"}
    server.replies[PATH] = [(status, body)]
    assert ask("cancel", JOB_ID) == state
    assert server.requests[0].method == "DELETE"


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_plain_progress_bar_shows_queue_and_percent(
    server: FakeStoker,
    api: ModelAPI,
    async_api: ModelAPI,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    server.accept_job(queued(3), processing(40), done(text="x"))
    if kind == "plain":
        api.do_api_request({}, progress_bar=True)
    else:
        asyncio.run(async_api.do_api_request_async({}, progress_bar=True))
    out, err = capsys.readouterr()
    assert out == ""
    assert "bench: 3. in the queue   0%" in err and "bench  40% |############." in err
    assert "bench: done 100%" in err and err.endswith("\n")


def test_the_progress_bar_of_tqdm_is_taken_if_it_is_there(
    server: FakeStoker, api: ModelAPI, capsys: pytest.CaptureFixture[str]
) -> None:
    server.accept_job(queued(3), processing(40), done(text="x"))
    api.do_api_request({}, progress_bar=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "bench: 3. in the queue   0%" in err and "bench  40%" in err and "bench: done 100%" in err


def test_a_progress_bar_of_a_job_that_fails_does_not_tell_of_success(
    server: FakeStoker, api: ModelAPI, capsys: pytest.CaptureFixture[str]
) -> None:
    server.accept_job(processing(40), (410, {"success": False, "error": ["late"], "code": "lapsed"}))
    with pytest.raises(client.JobLapsed):
        api.do_api_request({}, progress_bar=True)
    assert "100%" not in capsys.readouterr().err


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n"), min_size=1)),
    st.sampled_from(["\n", "\r\n"]),
    st.data(),
)
def test_a_stream_reads_the_same_in_pieces_of_any_size(
    texts: list[str], end: str, data: st.DataObject
) -> None:
    lines = [f"id: {n}{end}: a comment{end}data: {text}{end}{end}" for n, text in enumerate(texts)]
    stream = ("".join(lines) + "data: broken off").encode("utf-8", "replace")
    reader, events = EventReader(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        events += reader.feed(stream[:size])
        stream = stream[size:]
    expected = [(str(n), text.encode("utf-8", "replace").decode()) for n, text in enumerate(texts)]
    assert [(event.id, event.data) for event in events] == expected
