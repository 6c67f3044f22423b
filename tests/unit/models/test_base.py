from __future__ import annotations

import math
import subprocess
import sys

import pytest

from workers.models import Model, ModelJob
from workers.models.echo import Echo
from workers.models.sleep import Sleep


def test_job_is_a_dict_of_its_inputs():
    job = ModelJob({"text": "hello"}, id="7")

    assert job == {"text": "hello"}
    assert job["text"] == "hello"
    assert job.get("seed") is None
    assert job.id == "7"


def test_job_does_not_change_the_inputs_it_was_made_from():
    inputs = {"text": "hello"}

    ModelJob(inputs)["text"] = "bye"

    assert inputs == {"text": "hello"}


def test_job_without_a_worker_reports_to_nobody_and_is_not_canceled():
    job = ModelJob({})

    job.report(50, text="half")

    assert not job.canceled


@pytest.mark.parametrize(
    ("percent", "reported"), [(-5, 0.0), (0, 0.0), (33.3, 33.3), (100, 100.0), (250, 100.0)]
)
def test_report_clamps_percent(percent, reported):
    reports = []

    ModelJob({}, report=lambda *args: reports.append(args)).report(percent, text="so far")

    assert reports == [(reported, {"text": "so far"})]


@pytest.mark.parametrize("percent", [math.nan, math.inf, -math.inf])
def test_report_refuses_a_percent_that_is_not_finite(percent):
    reports = []

    with pytest.raises(ValueError, match="finite"):
        ModelJob({}, report=lambda *args: reports.append(args)).report(percent)
    assert reports == []


def test_job_asks_each_time_whether_it_is_canceled():
    answers = iter([False, True])
    job = ModelJob({}, is_canceled=lambda: next(answers))

    assert not job.canceled
    assert job.canceled


def test_model_without_predict_says_which_one():
    class Lazy(Model):
        pass

    with pytest.raises(NotImplementedError, match="Lazy"):
        Lazy().predict([ModelJob({})])


def test_model_describes_itself():
    class Named(Model):
        model_label = "Named"
        framework = "PyTorch"

    assert Named().description["model"]["label"] == "Named"
    assert Named().description["model"]["family"] is None
    assert Named().description["framework"] == "PyTorch"


def test_echo_gives_each_job_its_own_text():
    results = Echo().predict([ModelJob({"text": "a"}), ModelJob({"text": "b"})])

    assert results == [{"text": "a"}, {"text": "b"}]


def test_simulated_gpu_takes_a_time_for_the_batch_and_a_little_for_each_item():
    naps = []

    results = Sleep(sleep=naps.append).predict([ModelJob({"text": str(i)}) for i in range(32)])

    assert naps == [pytest.approx(0.052)]
    assert results[31] == {"text": "31", "batch_size": 32}


def test_importing_the_models_imports_no_heavy_library():
    code = (
        "import sys, workers.models.embed, workers.models.text, workers.models.example;"
        "print({'numpy', 'tokenizers', 'safetensors', 'torch', 'celery', 'flask'} & set(sys.modules))"
    )

    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
