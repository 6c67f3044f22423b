"""What the server's refusals become, and that no text of ours tells a secret."""

import pickle
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

import client
from client import ModelAPI
from client.answers import parse_retry_after
from client.calls import job_call
from client.retries import Retries
from tests.unit.client.fake_stoker import JOB_ID, KEY, FakeStoker, processing


def refusal(text: str | list[str], code: str | None = None, **more: Any) -> dict[str, Any]:
    return {"success": False, "error": text, "code": code, "ep_version": 1, **more}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, refusal(["Missing: x"], "invalid_input"), client.BadRequest),
        (400, refusal("Endpoint disabled!"), client.BadRequest),
        (401, refusal(["Key not valid"]), client.Unauthorized),
        (403, refusal(["not for this endpoint"]), client.Forbidden),
        (404, "no such page", client.EndpointNotFound),
        (413, "<html>too large</html>", client.BadRequest),
        (429, refusal(["full"], "queue_full"), client.QueueFull),
        (429, refusal(["slow down"], "rate_limited"), client.RateLimited),
        (409, refusal(["the same"], "request_in_progress"), client.Unavailable),
        (404, refusal(["forgotten"], "job_not_found"), client.JobNotFound),
        (422, refusal(["another one"], "idempotency_key_reused"), client.BadRequest),
        (500, "oops", client.ServerError),
        (503, refusal(["broker down"], "broker_unavailable"), client.Unavailable),
        (504, "gateway timeout", client.Timeout),
        (200, "<html>a login page</html>", client.ServerError),
        (200, [1], client.ServerError),
        (302, "", client.ServerError),
    ],
)
def test_each_status_raises_its_class(
    server: FakeStoker, do_request: Any, status: int, body: Any, expected: type[client.StokerClientError]
) -> None:
    server.replies["/bench"] = [(status, body)]
    with pytest.raises(client.StokerClientError) as caught:
        do_request({})
    assert type(caught.value) is expected


def test_validation_errors_come_by_field(server: FakeStoker, do_request: Any) -> None:
    fields = {"width": ["too high", "not aligned"], "prompt": ["missing"]}
    server.replies["/bench"] = [(400, refusal(["too high", "missing"], "invalid_input", errors=fields))]
    with pytest.raises(client.BadRequest, match="too high; missing") as caught:
        do_request({})
    assert caught.value.errors == fields
    assert (caught.value.status, caught.value.code) == (400, "invalid_input")


def test_a_full_queue_says_when_to_come_again(server: FakeStoker, do_request: Any) -> None:
    server.replies["/bench"] = [(429, refusal(["full"], "queue_full"), {"Retry-After": "7"})]
    with pytest.raises(client.QueueFull) as caught:
        do_request({})
    assert caught.value.retry_after == 7.0


def test_an_unknown_job_is_not_an_unknown_endpoint(server: FakeStoker, do_request: Any) -> None:
    server.accept_job((404, refusal(["no such job"], "job_not_found")))
    with pytest.raises(client.JobNotFound) as caught:
        do_request({}, progress_callback=lambda info, data: None)
    assert caught.value.job_id == JOB_ID


def test_a_silent_server_raises_timeout(server: FakeStoker, do_request: Any) -> None:
    server.replies["/bench"] = [httpx.ReadTimeout("slow")]
    with pytest.raises(client.Timeout) as caught:
        do_request({})
    assert isinstance(caught.value, TimeoutError)


def test_a_server_that_cannot_be_reached_raises_connection_failed(
    server: FakeStoker, do_request: Any
) -> None:
    server.replies["/bench"] = [httpx.ConnectTimeout("no route")]
    with pytest.raises(client.ConnectionFailed) as caught:
        do_request({})
    assert isinstance(caught.value, ConnectionError)


def test_an_accepted_job_without_an_id_is_a_fault_of_the_server(server: FakeStoker, do_request: Any) -> None:
    server.replies["/bench"] = [(200, {"success": True})]
    with pytest.raises(client.ServerError):
        do_request({}, progress_callback=lambda info, data: None)


