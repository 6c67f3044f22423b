"""A worker with a continuous model: jobs join and leave while others run."""

from __future__ import annotations

import time

import pytest

from tasks.jobs import JobState
from tests.services import wait_until

pytestmark = pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)


@pytest.fixture
def long_job(submitter, start_worker):
    """A job of about 6 s that runs already."""
    start_worker("steps_cpu")
    job_id = submitter.submit("steps", steps=500)
    wait_until(lambda: submitter.store.get(job_id).state is JobState.PROCESSING, 10, "the long job to run")
    return job_id


def test_twenty_short_jobs_admitted_after_a_long_one_finish_before_it(submitter, long_job):
    short = submitter.results([submitter.submit("steps", steps=5) for _ in range(20)])
    assert submitter.store.get(long_job).state is JobState.PROCESSING
    (long,) = submitter.results([long_job])
    assert {r.state for r in [*short, long]} == {JobState.DONE}
    assert max(r.finished for r in short) < long.finished
    assert max(r.outputs["company"] for r in short) == 4  # all slots were in use


def test_each_job_streams_on_its_own(submitter, long_job):
    other = submitter.submit("steps", steps=60)
    seen = {long_job: [], other: []}
    while not submitter.store.get(other).state.terminal:
        for job_id, steps in seen.items():
            steps.append(submitter.store.get(job_id).progress.outputs.get("step", 0))
        time.sleep(0.02)
    for steps in seen.values():
        assert steps == sorted(steps) and len(set(steps)) >= 4
    (result,) = submitter.results([other])
    assert result.outputs["steps"] == 60


def test_canceled_job_leaves_within_a_second_and_the_others_go_on(submitter, long_job):
    other = submitter.submit("steps", steps=150)
    wait_until(lambda: submitter.store.get(other).state is JobState.PROCESSING, 10, "the other job to run")
    submitter.store.cancel(long_job)
    wait_until(lambda: submitter.store.get(long_job).state is JobState.CANCELED, 1, "the job to end")
    (result,) = submitter.results([other])
    assert result.state is JobState.DONE and result.outputs["steps"] == 150


@pytest.mark.parametrize(("action", "error"), [("raise", "told to raise"), ("kill", "SIGKILL")])
def test_job_that_breaks_a_step_fails_and_its_company_does_not(submitter, long_job, action, error):
    good = [submitter.submit("steps", steps=20) for _ in range(6)]
    bad = submitter.submit("steps", action=action)
    results = submitter.results([*good, bad, long_job])
    assert [r.state for r in results] == [JobState.DONE] * 6 + [JobState.FAILED, JobState.DONE]
    assert error in results[6].error


def test_sigterm_lets_what_runs_end_and_gives_the_rest_back(submitter, start_worker):
    worker = start_worker("steps_cpu")
    ids = [submitter.submit("steps", steps=100) for _ in range(12)]
    wait_until(lambda: submitter.states(ids)[JobState.PROCESSING] == 4, 10, "the slots to fill")
    assert worker.terminate() == 0
    assert submitter.states(ids) == {JobState.DONE: 4, JobState.QUEUED: 8}
    start_worker("steps_cpu")
    assert {r.state for r in submitter.results(ids)} == {JobState.DONE}


def test_model_that_hangs_in_a_step_is_killed_and_only_the_culprit_fails(submitter, start_worker, tmp_path):
    folder = tmp_path / "hasty"
    folder.mkdir()
    text = (submitter.endpoints["steps"].path).read_text().replace("max_runtime = 20 ", "max_runtime = 0.5 ")
    (folder / "steps.toml").write_text(text)
    start_worker("steps_cpu", {"STOKER_ENDPOINTS": str(folder)})
    hung = submitter.submit("steps", action="hang")
    good = submitter.submit("steps")
    results = submitter.results([hung, good])
    assert [r.state for r in results] == [JobState.FAILED, JobState.DONE]
    assert "max_runtime" in results[0].error
