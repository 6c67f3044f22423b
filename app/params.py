"""What a request says: query, form or JSON body, as one mapping."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from flask import g, request

from app.bodies import MULTIPART, read_body, read_multipart
from app.errors import ApiError
from app.services import services

FORM = "application/x-www-form-urlencoded"
MAX_DEPTH = 64  # levels of lists and objects; far below what the JSON encoders on the way can take
LARGE = 256_000  # bytes; reading more takes a millisecond, in which a greenlet answers nobody
MAX_FIELDS = 1000  # of a query or form, files included
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


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
    if "params" not in g:
        g.params = _read()
    found: Params = g.params
    return found


def _read() -> Params:
    if request.method in ("GET", "HEAD"):
        return Params(_pairs(request.query_string), textual=True)
    body = _body()
    if request.endpoint == "jobs.run":
        return body
    return Params(_pairs(request.query_string) | body.values, body.textual)


def _body() -> Params:
    if request.mimetype == MULTIPART:
        return Params(read_multipart(MAX_FIELDS), textual=True)
    raw = read_body()
    if not raw:
        return Params()
    if request.mimetype == FORM:
        return Params(_pairs(raw), textual=True)
    if request.is_json or not request.mimetype:
        large = len(raw) > LARGE
        return Params(services().converter.run(_object, raw) if large else _object(raw))
    raise ApiError(
        "unsupported_media_type", f"Send the parameters as application/json, {MULTIPART} or {FORM}"
    )


def _pairs(raw: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError:
        raise ApiError("malformed_request", "The parameters are not UTF-8") from None
    except ValueError:
        raise ApiError("malformed_request", f"More than {MAX_FIELDS} parameters") from None
    twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if twice:
        raise ApiError("malformed_request", f"Given more than once: {', '.join(twice)}")
    return dict(pairs)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise ApiError("malformed_request", "The body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ApiError("malformed_request", f"The body is not JSON: {error}") from None
    except ValueError as error:  # NaN, or an integer of thousands of digits
        raise ApiError("malformed_request", f"The body holds a bad number: {error}") from None
    except RecursionError:
        raise _too_deep() from None
    if not isinstance(value, dict):
        raise ApiError("malformed_request", "The body must be a JSON object")
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _depth_exceeds(value, MAX_DEPTH):
        raise _too_deep()
    if _SURROGATE.search(raw):
        _refuse_half_characters(value)
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _refuse_half_characters(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ApiError("malformed_request", "The body holds half of a surrogate pair") from None


def _depth_exceeds(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [child for item in level for child in _children(item) if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def _children(item: Any) -> Iterator[Any]:
    return iter(item.values() if isinstance(item, dict) else item)


def _too_deep() -> ApiError:
    return ApiError("malformed_request", f"The body is nested more than {MAX_DEPTH} levels deep")