def test_a_server_that_names_no_state_is_given_up(server: FakeStoker, do_request: Any) -> None:
    server.accept_job((200, {"success": True, "job_id": JOB_ID}))
    with pytest.raises(client.ServerError):
        do_request({}, progress_callback=lambda info, data: None)


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_key_echoed_by_the_server_is_blotted_out(server: FakeStoker, do_request: Any, status: int) -> None:
    body = refusal([f"Authorization: Bearer {KEY}"], errors={"prompt": [f"{KEY} is wrong"]})
    server.replies["/bench"] = [(status, body)]
    with pytest.raises(client.StokerClientError) as caught:
        do_request({})
    assert KEY not in str(caught.value)
    assert KEY not in repr(vars(caught.value))


def test_no_repr_tells_the_key_or_the_prompt(api: ModelAPI) -> None:
    call = job_call("bench", {"prompt": "a private thought"}, KEY, "once")
    for text in (repr(api), repr(call)):
        assert KEY not in text
        assert "private" not in text


@pytest.mark.parametrize("key", ["with space", "line\nbreak", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_told(key: str) -> None:
    with pytest.raises(ValueError, match="API key") as caught:
        ModelAPI("http://stoker.test", "bench", key)
    assert key not in str(caught.value)


@pytest.mark.parametrize("url", ["stoker.test", "ftp://stoker.test", "http://", "http://a/?b=c"])
def test_what_is_no_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not the URL of a server"):
        ModelAPI(url, "bench")


def test_a_password_in_the_url_is_refused_without_being_told() -> None:
    with pytest.raises(ValueError, match="password") as caught:
        ModelAPI("http://me:hidden@stoker.test", "bench")
    assert "hidden" not in str(caught.value)


def test_a_session_of_another_library_is_refused() -> None:
    with pytest.raises(TypeError, match=r"httpx\.Client"):
        ModelAPI("http://stoker.test", "bench", KEY, "a string")  # type: ignore[arg-type]


def test_errors_survive_pickling() -> None:
    for error in (
        client.QueueFull("full", status=429, code="queue_full", retry_after=3.0),
        client.JobFailed("boom", job_id=JOB_ID),
        client.BadRequest("bad", errors={"x": ["y"]}),
        client.ConnectionFailed("no route"),
        client.Timeout("slow", job_id=JOB_ID),
    ):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("12", 12.0),
        ("-3", 0.0),
        ("Sun, 01 Nov 2026 12:00:30 GMT", 30.0),
        ("Sun, 01 Nov 2026 11:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_read_as_seconds(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, datetime(2026, 11, 1, 12, tzinfo=UTC)) == seconds


def test_pauses_between_tries_double_and_are_spread() -> None:
    failed = client.ConnectionFailed("x")
    for chance, expected in ((1.0, [0.5, 1, 2, 4, 8, 8]), (0.0, [0.25, 0.5, 1, 2, 4, 4])):
        retries = Retries(6, lambda chance=chance: chance)  # type: ignore[misc]
        assert [retries.pause(n, failed) for n in range(1, 8)] == [*expected, None]


def test_a_server_that_names_a_time_is_not_asked_before_and_not_waited_for_longer_than_a_minute() -> None:
    retries = Retries(6, lambda: 0.5)
    assert retries.pause(1, client.Unavailable("x", retry_after=9.0)) == 9.125
    assert retries.pause(1, client.RateLimited("x", retry_after=3600.0)) is None


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (client.ConnectionFailed("x"), True),
        (client.Timeout("x"), True),
        (client.QueueFull("x", status=429), True),
        (client.Unavailable("x", status=503), True),
        (client.Unavailable("x", status=503, code="endpoint_disabled"), False),
        (client.ServerError("x", status=502), True),
        (client.ServerError("x", status=500), False),
        (client.BadRequest("x", status=400), False),
        (client.JobFailed("x", status=500), False),
        (client.Unauthorized("x", status=401), False),
    ],
)
def test_only_what_may_pass_is_tried_again(error: client.StokerClientError, passing: bool) -> None:
    assert (Retries().pause(1, error) is not None) is passing


def test_progress_without_numbers_has_its_defaults(server: FakeStoker, do_request: Any) -> None:
    server.accept_job(
        (200, {"success": True, "job_id": JOB_ID, "job_state": "queued"}),
        processing(1),
        (410, refusal("late")),
    )
    seen: list[Any] = []
    with pytest.raises(client.JobLapsed):
        do_request({}, progress_callback=lambda info, data: seen.append(info))
    assert (seen[0]["progress"], seen[0]["queue_position"], seen[0]["estimate"]) == (0, 0, -1)
