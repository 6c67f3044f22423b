"""Large inputs on their way into a job."""

from types import SimpleNamespace
from typing import Any

import pytest

from workers.luggage import LOST, MISPLACED, Luggage
from workers.messages import Item


@pytest.fixture
def luggage() -> Luggage:
    store: Any = SimpleNamespace(texts=lambda names: [None if name == "gone" else name for name in names])
    return Luggage(store)


def test_a_large_input_comes_to_its_place(luggage: Luggage) -> None:
    item = Item(1, "a", "e", {"images": ["small", None]}, blobs=[(["images", 1], "large")])
    (whole,), lost = luggage.fetch([item])
    assert (whole.inputs, whole.blobs, lost) == ({"images": ["small", "large"]}, [], [])


@pytest.mark.parametrize("path", [["other", "x"], ["images", 7], ["images", "x"], ["text", 0], [[]]])
def test_an_input_without_a_place_ends_its_own_job_only(luggage: Luggage, path: list[Any]) -> None:
    inputs = {"text": "hi", "images": ["small"]}
    bad, good = Item(1, "a", "e", inputs, blobs=[(path, "large")]), Item(2, "b", "e", inputs)
    whole, (outcome,) = luggage.fetch([bad, good])
    assert [item.number for item in whole] == [2]
    assert (outcome.number, outcome.error) == (1, MISPLACED)


def test_an_input_that_is_gone_is_told(luggage: Luggage) -> None:
    whole, (outcome,) = luggage.fetch([Item(1, "a", "e", {"text": None}, blobs=[(["text"], "gone")])])
    assert (whole, outcome.error) == ([], LOST)
