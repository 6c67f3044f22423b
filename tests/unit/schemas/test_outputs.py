"""What a model gives -> what JSON can carry."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Any

import pytest

from schemas import Endpoint, OutputError, load_endpoints

FILE = """
[ENDPOINT]
name = "it"
[WORKER]
queue = "q"
[OUTPUTS]
text = { type = "string" }
vector = { type = "json" }
items = { type = "json" }
image = { type = "image", format = "JPEG", color_space = "RGB" }
images = { type = "image_list", format = "JPEG", size = [256, 256] }
sound = { type = "audio" }
error = { type = "string" }
[PROGRESS.OUTPUTS]
text = { type = "string" }
"""


@pytest.fixture
def it(tmp_path: Path) -> Endpoint:
    (tmp_path / "it.toml").write_text(FILE)
    return load_endpoints([tmp_path])["it"]


class Array:
    """Stands for an array or scalar of numpy, or a tensor of torch."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def tolist(self) -> Any:
        if isinstance(self.values, Exception):
            raise self.values
        return self.values


class Color(enum.IntEnum):
    RED = 1


def test_only_declared_outputs_are_kept(it: Endpoint) -> None:
    assert it.dump_outputs({"text": "a", "secret": "b", "metrics": {}}) == {"text": "a"}
    assert it.dump_progress_outputs({"text": "a", "vector": [1]}) == {"text": "a"}


def test_missing_outputs_are_left_out_and_null_stays(it: Endpoint) -> None:
    assert it.dump_outputs({}) == {}
    assert it.dump_outputs({"text": None}) == {"text": None}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Array([[1.5, 2.5]]), [[1.5, 2.5]]),
        (Array(3), 3),
        ((1, 2), [1, 2]),
        ({"a": Array([1]), "b": (Array(2.0),)}, {"a": [1], "b": [2.0]}),
        ([0.5] * 1000, [0.5] * 1000),
        (Color.RED, 1),
        ([], []),
        (True, True),
    ],
)
def test_arrays_and_tuples_become_lists(it: Endpoint, value: Any, expected: Any) -> None:
    dumped = it.dump_outputs({"vector": value})["vector"]
    assert dumped == expected
    assert json.loads(json.dumps(dumped)) == expected


def test_numpy_values_become_python_values(it: Endpoint) -> None:
    numpy = pytest.importorskip("numpy")
    values = {"vector": numpy.arange(4, dtype="float32").reshape(2, 2), "items": numpy.int64(3)}
    assert it.dump_outputs(values) == {"vector": [[0.0, 1.0], [2.0, 3.0]], "items": 3}
    assert type(it.dump_outputs({"vector": numpy.float64(0.5)})["vector"]) is float
    with pytest.raises(OutputError, match="vector"):
        it.dump_outputs({"vector": numpy.array([numpy.nan])})


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        [float("inf")],
        [1.0, float("nan")],
        [1, {"a": float("nan")}],
        Array([float("nan")]),
        Array(RuntimeError("on the GPU")),
        b"bytes",
        object(),
        {1, 2},
        {1: 2},
        2**64,
        "\ud800",
        deep(150),
        deep(5000),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_json_cannot_carry_is_named(it: Endpoint, value: Any) -> None:
    with pytest.raises(OutputError) as caught:
        it.dump_outputs({"text": "a", "vector": value})
    assert caught.value.field == "vector"
    assert str(caught.value).startswith('Output "vector": ')


def test_an_output_that_holds_itself_is_refused(it: Endpoint) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(OutputError, match="nested too deeply"):
        it.dump_outputs({"vector": loop})


def test_an_output_named_like_a_method_of_dict_is_not_invented(it: Endpoint) -> None:
    assert it.dump_outputs({"text": "a"}) == {"text": "a"}
    assert it.dump_outputs({"items": [1]}) == {"items": [1]}


def test_media_pass_as_data_urls(it: Endpoint) -> None:
    values = {"image": "data:image/jpeg;base64,AA", "images": ["data:image/jpeg;base64,AA"], "sound": None}
    assert it.dump_outputs(values) == values


@pytest.mark.parametrize("values", [{"image": 3}, {"image": ["data:"]}, {"images": "data:"}, {"images": [3]}])
def test_media_of_another_type_are_refused(it: Endpoint, values: dict[str, Any]) -> None:
    with pytest.raises(OutputError, match="data URL"):
        it.dump_outputs(values)
