"""One rule for keys, wherever they stand: Bearer, key, client_session_auth_key."""

import logging
from typing import Any

import pytest
from itsdangerous import TimestampSigner

from app import create_app
from app.tokens import SESSION_LIFETIME
from schemas import Endpoint
from tasks.settings import Settings
from tests.unit.app.fakes import BOTH_KEY, DEMO_KEY, ECHO_KEY


def bearer(credential: Any) -> Any:
    return {"Authorization": f"Bearer {credential}"}


@pytest.mark.parametrize("kind", ["key", "token"])
@pytest.mark.parametrize("place", ["header", "key", "client_session_auth_key"])
def test_keys_and_tokens_work_in_every_place(client: Any, token: str, place: str, kind: str) -> None:
    credential = ECHO_KEY if kind == "key" else token
    headers = bearer(credential) if place == "header" else {}
    parameters = {"text": "hi"} if place == "header" else {"text": "hi", place: credential}
    assert client.post("/echo", json=parameters, headers=headers).status_code == 200
    assert client.post("/echo", data=parameters, headers=headers).status_code == 200
    assert client.get("/echo", query_string=parameters, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("header", "key", "session", "status"),
    [
        ("wrong", ECHO_KEY, ECHO_KEY, 401),
        (ECHO_KEY, "wrong", "wrong", 200),
        (None, "wrong", ECHO_KEY, 401),
        (None, ECHO_KEY, "wrong", 200),
        (None, None, ECHO_KEY, 200),
        (None, "", ECHO_KEY, 200),
        (None, None, None, 401),
        (None, 5, ECHO_KEY, 401),
        (None, {"a": 1}, ECHO_KEY, 401),
    ],
)
def test_the_first_credential_given_decides(
    client: Any, header: Any, key: Any, session: Any, status: int
) -> None:
    body = {"text": "hi", "key": key, "client_session_auth_key": session}
    assert client.post("/echo", json=body, headers=bearer(header) if header else {}).status_code == status


def test_a_text_that_is_too_long_for_a_credential_is_not_looked_up(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.accounts.Clients.find", lambda *_: pytest.fail("it was looked up"))
    assert client.post("/api/validate_key", json={"key": "k" * 10_000}).json["success"] is False


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_the_word_bearer_may_be_written_as_one_likes(client: Any, scheme: str) -> None:
    answer = client.post("/echo", json={"text": "hi"}, headers={"Authorization": f"{scheme} {ECHO_KEY}"})
    assert answer.status_code == 200


def test_a_missing_key_and_a_wrong_one_are_told_apart(client: Any) -> None:
    missing = client.post("/echo", json={"text": "hi"})
    wrong = client.post("/echo", json={"text": "hi", "key": "wrong"})
    assert (missing.status_code, missing.json["code"]) == (401, "key_missing")
    assert (wrong.status_code, wrong.json) == (
        401,
        {"success": False, "error": ["Key not valid"], "code": "key_not_valid", "ep_version": 3},
    )
    assert wrong.headers["WWW-Authenticate"] == "Bearer"


def test_a_job_takes_no_key_from_the_query_of_a_post(client: Any) -> None:
    assert client.post(f"/echo?key={ECHO_KEY}", json={"text": "hi"}).status_code == 401


@pytest.mark.parametrize("call", ["login", "request", "progress"])
def test_a_key_of_another_endpoint_is_refused(client: Any, token: str, call: str) -> None:
    path = {"login": "/counter/login", "request": "/counter", "progress": "/counter/progress"}[call]
    for credential in (ECHO_KEY, token):
        answer = client.post(path, json={"key": credential, "job_id": "x"})
        assert answer.status_code == 403
        assert answer.json["error"] == ["Client not authorized for endpoint counter!"]


def test_one_key_in_two_files_opens_both(client: Any) -> None:
    for endpoint in ("echo", "counter"):
        assert client.post(f"/{endpoint}/login", json={"key": BOTH_KEY}).status_code == 200


def test_the_demo_key_opens_everything(client: Any) -> None:
    for endpoint in ("echo", "counter", "closed"):
        assert client.post(f"/{endpoint}/login", json={"key": DEMO_KEY}).status_code == 200


def test_login_gives_a_token_and_not_the_key(client: Any) -> None:
    for answer in (
        client.get("/echo/login", query_string={"user": "alice", "key": ECHO_KEY, "version": "x"}),
        client.post(f"/echo/login?user=alice&key={ECHO_KEY}"),
        client.post("/echo/login", json={}, headers=bearer(ECHO_KEY)),
    ):
        assert answer.status_code == 200
        assert answer.json.keys() == {"success", "ep_version", "client_session_auth_key"}
        assert answer.json["success"] is True
        assert answer.json["ep_version"] == 3
        assert ECHO_KEY not in answer.text


@pytest.mark.parametrize("query", [{}, {"key": "wrong"}])
def test_login_without_a_valid_key_fails(client: Any, query: Any) -> None:
    answer = client.get("/echo/login", query_string=query)
    assert answer.status_code == 401
    assert answer.json["success"] is False
    assert "client_session_auth_key" not in answer.json


def test_login_with_a_token_does_not_prolong_it(
    client: Any, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = TimestampSigner("").get_timestamp() + 3600
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda self: later)
    assert client.post("/echo/login", json={"key": token}).json["client_session_auth_key"] == token


def test_a_token_is_valid_in_every_process(
    settings: Settings, endpoints: dict[str, Endpoint], store: Any, token: str
) -> None:
    other: Any = create_app(settings, endpoints, store=store).test_client()
    assert other.post("/echo/login", json={"client_session_auth_key": token}).status_code == 200


def test_a_token_dies_with_its_key(
    settings: Settings, endpoints: dict[str, Endpoint], store: Any, token: str
) -> None:
    kept = {"echo": endpoints["counter"], "counter": endpoints["counter"]}
    other: Any = create_app(settings, kept, store=store).test_client()
    assert other.post("/api/validate_key", json={"key": token}).json["success"] is False


def test_a_token_ends_after_thirty_days(client: Any, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = TimestampSigner("").get_timestamp()
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda self: now + SESSION_LIFETIME - 60)
    assert client.post("/echo", json={"key": token, "text": "hi"}).status_code == 200
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda self: now + SESSION_LIFETIME + 60)
    assert client.post("/echo", json={"key": token, "text": "hi"}).status_code == 401


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: t + "A", lambda t: "x" + t, lambda t: "ü" + t]
)
def test_a_token_that_was_changed_is_no_token(client: Any, token: str, change: Any) -> None:
    assert client.post("/echo", json={"key": change(token), "text": "hi"}).status_code == 401


