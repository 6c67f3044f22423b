"""Large values are taken out of messages and put back."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tasks.blobs import pack, unpack

VALUES = st.dictionaries(
    st.text(max_size=3),
    st.recursive(
        st.none() | st.integers() | st.text(max_size=12),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=12,
    ),
    max_size=4,
)


@given(VALUES)
def test_what_was_packed_is_put_back_as_it_was_and_through_json(values):
    before = json.dumps(values)
    light, blobs, texts = pack(values, large=5)
    assert json.dumps(values) == before
    blobs = json.loads(json.dumps(blobs))
    assert unpack(json.loads(json.dumps(light)), blobs, [texts[name] for _, name in blobs]) == values
    assert all(len(text) > 5 for text in texts.values())


def test_only_long_strings_are_taken_out_wherever_they_stand():
    values = {"a": "x" * 9, "b": [1, {"c": "y" * 9, "d": "short"}]}
    light, blobs, texts = pack(values, large=8)
    assert light == {"a": None, "b": [1, {"c": None, "d": "short"}]}
    assert [path for path, _ in blobs] == [["a"], ["b", 1, "c"]]
    assert sorted(texts.values()) == ["x" * 9, "y" * 9]


def test_small_values_stay_as_they_are():
    values = {"a": "x", "b": [1, 2]}
    assert pack(values) == (values, [], {})
