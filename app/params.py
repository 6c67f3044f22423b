"""What a request says: query, form or JSON body, as one mapping."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl

from flask import Request, g

from app.bodies import MULTIPART, given_twice, read_body, read_multipart
from app.errors import ApiError
from app.services import caller, services, this_request
from schemas.jsontext import BadJson, read_json

FORM = "application/x-www-form-urlencoded"
MAX_DEPTH = 64  # levels of lists and objects; far below what the JSON encoders on the way can take
LARGE = 256_000  # bytes; reading more takes a millisecond, in which a greenlet answers nobody
MAX_FIELDS = 1000  # of a query or form, files included
MAX_ESCAPES = 500_000  # percent signs of a query or form; reading takes 230 bytes for each


@dataclass(frozen=True, slots=True)
class Params:
    """The parameters of a request.

    Attributes:
        values: by name.
        textual: whether they come from a query or form, where every value is a string, or bytes of a file.
    """

    values: dict[str, Any] = field(default_factory=dict)
    textual: bool = False

    def without(self, *names: str) -> dict[str, Any]:
        """Give the values less these names."""
        return {name: value for name, value in self.values.items() if name not in names}


def request_params() -> Params:
    """Give the parameters of the current request; read once.

    GET: the query. POST: the body, and, except where a job is submitted, the query below it.

    Raises:
        ApiError: the body is not what it says it is.
        werkzeug.exceptions.RequestEntityTooLarge: the body is larger than the settings allow.
    """
    found: Params | None = g.get("params")
    if found is None:
        found = g.params = _read(this_request())
    return found


def _read(request: Request) -> Params:
    if request.method in ("GET", "HEAD"):
        return Params(_pairs(request.query_string), textual=True)
    if request.endpoint == "uploads.create" and request.mimetype != MULTIPART:
        return Params(_pairs(request.query_string), textual=True)  # the body is a file, whatever it is called
    body = _body(request)
    if request.endpoint == "jobs.run":
        return body
    return Params(_pairs(request.query_string) | body.values, body.textual)


def _body(request: Request) -> Params:
    if request.mimetype == MULTIPART:
        return Params(read_multipart(MAX_FIELDS), textual=True)
    body = read_body()
    size = body.tell()
    if not size:
        return Params()
    read = partial(services().converter.run, caller()) if size > LARGE else _at_once
    if request.mimetype == FORM:
        return Params(read(_pairs, body.getvalue()), textual=True)
    if request.is_json or not request.mimetype:
        return Params(read(_object, body))
    raise ApiError(
        "unsupported_media_type", f"Send the parameters as application/json, {MULTIPART} or {FORM}"
    )


def _at_once(reader: Callable[[Any], dict[str, Any]], body: Any) -> dict[str, Any]:
    return reader(body)


def _pairs(raw: bytes) -> dict[str, Any]:
    escapes = raw.count(b"%")
    if escapes > MAX_ESCAPES:
        raise ApiError(
            "malformed_request",
            f"The parameters hold {escapes} percent signs: at most {MAX_ESCAPES} are allowed",
        )
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError:
        raise ApiError("malformed_request", "The parameters are not UTF-8") from None
    except ValueError:
        raise ApiError("malformed_request", f"More than {MAX_FIELDS} parameters") from None
    twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if twice:
        raise given_twice(twice)
    return dict(pairs)


def _object(body: BytesIO) -> dict[str, Any]:
    try:
        value = read_json(body, MAX_DEPTH)
    except BadJson as error:
        raise ApiError("malformed_request", f"The body {error}") from None
    if not isinstance(value, dict):
        raise ApiError("malformed_request", "The body must be a JSON object")
    return value
