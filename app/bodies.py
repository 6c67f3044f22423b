"""Bodies of requests: raw, or the parts of a multipart/form-data.

A body of some megabytes may be there at once; between its pieces other greenlets have their turn.
"""

from __future__ import annotations

import time
from io import BytesIO
from typing import IO, Any, cast

from flask import request
from werkzeug.formparser import FormDataParser

from app.errors import ApiError

MULTIPART = "multipart/form-data"
PIECE = 1 << 20  # bytes; gunicorn copies what it holds for each smaller one


class _Stream:
    """The stream of the current request's body, read with pauses."""

    def __init__(self) -> None:
        self._stream = request.stream

    def read(self, size: int = PIECE) -> bytes:
        time.sleep(0)
        return self._stream.read(size)


def read_body() -> bytes:
    """Give the current request's body.

    Raises:
        werkzeug.exceptions.RequestEntityTooLarge: it is larger than the settings allow.
    """
    stream = _Stream()
    return b"".join(iter(stream.read, b""))


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
        ApiError: the body is malformed, or a name is given twice.
        werkzeug.exceptions.RequestEntityTooLarge: it is too large, or has more than `max_parts` parts.
    """
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
        read = [(part.filename, part.read()) for part in parts]
        contents = [data for filename, data in read if filename or data]
        if contents:
            values[name] = contents if len(contents) > 1 else contents[0]
    twice = [name for name, given in texts.lists() if len(given) > 1 or name in values]
    if twice:
        raise ApiError("malformed_request", f"Given more than once: {', '.join(twice)}")
    return texts.to_dict() | values
