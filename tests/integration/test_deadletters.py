"""Messages that no worker will run: their jobs fail, clients are told, operators let them run again."""

from __future__ import annotations

import json
from contextlib import closing

import pytest
from click.testing import CliRunner

from stoker import main
from tasks.celery import DEAD_LETTERS, task_queue
from tasks.jobs import Job, JobState
from tests.conftest import Broker
from tests.services import RabbitMQ, amqp_connection, wait_until
from tests.services.submitter import Submitter

ON_RABBITMQ = pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)
SECRET = "what the client wrote"
NEWER = """
[ENDPOINT]
name = "newer"
[WORKER]
queue = "trial_cpu"
model = "tests.data.models:Trial"
[INPUTS]
action = { type = "string", default = "echo" }
text = { type = "string" }
[OUTPUTS]
text = { type = "string" }
"""


@pytest.fixture
def stoker(stoker_env):
    """Run a command of `stoker`; it must succeed."""

    def run(*arguments, **env):
        result = CliRunner().invoke(main, arguments, env=stoker_env | env)
        assert result.exit_code == 0, result.output
        return result.output

    return run


@pytest.fixture
def newer_endpoints(stoker_env, tmp_path):
    """STOKER_ENDPOINTS with an endpoint more than those of `stoker_env`."""
    folder = tmp_path / "newer"
    folder.mkdir()
    (folder / "newer.toml").write_text(NEWER)
    return f"{stoker_env['STOKER_ENDPOINTS']}:{folder}"


def listed(stoker):
    return json.loads(stoker("jobs", "list", "--json"))


def publish(submitter, body, queue="trial_cpu", **properties):
    """Put a message into a queue."""
    with submitter.celery.connection_for_write() as connection:
        connection.Producer().publish(body, routing_key=queue, **properties)


def deliver_in_vain(broker: Broker, queue: str, times: int = 21):
    """Take the only message of a queue, again and again, and give it back."""
    with closing(amqp_connection(broker.url)) as connection:
        channel = connection.channel()
        for _ in range(times):
            message = wait_until(lambda: channel.basic_get(queue), 5, "the message", interval=0.005)
            channel.basic_reject(message.delivery_tag, requeue=True)


@ON_RABBITMQ
def test_job_that_nobody_answers_fails_and_runs_when_it_is_requeued(broker, submitter, start_worker, stoker):
    start_worker("echo_cpu")  # of another queue: every worker reads the letters
    with submitter.hold(text="hello") as (job, waiter):
        deliver_in_vain(broker, "trial_cpu")
        result = waiter.wait(15)
    assert result.state is JobState.FAILED and "21 times" in result.error
    (letter,) = listed(stoker)
    assert (letter["id"], letter["endpoint"], letter["queue"]) == (job, "trial", "trial_cpu")
    assert (letter["reason"], letter["count"]) == ("delivery_limit", 1)
    assert stoker("jobs", "requeue", job) == f"{job} queued\n"
    assert submitter.store.get(job).queue_position == 1
    start_worker("trial_cpu")
    (result,) = submitter.results([job])
    assert result.state is JobState.DONE and result.outputs["text"] == "hello"
    assert listed(stoker) == []


def test_job_of_an_endpoint_that_the_worker_does_not_know(stoker_env, newer_endpoints, start_worker, stoker):
    old = start_worker("trial_cpu")
    submitter = Submitter(stoker_env | {"STOKER_ENDPOINTS": newer_endpoints})
    with closing(submitter):
        with submitter.hold("newer", text=SECRET) as (job, waiter):
            result = waiter.wait(15)
        assert result.state is JobState.FAILED
        assert "trial_cpu does not know endpoint newer: give it the endpoint files" in result.error
        assert submitter.call(text="known").state is JobState.DONE
        assert f"{old.hostname} does not know" in old.log() and SECRET not in old.log()
        assert [letter["id"] for letter in listed(stoker)] == [job]
        assert old.terminate() == 0
        start_worker("trial_cpu", {"STOKER_ENDPOINTS": newer_endpoints})
        stoker("jobs", "requeue", "--all", STOKER_ENDPOINTS=newer_endpoints)
        (result,) = submitter.results([job])
    assert result.state is JobState.DONE and result.outputs["text"] == SECRET


