"""Bodies of requests: raw, or the parts of a multipart/form-data.

A body of some megabytes may be there at once; between its pieces other greenlets have their turn. One that
comes too slowly is given up: its client would hold a connection, and what it has sent so far, at will. Keys
may stand in bodies, so that anybody can send one: all large ones of a process together have a limit, and
those of one client half of it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from io import BytesIO
from typing import IO, Any, cast

from flask import g
from gunicorn.http.errors import ParseException
from werkzeug.datastructures import FileStorage
from werkzeug.formparser import FormDataParser

from app.errors import ApiError
from app.green import within
from app.services import caller, services, this_request
from schemas.errors import listed

MULTIPART = "multipart/form-data"
PIECE = 1 << 20  # bytes; gunicorn copies what it holds for each smaller one
SMALL = 1 << 16  # bytes of a body that are not counted: also while large ones are refused, others are taken
PATIENCE = 30.0  # s that a body may take, whatever its size
SLOWEST = 50_000  # bytes/s on average, for what takes longer


class _Stream:
    """The stream of the current request's body, read with pauses, and as a whole or not at all."""

    def __init__(self) -> None:
        request = this_request()
        if request.headers.get("Content-Encoding", "").lower() not in ("", "identity"):
            raise ApiError("unsupported_media_type", "The body has a Content-Encoding: send it as it is")
        self._stream = request.stream
        self._length = request.content_length
        self._received = 0
        self._end = time.monotonic() + PATIENCE

    def read(self, size: int = PIECE) -> bytes:
        """Give the next bytes; none: it has ended.

        Raises:
            ApiError: it comes too slowly, is malformed, or ends before the length that its header says.
            ConversionBusy: this process holds too many bytes of bodies.
        """
        if self._length is not None:  # a buffer of `size` bytes is made, however few come
            size = min(size, self._length - self._received)
        if not size:
            return b""
        if self._received:
            time.sleep(0)
        left = self._end + self._received / SLOWEST - time.monotonic()
        with within(left, ApiError("body_too_slow", f"The body came slower than {SLOWEST} bytes/s")):
            try:
                piece = self._stream.read(size)
            except ParseException:  # of a body without a length: each part of it tells its own
                raise ApiError("malformed_request", "The chunks of the body are malformed") from None
        self._received += len(piece)
        if self._received > SMALL:
            services().held.take(caller(), len(piece))
            g.held = g.get("held", 0) + len(piece)
            g.holder = caller()
        if not piece and self._received < (self._length or 0):
            raise ApiError("malformed_request", "The body is shorter than its Content-Length")
        return piece


def let_go(_: BaseException | None = None) -> None:
    """Count the current request's body no more: it has ended, or what it brought is in the store."""
    if held := g.pop("held", 0):
        services().held.give_back(g.holder, held)


def hand_over() -> None:
    """Count the current request's body for its client, whose key stood in it.

    Raises:
        ConversionBusy: that client has too many bytes of bodies.
    """
    held = g.get("held", 0)
    if held and g.holder != caller():
        let_go()
        services().held.take(caller(), held)
        g.held, g.holder = held, caller()


def read_body() -> BytesIO:
    """Give the current request's body, in memory.

    Raises:
        ApiError: it comes too slowly, or not as a whole, or compressed.
        werkzeug.exceptions.RequestEntityTooLarge: it is larger than the settings allow.
    """
    body = BytesIO()  # which grows in its place, where pieces would be there twice
    body.writelines(iter(_Stream().read, b""))
    return body


def _memory(
    total_content_length: int | None,
    content_type: str | None,
    filename: str | None,
    content_length: int | None = None,
) -> IO[bytes]:
    return BytesIO()  # not a file on disk: its content is needed as a whole


def read_multipart(max_parts: int) -> dict[str, Any]:
    """Give the parts of the current request's body by name: texts as strings, files as bytes.

    Several files of one name become a list. A file without name and content is the empty field of a
    browser's form, and left out. Names of files mean nothing.

    Raises:
        ApiError: the body is malformed or compressed, comes too slowly, or a name is given twice.
        werkzeug.exceptions.RequestEntityTooLarge: it is too large, or has more than `max_parts` parts.
    """
    request = this_request()
    parser = FormDataParser(
        stream_factory=_memory,
        max_form_memory_size=request.max_content_length,
        max_content_length=request.max_content_length,
        max_form_parts=max_parts,
        silent=False,
    )
    stream = cast(IO[bytes], _Stream())
    try:
        _, texts, files = parser.parse(
            stream, request.mimetype, request.content_length, dict(request.mimetype_params)
        )
    except ValueError as error:
        raise ApiError("malformed_request", f"The form cannot be read: {error}") from None
    values: dict[str, Any] = {}
    for name, parts in files.lists():
        read = [(part.filename, _content(part)) for part in parts]
        contents = [data for filename, data in read if filename or data]
        if contents:
            values[name] = contents if len(contents) > 1 else contents[0]
    twice = [name for name, given in texts.lists() if len(given) > 1 or name in values]
    if twice:
        raise given_twice(twice)
    return texts.to_dict() | values


def given_twice(names: Sequence[str]) -> ApiError:
    """Give the answer to a request with parameters that stand twice."""
    return ApiError("malformed_request", f"Given more than once: {listed(names)}")


def _content(part: FileStorage) -> bytes:
    return cast(BytesIO, part.stream).getvalue()  # `read` would copy it
