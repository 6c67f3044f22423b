"""One batch on one model."""

import pytest

from schemas import load_endpoints
from workers.messages import Item
from workers.models.base import Model
from workers.runner import Runner

ENDPOINT = """
[ENDPOINT]
name = "probe"
[WORKER]
queue = "probe_cpu"
group_by = ["width"]
max_batch_cost = 10
[INPUTS]
text = { type = "string" }
width = { type = "integer" }
[OUTPUTS]
text = { type = "string" }
number = { type = "float" }
[PROGRESS.OUTPUTS]
so_far = { type = "string" }
[SESSION.VARS]
counter = { type = "integer", default = 0 }
"""


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("endpoints")
    (folder / "probe.toml").write_text(ENDPOINT)
    return load_endpoints([folder])["probe"]


class Scripted(Model):
    """Does for each job what its text says, and remembers the batches."""

    def __init__(self):
        self.batches = []

    def predict(self, jobs):
        self.batches.append([job["text"] for job in jobs])
        if any(job["text"] == "raise" for job in jobs):
            raise ValueError("bad job")
        return [self._answer(job) for job in jobs]

    def _answer(self, job):
        if job["text"] == "refuse":
            return KeyError("refused")
        if job["text"] == "nan":
            return {"number": float("nan")}
        if job["text"] == "nonsense":
            return 7
        if job["text"] == "progress":
            job.report(50, so_far="half", hidden="x")
        return {"text": job["text"], "hidden": object(), "counter": 3}


def run(endpoint, texts, model=None, **hooks):
    items = [Item(n, f"job{n}", "probe", {"text": text}) for n, text in enumerate(texts, 1)]
    runner = Runner(endpoint, model or Scripted(), **hooks)
    return runner.outcomes(items, runner.run(items))


def test_each_job_gets_its_declared_outputs_and_its_session_variables(endpoint):
    one, two = run(endpoint, ["a", "b"])
    assert (one.number, one.outputs, one.session_vars) == (1, {"text": "a"}, {"counter": 3})
    assert (two.number, two.outputs, two.error) == (2, {"text": "b"}, None)


def test_job_that_makes_predict_raise_fails_alone(endpoint):
    model = Scripted()
    texts = ["a", "b", "c", "raise", "d", "e", "f", "g"]
    outcomes = run(endpoint, texts, model)
    assert [o.error for o in outcomes] == [None] * 3 + ["ValueError: bad job"] + [None] * 4
    assert [o.outputs["text"] for o in outcomes if not o.error] == [t for t in texts if t != "raise"]
    assert len(model.batches) <= 7  # halving, not one by one


def test_all_jobs_may_fail_each_with_its_reason(endpoint):
    assert all(o.error == "ValueError: bad job" for o in run(endpoint, ["raise"] * 3))


def test_exception_given_back_fails_its_job_without_a_second_run(endpoint):
    model = Scripted()
    outcomes = run(endpoint, ["a", "refuse", "b"], model)
    assert [o.error for o in outcomes] == [None, "KeyError: 'refused'", None]
    assert len(model.batches) == 1


def test_output_that_cannot_be_encoded_fails_its_job_and_is_named(endpoint):
    bad, good = run(endpoint, ["nan", "a"])
    assert "number" in bad.error and good.error is None


def test_answer_that_is_no_mapping_fails_its_job(endpoint):
    (outcome,) = run(endpoint, ["nonsense"])
    assert outcome.error == "Scripted gave a int, not a mapping"


def test_wrong_number_of_answers_fails_the_batch_with_both_numbers(endpoint):
    class Short(Model):
        def predict(self, jobs):
            return [{}]

    outcomes = run(endpoint, ["a", "b"], Short())
    assert {o.error for o in outcomes} == {"Short.predict gave 1 results for 2 jobs"}


def test_progress_carries_the_declared_partial_outputs(endpoint):
    reports = []
    run(endpoint, ["a", "progress"], report=lambda *report: reports.append(report))
    assert reports == [(2, 50.0, {"so_far": "half"}, [])]


def test_model_sees_which_of_its_jobs_are_canceled(endpoint):
    class Asks(Model):
        def predict(self, jobs):
            return [{"number": float(job.canceled)} for job in jobs]

    outcomes = run(endpoint, ["a", "b"], Asks(), is_canceled=lambda number: number == 2)
    assert [o.outputs["number"] for o in outcomes] == [0.0, 1.0]


@pytest.mark.parametrize(("canceled", "error"), [({1}, None), ({1, 2}, "canceled")])
def test_report_ends_a_batch_that_nobody_wants_any_more_and_no_other(endpoint, canceled, error):
    class Reports(Model):
        def predict(self, jobs):
            for job in jobs:
                job.report(50)
            return [{"text": job["text"]} for job in jobs]

    outcomes = run(endpoint, ["a", "b"], Reports(), is_canceled=lambda number: number in canceled)
    assert [o.error for o in outcomes] == [error] * 2


def test_batch_that_is_short_of_memory_runs_in_halves_and_gives_memory_back_before(endpoint):
    class Large(Scripted):
        released = 0

        def predict(self, jobs):
            if len(jobs) > 1:
                raise MemoryError
            return super().predict(jobs)

        def release_memory(self):
            self.released += 1

    model = Large()
    assert [o.outputs["text"] for o in run(endpoint, ["a", "b", "c"], model)] == ["a", "b", "c"]
    assert model.released == 2  # of three jobs, then of two


def test_jobs_share_a_batch_if_their_inputs_to_group_by_are_equal(endpoint):
    runner = Runner(endpoint, Scripted())

    def group(**inputs):
        return runner.group(Item(1, "job", "probe", inputs))

    assert group(text="a", width=512) == group(text="b", width=512) != group(text="a", width=768)
    assert group(text="a") == group(text="b")


def test_cost_is_the_model_s_and_a_model_that_cannot_tell_gets_the_job_alone(endpoint):
    class Costly(Model):
        def cost(self, job):
            return len(job["text"])

    runner = Runner(endpoint, Costly())
    assert runner.cost(Item(1, "job", "probe", {"text": "four"})) == 4
    assert runner.cost(Item(1, "job", "probe", {})) == float("inf")


def test_error_text_that_utf_8_cannot_carry_is_escaped(endpoint):
    class Bad(Model):
        def predict(self, jobs):
            raise OSError("no file caf\udce9")

    (outcome,) = run(endpoint, ["a"], Bad())
    assert outcome.error == "OSError: no file caf\\udce9"


def test_session_variable_that_is_no_json_fails_its_job(endpoint):
    class Bad(Model):
        def predict(self, jobs):
            return [{"text": "x", "counter": object()} for _ in jobs]

    (outcome,) = run(endpoint, ["a"], Bad())
    assert "session variable" in outcome.error
