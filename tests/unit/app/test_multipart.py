"""Bodies of multipart/form-data, as curl and browsers send them."""

from __future__ import annotations

import base64
import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.conversion import ConversionBusy
from app.services import EXTENSION
from schemas import load_endpoints
from tests.data.hostile import picture
from tests.unit.app.fakes import ECHO_KEY

AUTH = {"Authorization": f"Bearer {ECHO_KEY}"}
PICTURES = f"""
[ENDPOINT]
name = "pictures"
[WORKER]
queue = "pictures_cpu"
[CLIENTS]
authorization_keys = {{ alice = "{ECHO_KEY}" }}
[INPUTS]
image = {{ type = "image" }}
more = {{ type = "image_list", max_items = 2 }}
chat = {{ type = "chat_context" }}
steps = {{ type = "integer", maximum = 50 }}
flag = {{ type = "bool" }}
text = {{ type = "string" }}
"""
PNG, JPEG = picture("PNG"), picture("JPEG")


def url(data: bytes, format: str = "png") -> str:
    return f"data:image/{format};base64,{base64.b64encode(data).decode()}"


@pytest.fixture
def endpoints(tmp_path: Path) -> Any:
    folder = tmp_path / "endpoints"
    folder.mkdir()
    (folder / "pictures.toml").write_text(PICTURES)
    return load_endpoints([folder])


@pytest.fixture
def send(client: Any) -> Any:
    return lambda form: client.post("/pictures", data=form, content_type="multipart/form-data", headers=AUTH)


@pytest.fixture
def send_raw(client: Any) -> Any:
    return lambda raw: client.post(
        "/pictures", data=raw, content_type="multipart/form-data; boundary=xx", headers=AUTH
    )


def part(head: str, body: bytes = b"") -> bytes:
    return b"--xx\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + body + b"\r\n"


def test_files_and_fields_become_inputs(send: Any, workers: Any) -> None:
    form = {
        "image": (io.BytesIO(PNG), "a.png"),
        "more": [(io.BytesIO(JPEG), "b.jpg"), (io.BytesIO(PNG), "../../etc/passwd")],
        "chat": '[{"role": "user", "content": "Hello"}]',
        "steps": "20",
        "flag": "true",
        "text": "Zürich",
        "wait_for_result": "true",
    }
    answer = send(form)
    assert answer.status_code == 200, answer.json
    assert workers.submitted[0].inputs == {
        "image": url(PNG),
        "more": [url(JPEG, "jpeg"), url(PNG)],
        "chat": [{"role": "user", "content": "Hello"}],
        "steps": 20,
        "flag": True,
        "text": "Zürich",
    }


def test_an_image_may_also_be_a_text_field(send: Any, workers: Any) -> None:
    assert send({"image": url(PNG)}).status_code == 200
    assert workers.submitted[0].inputs == {"image": url(PNG)}


def test_a_key_may_be_a_field(client: Any) -> None:
    form = {"text": "hi", "key": ECHO_KEY}
    assert client.post("/pictures", data=form, content_type="multipart/form-data").status_code == 200
    answer = client.post("/pictures", data={"text": "hi"}, content_type="multipart/form-data")
    assert answer.json["code"] == "key_missing"


def test_the_empty_file_of_a_form_is_absent_and_an_empty_file_is_refused(send_raw: Any, workers: Any) -> None:
    assert send_raw(part('name="image"; filename=""') + b"--xx--").status_code == 200
    assert workers.submitted[0].inputs == {}
    answer = send_raw(part('name="image"; filename="a.png"') + b"--xx--")
    assert answer.json["errors"] == {"image": ["Parameter image: is empty!"]}


def test_everything_that_is_wrong_is_told_at_once(send: Any, workers: Any) -> None:
    answer = send(
        {"image": (io.BytesIO(b"hello"), "a.png"), "text": (io.BytesIO(PNG), "b"), "steps": "99", "x": "1"}
    )
    assert answer.status_code == 400
    assert sorted(answer.json["errors"]) == ["image", "steps", "text", "x"]
    assert "got file" in answer.json["errors"]["text"][0]
    assert workers.submitted == []


@pytest.mark.parametrize(
    "raw",
    [
        b"hello",
        b"--xx",
        b"--yy\r\n",
        part('name="text"', b"a"),
        part('name="image"; filename="a.png"', PNG)[:-50],
        part('name="text"', b"a") + part('name="text"', b"b") + b"--xx--",
        part('name="image"', b"a") + part('name="image"; filename="a"', PNG) + b"--xx--",
        b"--xx\r\n\r\nhello\r\n--xx--",
    ],
    ids=range(8),
)
def test_a_malformed_form_is_refused(send_raw: Any, workers: Any, raw: bytes) -> None:
    answer = send_raw(raw)
    assert (answer.status_code, answer.json["code"]) == (400, "malformed_request"), answer.json
    assert workers.submitted == []


def test_a_form_needs_a_boundary(client: Any) -> None:
    answer = client.post("/pictures", data=b"--xx--", content_type="multipart/form-data", headers=AUTH)
    assert answer.json["code"] == "malformed_request"


def test_a_large_form_is_refused_with_the_limit(send: Any, send_raw: Any, workers: Any) -> None:
    for form in ({"image": (io.BytesIO(bytes(100_000)), "a")}, {"text": "x" * 100_000}):
        answer = send(form)
        assert (answer.status_code, answer.json["error"]) == (413, ["The body is larger than 100000 bytes"])
    assert send_raw(part('name="a"') * 1100 + b"--xx--").status_code == 413
    assert workers.submitted == []


def test_a_large_form_of_unannounced_length_is_refused(client: Any, workers: Any) -> None:
    raw = part('name="image"; filename="a"', bytes(200_000)) + b"--xx--"
    answer = client.post(
        "/pictures",
        headers={**AUTH, "Transfer-Encoding": "chunked"},
        content_type="multipart/form-data; boundary=xx",
        environ_overrides={"wsgi.input": io.BytesIO(raw), "wsgi.input_terminated": True},
    )
    assert answer.status_code == 413
    assert workers.submitted == []


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    raw=st.lists(
        st.sampled_from(
            [
                b"--xx",
                b"--",
                b"\r\n",
                b'Content-Disposition: form-data; name="image"',
                b'; filename="a"',
                b"Content-Type: text/plain; charset=nonsense",
                b"\xff\x00",
                PNG,
            ]
        )
    ).map(b"".join)
)
def test_no_form_breaks_the_api(send_raw: Any, raw: bytes) -> None:
    answer = send_raw(raw)
    assert answer.status_code in (200, 400)


def test_too_many_conversions_are_answered_by_503(app: Any, client: Any, send: Any) -> None:
    class Busy:
        def run(self, *args: Any, **kwargs: Any) -> Any:
            raise ConversionBusy

    app.extensions[EXTENSION] = dataclasses.replace(app.extensions[EXTENSION], converter=Busy())
    answer = send({"image": (io.BytesIO(PNG), "a.png")})
    assert (answer.status_code, answer.json["code"]) == (503, "conversion_busy")
    assert int(answer.headers["Retry-After"]) >= 1
