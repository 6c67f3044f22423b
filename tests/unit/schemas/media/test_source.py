"""Data URLs, plain base64 and bytes."""

from __future__ import annotations

import base64
import binascii
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.media.errors import MediaError
from schemas.media.source import data_url, read_source

DATA = b"\x89PNG any bytes"
TEXT = base64.b64encode(DATA).decode()


@pytest.mark.parametrize(
    "value",
    [
        DATA,
        TEXT,
        f"data:image/png;base64,{TEXT}",
        f"DATA:IMAGE/PNG;BASE64,{TEXT}",
        f"data:image/JPEG;base64,{TEXT}",
        f"data:image/svg+xml;base64,{TEXT}",
        f"data:;base64,{TEXT}",
        f"data:image/png;charset=utf-8;name=a.png;base64,{TEXT}",
    ],
)
def test_a_file_is_taken_out_of_what_it_came_in(value: str | bytes) -> None:
    assert read_source(value, 100) == DATA


@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_come_back(data: bytes) -> None:
    assert read_source(data_url(data, "image/png"), 200) == data


def test_a_large_file_is_there_once_as_base64_while_it_is_written() -> None:
    data = bytes(10_000_000)
    tracemalloc.start()
    text = data_url(data, "image/png")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert base64.b64decode(text.removeprefix("data:image/png;base64,")) == data
    assert peak < 1.4 * len(text)


@pytest.mark.parametrize(
    "value",
    [
        f"data:image/png,{TEXT}",
        f"data:image/png;base64{TEXT}",
        "data:image/png;base64",
        f"data:../../etc/passwd;base64,{TEXT}",
        "data:" + "a" * 100_000 + ";base64,",
        "data:" + ";a=b" * 100_000 + ";base64,",
        "http://127.0.0.1/a.png",
        "file:///etc/passwd",
        "/etc/passwd",
        TEXT + "\n",
        TEXT[:8] + " " + TEXT[8:],
        TEXT[:-1],
        TEXT + "=",
        TEXT.rstrip("=") + "*",
        "=" + TEXT,
        TEXT.replace("A", "-").replace("g", "_"),
        "äöü",
        "\ud800",
        "A",
    ],
)
def test_anything_else_is_refused(value: str) -> None:
    with pytest.raises(
        MediaError, match=r"is no data URL|is not valid base64|is a URL, and this endpoint takes none"
    ):
        read_source(value, 10_000_000)


@given(st.text("ABC=+", max_size=24))
def test_base64_in_several_pieces_is_read_as_strictly_as_in_one(text: str) -> None:
    try:
        whole: bytes | None = binascii.a2b_base64(text, strict_mode=True) if len(text) % 4 == 0 else None
    except ValueError:
        whole = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("schemas.media.source.PIECE", 3)
        try:
            pieced: bytes | None = read_source(text, 100)
        except MediaError:
            pieced = None
        assert pieced == (whole or None)
        if whole:
            assert data_url(whole, "a/b") == "data:a/b;base64," + base64.b64encode(whole).decode()


@pytest.mark.parametrize("value", ["", b"", "data:image/png;base64,", "=="])
def test_nothing_is_refused(value: str | bytes) -> None:
    with pytest.raises(MediaError, match=r"is empty|is not valid base64"):
        read_source(value, 100)


@pytest.mark.parametrize("value", [DATA, TEXT, f"data:image/png;base64,{TEXT}"])
def test_the_size_is_counted_in_bytes_of_the_file(value: str | bytes) -> None:
    assert read_source(value, len(DATA)) == DATA
    with pytest.raises(MediaError) as caught:
        read_source(value, len(DATA) - 1)
    assert caught.value.problems == [
        f"its size of {len(DATA)} bytes is too large: at most {len(DATA) - 1} allowed"
    ]


def test_a_file_that_is_too_large_is_not_decoded() -> None:
    with pytest.raises(MediaError, match="too large"):
        read_source("*" * 1000, 100)
