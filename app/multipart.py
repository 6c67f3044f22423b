"""Bodies of multipart/form-data: text fields, and files."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from flask import request
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from app.errors import ApiError

MULTIPART = "multipart/form-data"


def read_multipart(max_parts: int) -> dict[str, Any]:
    """Give the parts of the current request's body by name: texts as strings, files as bytes.

    Several files of one name become a list. A file without name and content is the empty field of a
    browser's form, and left out. Names of files mean nothing.

    Raises:
        ApiError: the body is malformed, or a name is given twice.
        werkzeug.exceptions.RequestEntityTooLarge: it is too large, or has more than `max_parts` parts.
    """
    parser = FormDataParser(
        stream_factory=lambda *about: BytesIO(),
        max_form_memory_size=request.max_content_length,
        max_content_length=request.max_content_length,
        max_form_parts=max_parts,
        silent=False,
    )
    mimetype, options = parse_options_header(request.content_type)
    try:
        _, texts, files = parser.parse(request.stream, mimetype, request.content_length, options)
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
