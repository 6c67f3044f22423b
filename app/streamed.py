"""JSON answers with large texts in them, which are read out of the store while they are sent."""

from __future__ import annotations

import codecs
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flask import Flask, Response
from flask.json.provider import DefaultJSONProvider

from app.content import Content


@dataclass(frozen=True)
class LargeText:
    """A text in a body, which is not held as a whole."""

    content: Content

    def whole(self) -> str:
        """Give all of it."""
        return b"".join(self.content.pieces(0, self.content.size)).decode()

    def as_json(self) -> Iterator[bytes]:
        """Give it as a JSON string, piece by piece."""
        decode = codecs.getincrementaldecoder("utf-8")().decode
        yield b'"'
        for piece in self.content.pieces(0, self.content.size):
            yield json.dumps(decode(piece), ensure_ascii=False)[1:-1].encode()
        yield b'"'


class StreamingJson(DefaultJSONProvider):
    """Flask's JSON, compact and in UTF-8; a body that holds a `LargeText` is sent piece by piece."""

    sort_keys = False
    ensure_ascii = False
    compact = True

    def __init__(self, app: Flask) -> None:
        super().__init__(app)
        self._mark = uuid.uuid4().hex  # stands for a large text; nobody can send it
        self._quoted_mark = f'"{self._mark}"'

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Give a body as a whole."""
        return super().dumps(obj, **{"default": _whole, "separators": (",", ":"), **kwargs})

    def response(self, *args: Any, **kwargs: Any) -> Response:
        """Give the answer with a body; see `flask.json.provider.JSONProvider.response`."""
        found: list[LargeText] = []

        def marked(value: Any) -> Any:
            if not isinstance(value, LargeText):
                return self.default(value)
            found.append(value)
            return self._mark

        body = self.dumps(self._prepare_response_obj(args, kwargs), default=marked)
        body += "\n"
        if not found:
            return Response(body, mimetype=self.mimetype)
        return Response(_joined(body.split(self._quoted_mark), found), mimetype=self.mimetype)


def _whole(value: Any) -> Any:
    return value.whole() if isinstance(value, LargeText) else DefaultJSONProvider.default(value)


def _joined(parts: list[str], texts: list[LargeText]) -> Iterator[bytes]:
    for part, text in zip(parts, texts, strict=False):
        yield part.encode()
        yield from text.as_json()
    yield parts[-1].encode()
