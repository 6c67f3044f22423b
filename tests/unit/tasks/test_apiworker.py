"""How the API's gunicorn worker writes answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config

from tasks.apiworker import SMALL, Response


class Connection:
    """Keeps what is sent, piece by piece."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.pieces.append(bytes(data))


def answered(
    body: list[bytes], length: int | None = None, method: str = "GET", status: str = "200 OK"
) -> Any:
    """Answer a request as gunicorn does; gives the pieces that were sent, and the answer."""
    connection = Connection()
    request = SimpleNamespace(method=method, version=(1, 1), should_close=lambda: False)
    response = Response(request, connection, Config())
    headers = [("X-Name", "value")] + ([] if length is None else [("Content-Length", str(length))])
    response.start_response(status, headers)
    for part in body:
        response.write(part)
    response.close()
    return connection.pieces, response


def test_a_small_answer_goes_out_in_one_piece() -> None:
    (piece,), response = answered([b"hello"], 5)
    head, _, body = piece.partition(b"\r\n\r\n")
    assert body == b"hello"
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nX-Name: value\r\nContent-Length: 5" in head
    assert (response.sent, response.headers_sent) == (5, True)


@pytest.mark.parametrize(
    ("body", "length", "method", "status"),
    [
        ([b"hel", b"lo"], 5, "GET", "200 OK"),
        ([b"hello", b"more"], 5, "GET", "200 OK"),
        ([b"x" * (SMALL + 1)], SMALL + 1, "GET", "200 OK"),
        ([b"one", b"two"], None, "GET", "200 OK"),
        ([b"hello"], 5, "HEAD", "200 OK"),
        ([b""], 0, "GET", "200 OK"),
        ([b""], None, "GET", "204 No Content"),
        ([], None, "GET", "204 No Content"),
    ],
)
def test_every_answer_is_the_same_as_by_gunicorn_itself(
    body: list[bytes], length: int | None, method: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gunicorn.util.http_date", lambda: "today")
    ours, response = answered(body, length, method, status)
    monkeypatch.delattr(Response, "write")
    theirs, stock = answered(body, length, method, status)
    assert b"".join(ours) == b"".join(theirs)
    assert response.sent == stock.sent
