"""The gunicorn worker of the API: what breaks the protocol, clients that read nothing, whole answers, and
bodies that nobody wants.
"""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from gevent import config
from gunicorn import http, util
from gunicorn.http import body as bodies
from gunicorn.http import errors, message, wsgi
from gunicorn.workers.ggevent import GeventWorker

READ_NOTHING = 60_000  # ms; a client that takes in nothing of its answer for so long is gone
PIECE = 1 << 20  # bytes of a body that is thrown away, between two turns of others
CHUNKS = 1000  # of a body, between two turns of others: 2 ms
SMALL = 64 * 1024  # bytes; a larger body is not copied behind its headers
_MALFORMED = (HTTPStatus.BAD_REQUEST, "malformed_request", "This is not a valid HTTP request")
_ANSWERS = {
    errors.LimitRequestLine: (
        HTTPStatus.REQUEST_URI_TOO_LONG,
        "uri_too_long",
        "Method and URL with query have more than 8190 bytes: send the parameters as the body of a POST",
    ),
    errors.LimitRequestHeaders: (
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "headers_too_large",
        "There are more than 100 headers, or one has more than 8190 bytes",
    ),
    errors.UnsupportedTransferCoding: (
        HTTPStatus.NOT_IMPLEMENTED,
        "malformed_request",
        "Transfer-Encoding may be chunked only",
    ),
    errors.ExpectationFailed: (
        HTTPStatus.EXPECTATION_FAILED,
        "malformed_request",
        "Expect may be 100-continue only",
    ),
}


class ChunkedReader(bodies.ChunkedReader):
    """Gives the others their turn: chunks may have one byte, and a million of them be there at once."""

    def parse_chunked(self, unreader: Any) -> Iterator[bytes]:
        """See gunicorn's own."""
        for count, piece in enumerate(super().parse_chunked(unreader), 1):
            if count % CHUNKS == 0:
                time.sleep(0)
            yield piece


message.ChunkedReader = ChunkedReader  # `Request.set_body_reader` makes them


class RequestParser(http.RequestParser):
    """Throws away what is left of the body of a request that was refused, for as long as `keepalive` says.

    Gunicorn takes it by kilobytes, each of which costs a copy of what has come, and nobody else has a turn.
    """

    def finish_body(self, deadline: float | None = None, max_bytes: int | None = None) -> bool:
        """See gunicorn's own."""
        if self.mesg and not self.mesg.body.failed:
            while self.mesg.body.read(PIECE):
                time.sleep(0)
        return bool(super().finish_body(deadline, max_bytes))


http.RequestParser = RequestParser  # `http.get_parser` makes them


class Response(wsgi.Response):
    """Sends a small answer that is there as a whole in one piece; gunicorn sends the headers before it.

    Of two pieces the first one wakes the client, which has to wait for the other one.
    """

    headers_sent: bool

    def write(self, arg: bytes) -> None:
        """Send a part of the body."""
        whole = len(arg) == self.response_length and not self.headers_sent
        if not whole or self._omits_body or len(arg) > SMALL:
            return super().write(arg)
        headers = [f"{name}: {value}\r\n" for name, value in self.headers]
        head = "".join([*self.default_headers(), *headers, "\r\n"])
        self.headers_sent = True
        self.sent = len(arg)
        util.write(self.sock, head.encode("latin-1") + arg)
        return None


wsgi.Response = Response  # `wsgi.create` makes them, and is not told of another kind


class ApiWorker(GeventWorker):
    """Answers what is no HTTP in the shape of the API, and logs nothing of it: keys may stand there."""

    def patch(self) -> None:
        """Let greenlets not keep where they were made: it takes time and memory for each connection."""
        super().patch()
        config.track_greenlet_tree = False

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve a connection."""
        # Else a client that keeps its connection open and reads nothing holds its greenlet for ever.
        if client.family != socket.AF_UNIX:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, READ_NOTHING)
        super().handle(listener, client, addr)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer a request that did not come to the app."""
        request_id = uuid.uuid4().hex
        kind = type(exc).__name__
        if isinstance(exc, errors.ParseException):
            status, code, sentence = _ANSWERS.get(type(exc), _MALFORMED)
            self.log.info("request %s from %s: %s", request_id, addr[0] if addr else "", kind)
        else:
            status, code = HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error"
            sentence = f"Internal error; it is in the server's log under request id {request_id}"
            self.log.error("request %s failed: %s", request_id, kind, exc_info=exc)
        body = {"success": False, "error": [sentence], "code": code, "request_id": request_id}
        try:
            util.write_nonblock(client, answer(status, body))
        except OSError:
            pass  # there is nobody to read it


def answer(status: HTTPStatus, body: dict[str, Any]) -> bytes:
    """Give a whole HTTP answer, after which the connection is closed."""
    text = json.dumps(body, separators=(",", ":"))
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(text)}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
        f"X-Request-Id: {body['request_id']}\r\n\r\n"
    )
    return (head + text).encode("latin-1")
