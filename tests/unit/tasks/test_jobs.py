"""Jobs and the names of their queues."""

import json

import pytest

from tasks.celery import model_queue, queue_name, task_queue
from tasks.jobs import Job, Priority

JOB = Job("a", "echo", "echo_cpu", {"text": "x"}, "me", 1.0, 2.0, 3.0)


def wire(**changes):
    return json.loads(json.dumps(JOB.to_wire())) | changes


def test_job_of_an_older_version_has_normal_priority_and_unknown_names_are_left_out():
    old = wire(color="red")
    del old["priority"]
    assert Job.from_wire(old) == JOB
    assert Job.from_wire(wire(priority="bulk")).priority is Priority.BULK


def test_unknown_priority_is_an_error():
    with pytest.raises(ValueError, match="urgent"):
        Job.from_wire(wire(priority="urgent"))


@pytest.mark.parametrize("priority", Priority)
@pytest.mark.parametrize("queue", ["sd_gpu", "a.b", "high"])
def test_queue_of_a_priority_leads_back_to_its_model_queue(queue, priority):
    name = queue_name(queue, priority)
    assert model_queue(name) == queue
    assert task_queue(queue, priority).routing_key == name


def test_normal_jobs_wait_in_the_queue_of_the_models_name():
    assert [queue_name("sd_gpu", p) for p in Priority] == ["sd_gpu.high", "sd_gpu", "sd_gpu.bulk"]
