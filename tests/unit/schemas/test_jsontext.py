"""JSON as clients write it."""

from __future__ import annotations

import io
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.jsontext import MOST_SIGNS, BadJson, read_json

SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text()
VALUES = st.recursive(
    SCALARS | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(value=VALUES, ascii=st.booleans())
def test_what_json_writes_is_read(value: Any, ascii: bool) -> None:
    assert read_json(json.dumps(value, ensure_ascii=ascii).encode(), 100) == value


@given(
    st.binary(max_size=200) | st.text(alphabet='{}[]:,"0123456789.eE+-tfn \\u', max_size=60).map(str.encode)
)
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        value = read_json(raw, 10)
    except BadJson as error:
        assert str(error)
    else:
        assert json.loads(raw) == value or value != value


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff", "is not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "is not UTF-8"),
        (b"NaN", "NaN, which is no JSON number"),
        (b"[-Infinity]", "-Infinity, which is no JSON number"),
        (b'{"a": 1, "b": 2, "a": 1}', "names 'a' more than once"),
        (b'[{"a": {"": 1, "": 2}}]', "names '' more than once"),
        (b'"\\ud800"', "half of a surrogate pair"),
        (b'[{"\\udc00x": 1}]', "half of a surrogate pair"),
        (b"9" * 401, "an integer of 401 digits: at most 400"),
        (b"-" + b"9" * 10_000_000, "at most 400"),
        (b"[" * 4 + b"]" * 4, "at most 3 levels"),
        (b'{"a":' * 4 + b"1" + b"}" * 4, "at most 3 levels"),
        (b"[" * 100_000 + b"]" * 100_000, "at most 3 levels"),
        (b"[" + b"0," * MOST_SIGNS + b"0]", f"holds 1000001 .* at most {MOST_SIGNS}"),
        (b'"' + b"," * (MOST_SIGNS + 1) + b'"', "send large data as a file"),
    ],
)
def test_what_is_refused_is_told_with_its_limit(raw: bytes, reason: str) -> None:
    with pytest.raises(BadJson, match=reason):
        read_json(raw, 3)


def test_a_name_may_stand_in_several_objects_and_a_whole_pair_in_a_string() -> None:
    assert read_json(b'[{"a": "\\ud83d\\ude00"}, {"a": {"a": 1}}]', 3) == [
        {"a": "\U0001f600"},
        {"a": {"a": 1}},
    ]
    assert read_json(b"[[[1]]]", 3) == [[[1]]]


@pytest.mark.parametrize("unit", ["0.5,", '{"a":0},', '"%d":0,'])
def test_what_is_taken_needs_little_memory(unit: str) -> None:
    count = MOST_SIGNS // sum(map(unit.count, ",:[{")) - 2
    inside = "".join(unit % n for n in range(count)) if "%" in unit else unit * count
    raw = f"[{inside}0]".encode() if "%" not in unit else ("{" + inside[:-1] + "}").encode()
    tracemalloc.start()
    read_json(raw, 100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000_000


def test_a_large_body_is_there_twice_at_most() -> None:
    text = "x" * 10_000_000
    tracemalloc.start()
    body = io.BytesIO()
    body.write(json.dumps({"text": text}).encode())
    tracemalloc.reset_peak()
    assert read_json(body, 3) == {"text": text}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert body.closed
    assert peak < 2.3 * len(text)
