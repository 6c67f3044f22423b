"""The messages of jobs are those that Celery itself would send."""

from __future__ import annotations

import json
from typing import Any

import amqp
import pytest
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.json import dumps

from schemas import Endpoint, load_endpoints
from tasks.celery import create_celery, queue_name
from tasks.envelope import CONTENT_ENCODING, CONTENT_TYPE, Envelope, Message
from tasks.jobs import Job, Priority
from tasks.settings import Settings
from tests.services import ROOT

ENDPOINT = load_endpoints([ROOT / "tests" / "data" / "endpoints"])["echo"]
SILENT = {
    **dict.fromkeys(["shadow", "eta", "expires", "group", "group_index", "parent_id", "stamped_headers"]),
    "retries": 0,
    "replaced_task_nesting": 0,
    "timelimit": [None, None],
    "stamps": {},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


class Recorder:
    """Takes what `apply_async` publishes."""

    def __init__(self, celery: Celery) -> None:
        self.connection = celery.connection_for_write()
        self.body: Any = None
        self.sent: dict[str, Any] = {}

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def publish(self, body: Any, **sent: Any) -> None:
        self.body, self.sent = body, sent


@pytest.fixture(scope="module")
def celery() -> Celery:
    settings = Settings.from_env(
        {"STOKER_BROKER_URL": "amqp://nowhere", "STOKER_STORE_URL": "redis://nowhere"}
    )
    return create_celery(settings, {ENDPOINT.name: ENDPOINT})


def a_job(endpoint: Endpoint = ENDPOINT, **changes: Any) -> Job:
    told: dict[str, Any] = {
        "id": "0b0",
        "endpoint": endpoint.name,
        "queue": endpoint.queue,
        "inputs": {"text": "secret"},
    }
    return Job(**told | {"owner": "me", "accepted": 1.5, "deadline": 2.5, "result_lifetime": 60.0} | changes)


def by_celery(celery: Celery, job: Job) -> Recorder:
    """Publish a job by Celery's own means."""
    recorder = Recorder(celery)
    celery.tasks[ENDPOINT.task_name].apply_async(
        (job.to_wire(),),
        task_id=job.id,
        queue=queue_name(job.queue, job.priority),
        producer=recorder,
        retry=False,
        argsrepr=f"({job.id},)",
        kwargsrepr="{}",
    )
    return recorder


def ours(celery: Celery, job: Job) -> Message:
    return Envelope(celery, ENDPOINT.task_name).message(job)


@pytest.mark.parametrize("priority", Priority)
def test_a_message_is_that_of_apply_async(celery: Celery, priority: Priority) -> None:
    job = a_job(priority=priority, reply_to="replies:1", session="s")
    expected, message = by_celery(celery, job), ours(celery, job)
    silent = expected.sent["headers"].keys() - message.headers.keys()
    assert {name: expected.sent["headers"][name] for name in silent} == SILENT
    assert message.headers.items() <= expected.sent["headers"].items()
    assert (expected.sent["exchange"], expected.sent["routing_key"]) == ("", message.queue)
    told = {name: expected.sent[name] for name in message.properties}
    assert message.properties == told | {"reply_to": ""}  # only Celery's own results need one
    assert (expected.sent["serializer"], CONTENT_TYPE) == ("json", "application/json")
    assert json.loads(message.body) == json.loads(dumps(expected.body))


def test_one_envelope_makes_the_messages_of_many_jobs(celery: Celery) -> None:
    envelope = Envelope(celery, ENDPOINT.task_name)
    messages = [envelope.message(a_job(id=name)) for name in ("a", "b")]
    assert [m.headers["id"] for m in messages] == [m.headers["root_id"] for m in messages] == ["a", "b"]
    assert messages == [ours(celery, a_job(id=name)) for name in ("a", "b")]


@pytest.mark.parametrize("name", ["a", "8c7b3c0e-9d2c-4a3b-8f0e-2f1d6c5b4a39"])
def test_headers_and_properties_are_packed_as_py_amqp_does_it(celery: Celery, name: str) -> None:
    message = ours(celery, a_job(id=name))
    whole = {**message.properties, "content_type": CONTENT_TYPE, "content_encoding": CONTENT_ENCODING}
    kombus = amqp.Message("", priority=0, application_headers=message.headers, **whole)
    assert message.packed == kombus._serialize_properties()


def test_headers_never_hold_inputs(celery: Celery) -> None:
    assert "secret" not in str(ours(celery, a_job()).headers)


@given(inputs=st.dictionaries(st.text(), JSON, max_size=3))
def test_any_inputs_arrive_as_they_were(celery: Celery, inputs: dict[str, Any]) -> None:
    job = a_job(inputs=inputs)
    (wire,), kwargs, _ = json.loads(ours(celery, job).body.encode())
    assert (Job.from_wire(wire), kwargs) == (job, {})
