"""Files in data URLs, read piece by piece."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from app import content
from app.content import Content, Gone
from app.streamed import LargeText, StreamingJson


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "PIECE", 6)


def data_url(data: bytes) -> bytes:
    return b"data:image/png;base64," + base64.b64encode(data)


def joined(part: Content, start: int, stop: int) -> bytes:
    return b"".join(part.pieces(start, stop))


@given(st.binary(min_size=1, max_size=40), st.data())
def test_every_part_of_a_file_is_that_part_of_its_bytes(data: bytes, draw: Any) -> None:
    file = Content.of(data_url(data)).file()
    assert file is not None and file.size == len(data)
    start = draw.draw(st.integers(0, len(data)))
    stop = draw.draw(st.integers(start, len(data)))
    assert joined(file, start, stop) == data[start:stop]


def test_a_part_reads_little_more_than_itself() -> None:
    text, asked = data_url(bytes(1000)), []

    def read(start: int, stop: int) -> bytes:
        asked.append((start, stop))
        return text[start:stop]

    file = Content(len(text), read).file()
    assert file is not None
    asked.clear()
    assert joined(file, 500, 510) == bytes(10)
    assert sum(stop - start for start, stop in asked) <= 24


@pytest.mark.parametrize(
    "text", [b"", b"hello", b"data:image/png,abc", b"data:image/png;base64,", b"data:image/png;base64,abc"]
)
def test_what_is_no_data_url_of_base64_is_no_file(text: bytes) -> None:
    assert Content.of(text).file() is None


def test_a_file_that_goes_while_it_is_sent_breaks_off() -> None:
    text = data_url(bytes(12))
    stored = Content(len(text), lambda start, stop: text[start:stop] if start < 30 else b"")
    file = stored.file()
    assert file is not None
    with pytest.raises(Gone):
        joined(file, 0, 12)


@given(st.lists(st.text(), max_size=3), st.text(max_size=10))
def test_a_body_is_the_same_whether_its_texts_are_streamed_or_not(texts: list[str], other: str) -> None:
    app = Flask("x")
    app.json = StreamingJson(app)
    large = [LargeText(Content.of(text.encode())) for text in texts]
    body = {"texts": texts, other: {"x": other, "text": texts}, "n": None}
    streamed = {"texts": large, other: {"x": other, "text": large}, "n": None}
    if texts:
        assert app.json.response(streamed).is_streamed
    assert json.loads(app.json.response(streamed).get_data()) == body
    assert app.json.response(streamed).get_data() == app.json.response(body).get_data()
    assert app.json.dumps(streamed) == app.json.dumps(body)
