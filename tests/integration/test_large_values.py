"""Large inputs and outputs travel by reference: through the store, past broker, worker and pipe."""

from __future__ import annotations

import json

import pytest

from tasks.errors import QueueFull
from tasks.jobs import JobState
from tests.services import wait_until

LARGE = "x" * 2_000_000


def blobs(redis_server) -> list[str]:
    return list(redis_server.client().scan_iter("blob:*"))


def test_large_inputs_reach_the_model_and_large_outputs_the_client(submitter, start_worker, redis_server):
    start_worker("trial_cpu")
    texts = [f"{n}{LARGE}" for n in range(8)]
    results = submitter.results([submitter.submit(text=text) for text in texts])
    assert {r.state for r in results} == {JobState.DONE}
    assert [submitter.outputs(r)["text"] for r in results] == texts
    assert max(len(json.dumps(r.to_wire())) for r in results) < 1000
    assert len(blobs(redis_server)) == 8  # the outputs; the inputs went with their jobs
    lifetimes = [redis_server.client().ttl(name) for name in blobs(redis_server)]
    assert all(0 < lifetime <= 960 for lifetime in lifetimes)


@pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)
def test_message_in_the_queue_is_small(submitter, rabbitmq):
    submitter.submit(text=LARGE)
    with submitter.celery.connection_for_read() as connection:
        message = connection.default_channel.basic_get("trial_cpu")
    assert len(message.body) < 2000


def test_inputs_of_a_job_that_is_canceled_or_refused_are_not_kept(submitter, redis_server):
    job_id = submitter.submit(text=LARGE)
    assert len(blobs(redis_server)) == 1
    submitter.store.cancel(job_id)
    assert blobs(redis_server) == []
    object.__setattr__(submitter.endpoints["trial"], "max_queue_length", 1)
    submitter.submit(text="small")
    with pytest.raises(QueueFull):
        submitter.submit(text=LARGE)
    assert blobs(redis_server) == []


def test_job_whose_inputs_are_gone_fails_with_the_reason(submitter, start_worker, redis_server):
    lost, fine = submitter.submit(text=LARGE), submitter.submit(text="small")
    redis_server.client().delete(*blobs(redis_server))
    start_worker("trial_cpu")
    results = submitter.results([lost, fine])
    assert [r.state for r in results] == [JobState.FAILED, JobState.DONE]
    assert "inputs of this job" in results[0].error


def test_inputs_are_there_again_for_the_next_host_when_one_dies(submitter, start_worker):
    start_worker("trial_cpu")
    poison = submitter.submit(action="kill", text=LARGE)
    good = submitter.submit(text=LARGE)
    results = submitter.results([poison, good])
    assert [r.state for r in results] == [JobState.FAILED, JobState.DONE]
    assert submitter.outputs(results[1])["text"] == LARGE


@pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)
def test_store_that_is_away_while_a_large_output_is_stored_costs_time_only(
    submitter, start_worker, redis_server
):
    start_worker("trial_cpu")
    job_id = submitter.submit(action="sleep", seconds=1.0, text=LARGE)
    wait_until(lambda: submitter.store.get(job_id).state is JobState.PROCESSING, 10, "the job to run")
    redis_server.kill()
    redis_server.start()
    (result,) = submitter.results([job_id])
    assert result.state is JobState.DONE and submitter.outputs(result)["text"] == LARGE
