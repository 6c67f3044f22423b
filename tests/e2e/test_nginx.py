"""docker/nginx.conf in a real NGINX, in front of a real gunicorn with tasks/gunicorn.py."""

from __future__ import annotations

import gzip
import http.client
import itertools
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import ROOT, Api, Nginx, free_port, wait_until

BACKEND = """
import time

from flask import Flask, Response, request

app = Flask(__name__)


@app.get("/healthz")
def healthz():
    return {"ok": True}


@app.get("/call")
def call():
    names = ("Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Request-Id", "Authorization")
    return {name: request.headers.get(name) for name in names}


@app.get("/large/<kind>")
def large(kind):
    return Response("0123456789" * int(request.args["tens"]), mimetype=kind.replace("_", "/"))


@app.get("/events")
def events():
    def lines():
        for number in range(4):
            yield f"data: {number}\\n\\n"
            time.sleep(0.3)

    return Response(lines(), mimetype="text/event-stream")


@app.post("/upload")
def upload():
    return {"size": len(request.get_data())}


@app.get("/slow")
def slow():
    time.sleep(5)
    return {"ok": True}
"""


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("backend")
    (folder / "backend.py").write_text(BACKEND)
    home = folder / "home"
    api = Api({"STOKER_HOME": str(home), "PYTHONPATH": f"{folder}:{ROOT}"}, folder, "backend:app")
    api.wait_ready()
    yield api
    api.close()


@pytest.fixture(scope="module")
def nginx(backend: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    server = Nginx(tmp_path_factory.mktemp("nginx"), backend.port)
    server.wait_ready()
    yield server
    server.close()


def test_call_arrives_with_its_headers(nginx: Nginx) -> None:
    status, body = nginx.ask(
        "GET", "/call", Host="api.example.org", Authorization="Bearer x", X_Request_Id="r1"
    )
    assert status == 200
    assert '"Host":"api.example.org"' in body
    assert '"Authorization":"Bearer x"' in body
    assert '"X-Request-Id":"r1"' in body
    assert '"X-Forwarded-Proto":"http"' in body


def test_address_that_a_client_claims_is_not_believed(nginx: Nginx) -> None:
    _, body = nginx.ask("GET", "/call", X_Forwarded_For="203.0.113.9")
    assert '"X-Forwarded-For":"127.0.0.1"' in body


def test_events_arrive_when_they_are_sent(nginx: Nginx) -> None:
    connection = nginx.connect()
    connection.request("GET", "/events")
    answer = connection.getresponse()
    times = []
    while line := answer.readline():
        if line.strip():
            times.append(time.monotonic())
    connection.close()
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(times) == 4
    assert all(gap > 0.15 for gap in gaps), gaps  # the backend sends one each 0.3 s


@pytest.mark.parametrize(
    ("kind", "tens", "accepted", "encoding"),
    [
        ("application_json", 200, "gzip, br", "gzip"),
        ("application_json", 200, "identity", None),
        ("application_json", 50, "gzip", None),  # too short to gain anything
        ("image_png", 200, "gzip", None),
        ("audio_wav", 200, "gzip", None),
        ("text_event-stream", 200, "gzip", None),
    ],
)
def test_json_above_a_kilobyte_is_compressed_and_nothing_else(
    nginx: Nginx, kind: str, tens: int, accepted: str, encoding: str | None
) -> None:
    connection = nginx.connect()
    connection.request("GET", f"/large/{kind}?tens={tens}", headers={"Accept-Encoding": accepted})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.headers["Content-Encoding"] == encoding
    assert (gzip.decompress(body) if encoding else body) == b"0123456789" * tens


def test_upload_of_20_mb_passes(nginx: Nginx) -> None:
    status, body = nginx.ask("POST", "/upload", bytes(20_000_000))
    assert (status, body.strip()) == (200, '{"size":20000000}')


def test_too_large_upload_is_refused_in_the_shape_of_the_api(nginx: Nginx) -> None:
    connection = nginx.connect()
    connection.putrequest("POST", "/upload")
    connection.putheader("Content-Length", str(101 * 2**20))
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    assert answer.status == 413
    assert answer.headers["Content-Type"] == "application/json"
    assert '"code": "body_too_large"' in body


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        ("TRACE / HTTP/1.1\r\nHost: a", 405, "method_not_allowed"),
        ("GET / HTTP/1.1", 400, "malformed_request"),
        ("this is not HTTP", 400, "malformed_request"),
        (f"GET /{'a' * 20_000} HTTP/1.1\r\nHost: a", 414, "uri_too_long"),
        (f"GET / HTTP/1.1\r\nHost: a\r\nX-Long: {'a' * 20_000}", 431, "headers_too_large"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip", 501, "malformed_request"),
        ("GET /.refused HTTP/1.1\r\nHost: a", 404, "malformed_request"),
    ],
)
def test_what_nginx_refuses_is_told_in_the_shape_of_the_api(
    nginx: Nginx, head: str, status: int, code: str
) -> None:
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=30) as connection:
        connection.sendall(f"{head}\r\n\r\n".encode())
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        body = json.loads(answer.read())
    assert (answer.status, body["success"], body["code"]) == (status, False, code)
    assert isinstance(body["error"][0], str)


def test_slow_answer_passes(nginx: Nginx) -> None:
    assert nginx.ask("GET", "/slow")[0] == 200


def test_long_query_passes(nginx: Nginx) -> None:
    assert nginx.ask("GET", "/call?text=" + "x" * 8000)[0] == 200


def test_no_log_holds_the_query(nginx: Nginx, backend: Api) -> None:
    assert nginx.ask("GET", "/call?key=secret-key", Referer="http://x/?key=secret-referer")[0] == 200
    nginx.ask("POST", "/upload?key=secret-upload", None, Content_Length=str(101 * 2**20))
    nginx.ask("GET", "/call?key=secret-long" + "x" * 9000)  # more than gunicorn takes
    wait_until(lambda: all('"path":"/call"' in each.log() for each in (nginx, backend)), 5, "the access logs")
    for process in (nginx, backend):
        assert "secret" not in process.log()


def test_one_request_is_one_line_of_the_log(nginx: Nginx, backend: Api) -> None:
    nginx.ask("GET", "/forged%0a127.0.0.1%20line")
    wait_until(lambda: "/forged" in backend.log(), 5, "the access log")
    for process in (nginx, backend):
        assert not [line for line in process.log().splitlines() if line.startswith("127.0.0.1 line")]


def test_the_access_log_of_nginx_is_json_with_the_fields_of_the_api(nginx: Nginx, backend: Api) -> None:
    nginx.ask("GET", "/%22quoted%22")
    wait_until(lambda: "quoted" in nginx.log() and "quoted" in backend.log(), 5, "the access logs")
    told = {}
    for process in (nginx, backend):
        (line,) = [line for line in process.log().splitlines() if "quoted" in line]
        told[process] = json.loads(line)
    assert (told[nginx]["path"], told[nginx]["status"]) == ('/"quoted"', 404)
    assert set(told[nginx]) <= set(told[backend])


def test_api_that_is_down_gives_503_in_the_shape_of_the_api(tmp_path: Path) -> None:
    lonely = Nginx(tmp_path, free_port())
    try:
        lonely.wait_ready()
        status, body = lonely.ask("GET", "/call")
        assert status == 503
        assert '"success": false' in body
    finally:
        lonely.close()