def test_validate_key_answers_the_question(client: Any, token: str) -> None:
    for good in (ECHO_KEY, token):
        assert client.get("/api/validate_key", query_string={"key": good}).json == {
            "success": True,
            "error": None,
        }
        assert client.post(f"/api/validate_key?key={good}").json["success"] is True
        assert client.post("/api/validate_key", json={"key": good}).json["success"] is True
    for answer in (client.get("/api/validate_key"), client.get("/api/validate_key?key=wrong")):
        assert answer.status_code == 200
        assert answer.json == {"success": False, "error": "Key not valid"}


def test_the_list_of_endpoints_shows_what_a_key_opens(client: Any) -> None:
    assert client.get("/api/endpoints").json == {"endpoints": ["closed", "counter", "echo"]}
    assert client.get("/api/endpoints", query_string={"key": ECHO_KEY}).json == {"endpoints": ["echo"]}
    assert client.post("/api/endpoints", json={"key": BOTH_KEY}).json == {"endpoints": ["counter", "echo"]}
    assert client.get("/api/endpoints", query_string={"key": "wrong"}).status_code == 401


def test_no_answer_and_no_log_shows_a_key(
    client: Any, workers: Any, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    job_id = client.post("/echo", json={"text": "hi", "key": ECHO_KEY, "wait_for_result": False}).json[
        "job_id"
    ]
    answers = [
        client.post("/echo", json={"text": "hi", "key": ECHO_KEY}),
        client.post("/counter", json={"key": ECHO_KEY}),
        client.post("/echo", json={"text": 5, "key": ECHO_KEY}),
        client.get("/echo", query_string={"key": ECHO_KEY, "text": "hi"}),
        client.get("/echo/progress", query_string={"key": ECHO_KEY, "job_id": job_id}),
        client.get("/echo/login", query_string={"key": ECHO_KEY}),
        client.get("/api/endpoints/echo", query_string={"key": ECHO_KEY}),
    ]
    workers.refusal = RuntimeError("broken")
    answers.append(client.post("/echo", json={"text": "hi", "key": ECHO_KEY}))
    assert answers[-1].status_code == 500
    for answer in answers:
        assert ECHO_KEY not in answer.text + str(answer.headers)
    assert ECHO_KEY not in caplog.text
    assert token not in caplog.text
    assert all(ECHO_KEY not in str(job.to_wire()) for job in workers.submitted)
