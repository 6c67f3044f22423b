"""What each type takes, refuses and converts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas import Endpoint, InputError, load_endpoints

NAN, INF = float("nan"), float("inf")
ABSENT = object()


@pytest.fixture
def endpoint(tmp_path: Path) -> Callable[[str], Endpoint]:
    """Gives a function that makes an endpoint of lines of its INPUTS table."""

    def make(inputs: str) -> Endpoint:
        head = '[ENDPOINT]\nname = "it"\n[WORKER]\nqueue = "q"\n[INPUTS]\n'
        (tmp_path / "it.toml").write_text(head + inputs)
        return load_endpoints([tmp_path])["it"]

    return make


def load(endpoint: Endpoint, value: Any, from_query: bool = False) -> Any:
    return endpoint.load_inputs({"x": value}, from_query=from_query).get("x", ABSENT)


def same(a: object, b: object) -> bool:
    return type(a) is type(b) and a == b


def label(part: Any) -> str:
    # pytest's own way fails for an integer of thousands of digits.
    return part[:60] if isinstance(part, str) and part.isascii() else type(part).__name__


TAKEN = [
    ('type = "string"', "hallo", "hallo"),
    ('type = "str"', "", ""),
    ("", "string is the default type", "string is the default type"),
    ('type = "string", max_length = 3', "abc", "abc"),
    ('type = "string", max_length = 0', "", ""),
    ('type = "string", max_length = 3, auto_convert = true', "abcdef", "abc"),
    ('type = "string", max_length = 0, auto_convert = true', "abc", ""),
    ('type = "string", auto_convert = true', 3, "3"),
    ('type = "string", auto_convert = true', 2.5, "2.5"),
    ('type = "string", auto_convert = true', True, "true"),
    ('type = "integer"', 3, 3),
    ('type = "int"', 3.0, 3),
    ('type = "integer"', -(2**63), -(2**63)),
    ('type = "integer"', 2**64 - 1, 2**64 - 1),
    ('type = "integer", minimum = 0', 0, 0),
    ('type = "integer", max = 0', -5, -5),
    ('type = "integer", minimum = 1.0, maximum = 3.0', 3, 3),
    ('type = "integer", auto_convert = true', 2.9, 3),
    ('type = "integer", auto_convert = true', -2.9, -3),
    ('type = "integer", auto_convert = true', "3", 3),
    ('type = "integer", auto_convert = true', " 2.9 ", 3),
    ('type = "integer", auto_convert = true, max = 0', 7, 0),
    ('type = "integer", auto_convert = true, min = 0', -7, 0),
    ('type = "integer", auto_convert = true, maximum = 10', 10**5000, 10),
    ('type = "integer", auto_convert = true', 1e300, 2**64 - 1),
    ('type = "integer", auto_convert = true, align = 8', 23, 16),
    ('type = "integer", auto_convert = true, align = 8', -3, -8),
    ('type = "integer", auto_convert = true, align = 8, minimum = 20', 21, 24),
    ('type = "integer", auto_convert = true, align = 8, minimum = 20', 1, 24),
    ('type = "integer", auto_convert = true, align = 8, maximum = 20', 99, 16),
    ('type = "float"', 3, 3.0),
    ('type = "float"', 1e308, 1e308),
    ('type = "float", minimum = 0, maximum = 1', 0, 0.0),
    ('type = "float", align = 0.1', 0.3, 0.3),
    ('type = "float", align = 0.7, minimum = 2.1', 2.1, 2.1),
    ('type = "float", auto_convert = true', "2.5", 2.5),
    ('type = "float", auto_convert = true, max = 1', 7, 1.0),
    ('type = "float", auto_convert = true, align = 0.1', 0.37, 0.3),
    ('type = "float", auto_convert = true, align = 0.7, minimum = 2.1', 2.5, 2.1),
    ('type = "float", auto_convert = true, align = 0.1', 1e308, 1e308),
    ('type = "bool"', True, True),
    ('type = "boolean"', False, False),
    *[
        ('type = "bool", auto_convert = true', word, True)
        for word in ("true", "TRUE", "1", "yes", "on", 1, 1.0)
    ],
    *[('type = "bool", auto_convert = true', word, False) for word in ("false", "0", "no", " Off ", 0, 0.0)],
    ('type = "selection", supported = ["a", "b"]', "b", "b"),
    ('type = "selection", supported = [1, 2.5]', 2.5, 2.5),
    ('type = "selection", supported = [1, 2]', 2.0, 2),
    ('type = "selection", supported = [true, false]', True, True),
    ('type = "selection", supported = ["a", "b"], auto_convert = true', "c", "a"),
    ('type = "selection", supported = ["a", "b"], auto_convert = true', {"c": 1}, "a"),
    ('type = "selection", supported = ["a", "b"], default = "b", auto_convert = true', 7, "b"),
    ('type = "json"', '{"a": [1, null, "b"]}', {"a": [1, None, "b"]}),
    ('type = "json"', {"a": [1, None]}, {"a": [1, None]}),
    ('type = "json"', [1.5], [1.5]),
    ('type = "json"', 3, 3),
    ('type = "json"', False, False),
    ('type = "json"', "", None),
    ('type = "json"', "null", None),
    ('type = "json"', "[" * 100 + "]" * 100, json.loads("[" * 100 + "]" * 100)),
]

REFUSED = [
    ('type = "string"', 3),
    ('type = "string"', True),
    ('type = "string"', ["a"]),
    ('type = "string"', "\ud800"),
    ('type = "string", max_length = 3', "abcd"),
    ('type = "string", max_length = 0', "a"),
    ('type = "string", auto_convert = true', {"a": 1}),
    ('type = "string", auto_convert = true', NAN),
    ('type = "string", auto_convert = true', 10**5000),
    ('type = "integer"', True),
    ('type = "integer"', 2.9),
    ('type = "integer"', "3"),
    ('type = "integer"', [3]),
    ('type = "integer"', NAN),
    ('type = "integer"', 2**64),
    ('type = "integer"', 10**5000),
    ('type = "integer", max = 0', 1),
    ('type = "integer", min = 0', -1),
    ('type = "integer", align = 8', 9),
    ('type = "integer", auto_convert = true', True),
    ('type = "integer", auto_convert = true', "three"),
    ('type = "integer", auto_convert = true', "1_000"),
    ('type = "integer", auto_convert = true', "٣"),
    ('type = "integer", auto_convert = true', "9" * 5000),
    ('type = "integer", auto_convert = true, maximum = 3', "nan"),
    ('type = "integer", auto_convert = true, maximum = 3', INF),
    ('type = "integer", auto_convert = true, maximum = 3', "1e999"),
    ('type = "float"', True),
    ('type = "float"', "2.5"),
    ('type = "float"', NAN),
    ('type = "float"', INF),
    ('type = "float"', -INF),
    ('type = "float"', 10**400),
    ('type = "float", max = 0', 0.1),
    ('type = "float", min = 0.0', -0.1),
    ('type = "float", align = 0.1', 0.35),
    ('type = "float", auto_convert = true, minimum = 0, maximum = 1', "nan"),
    ('type = "float", auto_convert = true, minimum = 0, maximum = 1', NAN),
    ('type = "float", auto_convert = true, minimum = 0, maximum = 1', INF),
    ('type = "bool"', 1),
    ('type = "bool"', "true"),
    ('type = "bool", auto_convert = true', 2),
    ('type = "bool", auto_convert = true', "maybe"),
    ('type = "bool", auto_convert = true', []),
    ('type = "selection", supported = ["a", "b"]', "c"),
    ('type = "selection", supported = ["a", "b"]', ["a"]),
    ('type = "selection", supported = [1, 2]', True),
    ('type = "selection", supported = [1, 2]', "1"),
    ('type = "selection", supported = [1, 2]', 10**5000),
    ('type = "json"', "{'a': 1}"),
    ('type = "json"', '{"a": NaN}'),
    ('type = "json"', "[1e999]"),
    ('type = "json"', {"a": INF}),
    ('type = "json"', [NAN, 1.0]),
    ('type = "json"', [NAN]),
    ('type = "json"', "[" * 101 + "]" * 101),
    ('type = "json"', "[" * 100_000),
    ('type = "json"', "9" * 5000),
    ('type = "json"', [10**30]),
    ('type = "json"', '["\\ud800"]'),
]

FROM_QUERY = [
    ('type = "string"', "3", "3"),
    ('type = "integer"', "3", 3),
    ('type = "integer"', "-3", -3),
    ('type = "integer"', "3.0", 3),
    ('type = "float"', "2.5e-1", 0.25),
    ('type = "float"', "3", 3.0),
    ('type = "bool"', "true", True),
    ('type = "bool"', "Off", False),
    ('type = "bool"', "1", True),
    ('type = "selection", supported = ["a", "b"]', "a", "a"),
    ('type = "selection", supported = [1, 2]', "2", 2),
    ('type = "selection", supported = [true, false]', "false", False),
    ('type = "json"', "[1, 2]", [1, 2]),
    ('type = "json"', "", None),
]

REFUSED_FROM_QUERY = [
    ('type = "integer"', "2.9"),
    ('type = "integer"', "abc"),
    ('type = "integer"', ""),
    ('type = "integer", maximum = 3', "4"),
    ('type = "float"', "nan"),
    ('type = "float"', "1e999"),
    ('type = "bool"', "2"),
    ('type = "selection", supported = [1, 2]', "3"),
    ('type = "json"', "{"),
]


@pytest.mark.parametrize(("rules", "value", "expected"), TAKEN, ids=label)
def test_value_within_the_rules_is_taken(endpoint: Any, rules: str, value: Any, expected: Any) -> None:
    assert same(load(endpoint(f"x = {{ {rules} }}"), value), expected)


@pytest.mark.parametrize(("rules", "value"), REFUSED, ids=label)
def test_value_outside_the_rules_is_refused_by_name(endpoint: Any, rules: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        load(endpoint(f"x = {{ {rules} }}"), value)
    assert list(caught.value.errors) == ["x"]
    assert all("x" in text for text in caught.value.messages)


@pytest.mark.parametrize(("rules", "value", "expected"), FROM_QUERY, ids=label)
def test_query_text_is_read_by_type(endpoint: Any, rules: str, value: str, expected: Any) -> None:
    assert same(load(endpoint(f"x = {{ {rules} }}"), value, from_query=True), expected)


@pytest.mark.parametrize(("rules", "value"), REFUSED_FROM_QUERY, ids=label)
def test_query_text_that_does_not_fit_is_refused(endpoint: Any, rules: str, value: str) -> None:
    with pytest.raises(InputError):
        load(endpoint(f"x = {{ {rules} }}"), value, from_query=True)


@pytest.mark.parametrize("given", [{}, {"x": None}])
def test_null_is_the_same_as_absent(endpoint: Any, given: dict[str, Any]) -> None:
    assert endpoint('x = { type = "integer" }').load_inputs(given) == {}
    assert endpoint('x = { type = "integer", default = 0 }').load_inputs(given) == {"x": 0}
    with pytest.raises(InputError) as caught:
        endpoint('x = { type = "integer", required = true }').load_inputs(given)
    assert caught.value.errors == {"x": ["Missing required argument: x"]}


def test_a_required_parameter_needs_a_value_even_with_a_default(endpoint: Any) -> None:
    with pytest.raises(InputError):
        endpoint('x = { required = true, default = "a" }').load_inputs({})


def test_empty_json_text_counts_as_given(endpoint: Any) -> None:
    assert endpoint('x = { type = "json", required = true }').load_inputs({"x": ""}) == {"x": None}


def test_a_default_is_converted_like_a_value(endpoint: Any) -> None:
    inputs = endpoint(
        'x = { type = "float", default = 1 }\ny = { type = "json", default = "[1]" }'
    ).load_inputs({})
    assert same(inputs["x"], 1.0)
    assert inputs["y"] == [1]


def test_a_changed_default_object_does_not_reach_the_next_request(endpoint: Any) -> None:
    it = endpoint('x = { type = "json", default = { a = [1] } }')
    it.load_inputs({})["x"]["a"].append(2)
    assert it.load_inputs({}) == {"x": {"a": [1]}}


def test_limit_texts_name_field_value_and_limit(endpoint: Any) -> None:
    it = endpoint(
        'steps = { type = "integer", minimum = 1, maximum = 50, align = 2 }\np = { max_length = 3 }'
    )
    with pytest.raises(InputError) as caught:
        it.load_inputs({"steps": 99, "p": "abcde"})
    assert caught.value.messages == [
        "Parameter steps = 99 is too high. Max supported value for steps on this endpoint is 50!",
        "Parameter steps = 99 is not aligning with 2: it must be a multiple of 2!",
        "Length 5 of argument p='abcde' exceeds the maximum length (3)!",
    ]
    with pytest.raises(InputError, match=r"steps = 0 is too low\. Min supported value .* is 1!"):
        it.load_inputs({"steps": 0})
    with pytest.raises(InputError, match=r"type steps='9'\. Expected: integer but got string!"):
        it.load_inputs({"steps": "9"})


def test_selection_text_lists_what_is_supported(endpoint: Any) -> None:
    with pytest.raises(InputError, match=r"x = 'c' is not in supported values \['a', 'b'\]!"):
        load(endpoint('x = { type = "selection", supported = ["a", "b"] }'), "c")


@pytest.mark.parametrize("type_word", ["string", "integer", "float", "bool", "json"])
@pytest.mark.parametrize(
    "value", ["v" * 10_000, ["v" * 10_000] * 1000, {"v" * 10_000: 1}, 10**5000, [10**5000]], ids=label
)
def test_error_texts_never_repeat_a_long_value(endpoint: Any, type_word: str, value: Any) -> None:
    rules = f'type = "{type_word}"' + (", max_length = 5" if type_word == "string" else "")
    try:
        load(endpoint(f"x = {{ {rules} }}"), value)
    except InputError as error:
        assert max(map(len, error.messages)) < 220
        assert "v" * 61 not in str(error)


def test_floats_are_aligned_as_written(endpoint: Any) -> None:
    it = endpoint('x = { type = "float", align = 0.1, minimum = 0, maximum = 1 }')
    for tenths in range(11):
        assert math.isclose(load(it, tenths / 10), tenths / 10)
