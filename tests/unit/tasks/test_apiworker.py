"""How the API's gunicorn worker writes answers, and what it does with bodies that nobody has read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config

from tasks.apiworker import CHUNKS, PIECE, SMALL, Response, http


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


class Sender:
    """A client whose bytes are there already; counts how often it is read from."""

    def __init__(self, data: bytes) -> None:
        self.data = memoryview(data)
        self.reads = 0

    def recv(self, size: int) -> bytes:
        self.reads += 1
        piece, self.data = self.data[:size], self.data[size:]
        return bytes(piece)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_nobody_read_is_thrown_away_by_large_pieces_and_others_have_their_turn(
    chunked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[float] = []
    monkeypatch.setattr("tasks.apiworker.time.sleep", turns.append)
    body = bytes(8 * PIECE)
    length = b"Content-Length: %d" % len(body)
    if chunked:
        body, length = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body), b"Transfer-Encoding: chunked"
    head = b"POST /nope HTTP/1.1\r\nHost: x\r\n" + length + b"\r\n\r\n"
    sender = Sender(head + body + b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n")
    parser = http.get_parser(Config(), sender, ("127.0.0.1", 1))
    assert next(parser).path == "/nope"
    assert next(parser).path == "/next"
    assert turns == [0] * 8
    assert sender.reads < 200


def test_others_have_their_turn_between_the_small_chunks_of_a_body(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[float] = []
    monkeypatch.setattr("tasks.apiworker.time.sleep", turns.append)
    head = b"POST /nope HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    sender = Sender(head + b"1\r\na\r\n" * (3 * CHUNKS + 1) + b"0\r\n\r\n")
    request = next(http.get_parser(Config(), sender, ("127.0.0.1", 1)))
    assert request.body.read() == b"a" * (3 * CHUNKS + 1)
    assert turns == [0] * 3
