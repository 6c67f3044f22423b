"""Whatever bytes arrive, the answer is JSON and says what is wrong."""

import dataclasses
import io
import json
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.errors import ApiError
from app.heldbytes import HeldBytes
from app.params import FORM
from app.services import EXTENSION
from tests.unit.app.fakes import ECHO_KEY

AUTH = {"Authorization": f"Bearer {ECHO_KEY}"}


@pytest.fixture
def send(client: Any) -> Any:
    return lambda raw, kind="application/json": client.post(
        "/echo", data=raw, content_type=kind, headers=AUTH
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"{bad",
        b"[1]",
        b'"text"',
        b"null",
        b"1",
        b"\xff\xfe",
        b'{"text": "\xe9"}',
        b'{"text": NaN}',
        b'{"text": -Infinity}',
        b'{"text": ' + b"9" * 5000 + b"}",
        b'{"text": "\\ud800"}',
        b'{"\\uDFFF": 1}',
        b"[" * 5000 + b"]" * 5000,
        b'{"text": ' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"text": ' * 30000,
        '{"text": "hi"}'.encode("utf-16"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(send: Any, workers: Any, raw: bytes) -> None:
    answer = send(raw)
    assert answer.status_code == (413 if len(raw) > 100000 else 400)
    assert answer.json["code"] == ("body_too_large" if len(raw) > 100000 else "malformed_request")
    assert workers.submitted == []


def test_many_small_values_are_not_deep(send: Any) -> None:
    raw = json.dumps({"text": "hi", "more": [[1]] * 200})
    assert send(raw).json["code"] == "invalid_input"


def test_a_whole_surrogate_pair_is_a_character(send: Any, workers: Any) -> None:
    assert send(b'{"text": "\\ud83d\\ude00"}').status_code == 200
    assert workers.submitted[0].inputs["text"] == "😀"


def test_the_type_of_the_body_may_be_left_out(client: Any) -> None:
    assert client.post("/echo", data=b'{"text": "hi"}', headers=AUTH).status_code == 200


def test_names_that_stand_twice_are_told_shortly(send: Any) -> None:
    answer = send("&".join(f"{i}{'n' * 1000}=&" * 2 for i in range(30)), FORM)
    assert answer.json["error"][0].startswith("Given more than once: 0nnn")
    assert answer.json["error"][0].endswith("and 10 more") and len(answer.data) < 2000


@pytest.mark.parametrize("kind", ["text/plain", "multipart/mixed; boundary=x", "application/xml"])
def test_other_types_of_bodies_are_refused(send: Any, kind: str) -> None:
    answer = send(b'{"text": "hi"}', kind)
    assert answer.status_code == 415
    assert answer.json["code"] == "unsupported_media_type"


@pytest.mark.parametrize("path", ["/echo", "/uploads"])
def test_a_compressed_body_is_refused_with_what_to_do(client: Any, path: str) -> None:
    answer = client.post(path, data=b"\x1f\x8b", headers={**AUTH, "Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json["code"]) == (415, "unsupported_media_type")
    assert "Content-Encoding: send it as it is" in answer.json["error"][0]


@pytest.mark.parametrize(
    "raw", [b"text=%ff", b"text=a&text=b", b"&".join(b"a=1" for _ in range(2000)), b"t\xff=1"]
)
def test_a_malformed_form_is_refused(send: Any, raw: bytes) -> None:
    assert send(raw, FORM).json["code"] == "malformed_request"


def test_a_malformed_query_is_refused(client: Any) -> None:
    assert client.get("/echo?text=%ff", headers=AUTH).json["code"] == "malformed_request"


def test_a_large_body_is_refused_with_the_limit(send: Any) -> None:
    answer = send(json.dumps({"text": "x" * 100000}))
    assert answer.status_code == 413
    assert answer.json["error"] == ["The body is larger than 100000 bytes"]
    assert answer.json["code"] == "body_too_large"


def test_a_large_body_of_unannounced_length_is_refused_and_not_cut_off(client: Any, workers: Any) -> None:
    environment = {"wsgi.input": io.BytesIO(b"text=" + b"x" * 200000), "wsgi.input_terminated": True}
    answer = client.post(
        "/echo",
        headers={**AUTH, "Transfer-Encoding": "chunked"},
        content_type=FORM,
        environ_overrides=environment,
    )
    assert answer.status_code == 413
    assert workers.submitted == []


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    raw=st.binary(max_size=200),
    kind=st.sampled_from(["application/json", FORM, ""]),
)
def test_no_bytes_break_the_api(client: Any, raw: bytes, kind: str) -> None:
    answer = client.post("/echo", data=raw, content_type=kind)
    assert answer.status_code in (400, 401)
    assert answer.json["success"] is False


@pytest.mark.parametrize("kind", [FORM, "application/json", "multipart/form-data; boundary=b"])
def test_a_body_that_breaks_off_submits_nothing(client: Any, workers: Any, kind: str) -> None:
    answer = client.post(
        "/echo",
        input_stream=io.BytesIO(b"text=half"),
        content_type=kind,
        headers=AUTH,
        environ_overrides={"CONTENT_LENGTH": "20", "wsgi.input_terminated": True},  # as gunicorn says
    )
    assert (answer.status_code, answer.json["code"]) == (400, "malformed_request")
    assert workers.submitted == []


def test_a_small_body_is_read_in_one_turn(client: Any, workers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[float] = []

    def within(seconds: float, error: Exception) -> nullcontext[None]:
        turns.append(seconds)
        return nullcontext()

    monkeypatch.setattr("app.bodies.within", within)
    assert client.post("/echo", json={"text": "hi"}, headers=AUTH).status_code == 200
    assert len(turns) == 1


LARGE = b'{"text": "hi"}' + b" " * 80_000


@pytest.fixture
def held(app: Flask) -> HeldBytes:
    held = HeldBytes(200_000, share=100_000)
    app.extensions[EXTENSION] = dataclasses.replace(app.extensions[EXTENSION], held=held)
    return held


def test_large_bodies_are_refused_while_others_fill_the_memory(send: Any, held: HeldBytes) -> None:
    held.take("one", 75_000)
    held.take("another", 75_000)
    refused = send(LARGE)
    assert (refused.status_code, refused.json["code"]) == (503, "conversion_busy")
    assert int(refused.headers["Retry-After"]) > 0
    assert send(b'{"text": "hi"}').status_code == 200
    held.give_back("another", 75_000)
    assert send(LARGE).status_code == 200


def test_bodies_without_a_known_key_leave_room_for_those_of_clients(
    client: Any, send: Any, held: HeldBytes
) -> None:
    with_key = LARGE.replace(b"}", f', "key": "{ECHO_KEY}"}}'.encode())
    assert client.post("/echo", data=with_key).status_code == 200
    held.take("", 100_000)
    assert client.post("/echo", data=with_key).status_code == 503
    assert send(LARGE).status_code == 200


def test_a_body_with_the_key_in_it_counts_for_its_client(app: Flask, client: Any, held: HeldBytes) -> None:
    found = app.extensions[EXTENSION].auth.resolve(ECHO_KEY)
    held.take(found.id, 100_000)
    with_key = LARGE.replace(b"}", f', "key": "{ECHO_KEY}"}}'.encode())
    assert client.post("/echo", data=with_key).status_code == 503
    held.take("", 100_000)  # it counts there no more
    held.give_back(found.id, 100_000)
    held.take("another", 100_000)  # and nowhere else


def test_a_body_counts_until_its_request_ends_however_that_is(
    client: Any, send: Any, held: HeldBytes
) -> None:
    for _ in range(5):
        assert send(LARGE).status_code == 200
        assert send(LARGE[1:]).status_code == 400
        assert client.post("/echo", data=LARGE).status_code == 401
        assert client.post("/echo", data={"a": (io.BytesIO(b"x" * 80_000), "a.bin")}).status_code == 401
    held.take("one", 100_000)
    held.take("another", 100_000)  # all of it is free again


def test_a_body_counts_no_more_while_its_client_waits_for_the_result(
    send: Any, held: HeldBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hold(*args: Any, **kwargs: Any) -> Any:
        yield partial(held.take, "one"), 100_000
        held.take("another", 100_000)
        raise ApiError("overloaded", "seen")

    monkeypatch.setattr("app.jobs.hold", hold)
    assert send(LARGE).json["error"] == ["seen"]
