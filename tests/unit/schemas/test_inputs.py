"""A request's inputs as a whole: everything wrong is reported at once, and nothing else is ever raised."""

from __future__ import annotations

import gc
import math
import weakref
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import RESERVED_INPUTS, Endpoint, InputError, load_endpoints

FILE = """
[ENDPOINT]
name = "everything"
[WORKER]
queue = "q"
[INPUTS]
text = { max_length = 5 }
cut = { max_length = 5, auto_convert = true }
integer = { type = "integer", minimum = 0, maximum = 100, align = 7 }
clamped = { type = "integer", minimum = 10, maximum = 100, align = 8, auto_convert = true }
anything = { type = "integer", auto_convert = true }
float = { type = "float", minimum = 0, maximum = 1, align = 0.1 }
bent = { type = "float", minimum = 0.15, maximum = 0.95, align = 0.1, auto_convert = true }
flag = { type = "bool", auto_convert = true }
choice = { type = "selection", supported = ["a", 1, 2.5, true] }
chosen = { type = "selection", supported = ["a", "b"], auto_convert = true }
json = { type = "json" }
Meta = { type = "json" }
"""
ALL = "text cut integer clamped anything float bent flag choice chosen json Meta"
NAMES = ALL.split()


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Endpoint:
    folder: Path = tmp_path_factory.mktemp("endpoints")
    (folder / "everything.toml").write_text(FILE)
    return load_endpoints([folder])["everything"]


def test_all_errors_come_at_once_and_unknown_parameters_first(everything: Endpoint) -> None:
    with pytest.raises(InputError) as caught:
        everything.load_inputs({"text": "too long", "b": 1, "integer": "1", "a": 2})
    error = caught.value
    assert list(error.errors) == ["b", "a", "text", "integer"]
    assert error.errors["a"] == ["Invalid input parameter(s): a"]
    assert error.messages[0] == "Invalid input parameter(s): b, a"
    assert len(error.messages) == 3
    assert str(error) == " ".join(error.messages)


def test_unknown_parameter_alone_is_refused(everything: Endpoint) -> None:
    with pytest.raises(InputError) as caught:
        everything.load_inputs({"txt": "a"})
    assert caught.value.messages == ["Invalid input parameter(s): txt"]


def test_unknown_parameter_that_is_null_is_absent(everything: Endpoint) -> None:
    assert everything.load_inputs({"txt": None}) == {}


def test_a_flood_of_unknown_parameters_gets_a_small_answer(everything: Endpoint) -> None:
    with pytest.raises(InputError) as caught:
        everything.load_inputs({f"{i}" * 1000: 1 for i in range(1, 5000)})
    assert len(caught.value.errors) <= 100
    assert len(str(caught.value)) < 2000


def test_parameters_named_like_marshmallows_own_attributes_work(everything: Endpoint) -> None:
    assert everything.load_inputs({"Meta": {"a": 1}}) == {"Meta": {"a": 1}}


def test_inputs_stand_in_the_order_of_the_file(everything: Endpoint) -> None:
    assert list(everything.load_inputs({"json": 1, "text": "a", "flag": True})) == ["text", "flag", "json"]


def test_the_request_is_left_as_it_was(everything: Endpoint) -> None:
    raw = {"clamped": 999, "json": None}
    everything.load_inputs(raw)
    assert raw == {"clamped": 999, "json": None}


@pytest.mark.parametrize("raw", [None, [], "text", 3])
def test_inputs_that_are_no_object_are_refused(everything: Endpoint, raw: Any) -> None:
    with pytest.raises(InputError):
        everything.load_inputs(raw)


def test_reserved_names_are_those_of_the_wire() -> None:
    names = {"key", "client_session_auth_key", "wait_for_result", "cancel_on_disconnect", "webhook", "job_id"}
    assert names == RESERVED_INPUTS


NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.integers(-5, 120),
    st.floats(-1, 2),
    st.builds(pow, st.just(10), st.just(5000)),
)
TEXTS = st.one_of(
    st.text(st.characters()), st.sampled_from(["1e999", "nan", "", "[" * 2000, "[1, 2]", "9" * 5000, "yes"])
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.floats().map(str), st.integers().map(str), TEXTS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    raw=st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), VALUES, max_size=6), query=st.booleans()
)
def test_any_request_gives_inputs_within_the_limits_or_an_input_error(
    everything: Endpoint, raw: dict[str, Any], query: bool
) -> None:
    for name in NAMES:
        if name in raw:
            _check(everything, {name: raw[name]}, query)
    _check(everything, raw, query)


def _check(endpoint: Endpoint, raw: dict[str, Any], query: bool) -> None:
    try:
        inputs = endpoint.load_inputs(raw, from_query=query)
    except InputError as error:
        assert error.errors
        assert error.messages
        return
    assert set(inputs) <= set(NAMES)
    for name, value in inputs.items():
        assert _within_limits(name, value), (name, value)


def _within_limits(name: str, value: Any) -> bool:
    if name in ("text", "cut"):
        return type(value) is str and len(value) <= 5
    if name == "integer":
        return type(value) is int and 0 <= value <= 100 and value % 7 == 0
    if name == "clamped":
        return type(value) is int and 10 <= value <= 100 and value % 8 == 0
    if name == "anything":
        return type(value) is int and -(2**63) <= value < 2**64
    if name in ("float", "bent"):
        low, high = (0, 1) if name == "float" else (0.15, 0.95)
        return type(value) is float and low <= value <= high and math.isclose(value * 10, round(value * 10))
    if name == "flag":
        return type(value) is bool
    if name == "choice":
        return value in ("a", 1, 2.5)
    return name in ("json", "Meta") or value in ("a", "b")


def test_refused_inputs_do_not_stay_in_memory(everything: Endpoint) -> None:
    class Large(str):
        """A text that can be watched."""

    text = Large("x" * 1000)
    watched = weakref.ref(text)
    gc.disable()  # cycles would stay until it runs, which may be long
    try:
        with pytest.raises(InputError):
            everything.load_inputs({"unknown": 1, "integer": text})
        del text
        assert watched() is None
    finally:
        gc.enable()