def test_messages_that_cannot_run_harm_nobody(submitter, start_worker, stoker):
    worker = start_worker("trial_cpu")
    wire = Job("good", "trial", "trial_cpu", {"text": SECRET}, "me", 0, 0, 0).to_wire()
    bodies = {
        "no-json": SECRET,
        "number": "5",
        "object": json.dumps({"text": SECRET}),
        "no-args": json.dumps([[], {}, {}]),
        "no-deadline": json.dumps([[wire | {"id": "no-deadline", "deadline": None}], {}, {}]),
    }
    for message_id, body in bodies.items():
        headers = {"task": "infer.trial", "id": message_id}
        publish(submitter, body, content_type="application/json", headers=headers)
    publish(submitter, f"{SECRET}!", content_type="text/plain")
    publish(submitter, json.dumps([[wire], {}, {}]), content_type="application/json")
    publish(submitter, SECRET, content_type="application/json", headers={"compression": "application/x-gzip"})
    wire["id"] = "no-eta"
    headers = {"task": "infer.trial", "id": "no-eta", "eta": "soon"}
    publish(submitter, json.dumps([[wire], {}, {}]), content_type="application/json", headers=headers)
    letters = wait_until(lambda: len(found := listed(stoker)) == 9 and found, 15, "all letters")
    assert {letter["id"] for letter in letters} > {*bodies, "good", "no-eta"}
    assert {(letter["queue"], letter["reason"]) for letter in letters} == {("trial_cpu", "rejected")}
    assert submitter.call(text="next").state is JobState.DONE
    assert SECRET not in worker.log() and worker.returncode is None


def test_job_that_the_worker_cannot_read_fails_at_once(submitter, start_worker, stoker, broker):
    with submitter.hold(text=SECRET) as (job, waiter):
        with submitter.celery.connection_for_write() as connection:  # as an API of another version writes it
            message = task_queue("trial_cpu").bind(connection.default_channel).get()
            message.ack()
        body = message.payload
        del body[0][0]["owner"]
        publish(submitter, json.dumps(body), content_type="application/json", headers=message.headers)
        start_worker("trial_cpu")
        result = waiter.wait(15)
    assert result.state is JobState.FAILED and "of one version" in result.error
    assert [letter["id"] for letter in listed(stoker)] == [job]


@ON_RABBITMQ
def test_letter_waits_for_the_store_and_outlives_its_reader(
    broker, redis_server, submitter, start_worker, stoker
):
    reader = start_worker("echo_cpu")
    job = submitter.submit(text="hello")
    redis_server.kill()
    deliver_in_vain(broker, "trial_cpu")
    wait_until(lambda: "dead letters wait for the store" in reader.log(), 15, "the letter to be tried")
    reader.kill9()
    redis_server.start()
    start_worker("echo_cpu")
    (result,) = submitter.results([job])
    assert result.state is JobState.FAILED
    assert [letter["id"] for letter in listed(stoker)] == [job]


@ON_RABBITMQ
def test_job_that_a_policy_of_the_broker_ends_fails(rabbitmq, broker, submitter, start_worker):
    if not isinstance(rabbitmq, RabbitMQ):
        pytest.skip("the broker of STOKER_TEST_BROKER is not ours to configure")
    start_worker("echo_cpu")
    vhost = broker.url.rpartition("/")[2]
    rabbitmq.ctl("set_policy", "--vhost", vhost, "--apply-to", "queues", "p", "^trial", '{"message-ttl": 1}')
    with submitter.hold(text="hello") as (_, waiter):
        result = waiter.wait(15)
    assert result.state is JobState.FAILED
    assert "waited longer than the broker's policy for queue trial_cpu" in result.error


@ON_RABBITMQ
def test_letter_of_a_job_that_still_runs_waits_for_its_worker(
    rabbitmq, broker, submitter, start_worker, redis_server
):
    reader, worker = start_worker("echo_cpu"), start_worker("trial_cpu")
    job = submitter.submit(action="sleep", seconds=60)
    wait_until(lambda: submitter.store.get(job).state is JobState.PROCESSING, 10, "the job to run")
    with redis_server.client() as client:
        deadline = float(client.hget(f"job:{job}", "deadline"))
    body = json.dumps([[Job(job, "trial", "trial_cpu", {}, "me", 0, deadline, 60).to_wire()], {}, {}])
    publish(submitter, body, queue=DEAD_LETTERS, content_type="application/json")
    wait_until(lambda: rabbitmq.queue_length(DEAD_LETTERS, broker.url) == 0, 5, "the letter to be read")
    assert submitter.store.get(job).state is JobState.PROCESSING
    worker.kill9()  # the job's lease ends after 10 s
    (result,) = submitter.results([job], timeout=20)
    assert result.state is JobState.FAILED and reader.returncode is None
